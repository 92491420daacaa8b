"""Makes a plan: a pure function of what the chosen wheels hold and of the environment's scheme."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p2pcdn.envs.listing import Listing
from p2pcdn.envs.plan import Plan
from p2pcdn.envs.scheme import Scheme


@dataclass(frozen=True, slots=True)
class ReadyWheel:
    """A wheel whose tree is ready.

    sha256: of the wheel file. requested: the user named it. direct_url: the text of direct_url.json (PEP 610), of
    wheels that came by URL or path and not from an index. bytecode: what the node compiled for this interpreter, as
    "package/__pycache__/module.cpython-312.pyc" below the wheel's byte-code directory.
    """

    listing: Listing
    filename: str
    sha256: str
    requested: bool = False
    direct_url: str | None = None
    bytecode: tuple[str, ...] = ()


def make_plan(wheels: Sequence[ReadyWheel], scheme: Scheme, *, installer: str = "zephyr") -> Plan:
    """What makes an environment of these wheels, the same for the same arguments.

    Where two bring one path with different content, the later in `wheels` wins (give dependencies first, as pip
    installs them), the loser's RECORD does not list it, and the plan tells it. Raises CannotPlan for a path that no
    wheel may take.
    """
    raise NotImplementedError
