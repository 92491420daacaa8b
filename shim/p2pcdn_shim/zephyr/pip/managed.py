"""Environments whose packages another program manages (PEP 668): left alone, unless the user says otherwise."""

from __future__ import annotations

from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.pip.target import Target


def check_managed(target: Target, *, allowed: bool) -> None:
    """Raises PipError. allowed: --break-system-packages."""
    managed = target.probe.externally_managed
    if managed is not None and not allowed:
        raise refusal(managed)


def refusal(message: str) -> PipError:
    """message: what the environment's own marker file says, perhaps nothing."""
    text = message or (
        "The Python environment under this prefix is managed externally, and may not be manipulated by the user."
    )
    return PipError(
        f"externally-managed-environment\n\n× This environment is externally managed\n╰─> {text}",
        hint="note: If you believe this is a mistake, please contact your Python installation or OS distribution"
        " provider. You can override this, at the risk of breaking your Python installation or OS, by passing"
        " --break-system-packages.",
    )
