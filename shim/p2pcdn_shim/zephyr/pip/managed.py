"""Environments whose packages are not pip's to change: another program manages them (PEP 668), or others share them."""

from __future__ import annotations

import os

from p2pcdn.envs.places import number_of
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.pip.target import Target


def check_managed(target: Target, *, allowed: bool) -> None:
    """Raises PipError. allowed: --break-system-packages, which says nothing of what others share."""
    _check_shared(target)
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


def _check_shared(target: Target) -> None:
    """Of link mode env: root is not stopped by the rights of a tree that many environments have."""
    if os.path.islink(target.paths["purelib"]) and number_of(target.prefix):  # noqa: PTH114
        raise PipError(
            f"The packages of {target.prefix} are one link to a tree that environments share (link mode env), and"
            " nothing can be put into it or taken out. Nothing was changed; `zephyr install` and `zephyr uninstall`"
            " make the environment another tree, and `zephyr sync --link-mode hardlink` gives it files of its own."
        )
