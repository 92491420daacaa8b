"""A machine on the wires: its two links, its sockets, whether it has power; and on which one the running code is."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

from simnet.net.link import Link

# Which host the running code is on. Set once at the top of a node's tasks; children inherit it.
HERE: ContextVar[Host] = ContextVar("host")
# Which process of that host, where it matters: the system closes what a killed one had open.
PROCESS: ContextVar[object] = ContextVar("process", default=None)


def here() -> Host:
    """The host of the task that runs. Raises RuntimeError outside of all."""
    try:
        return HERE.get()
    except LookupError:
        raise RuntimeError("a socket was asked for outside of every simulated host") from None


class Socket(Protocol):
    """What a machine knows of one. process: of it, where that matters."""

    process: object

    def lose_power(self) -> None:
        """The machine is off."""
        ...

    def abort(self) -> None:
        """The process that had it is no more."""
        ...


@dataclass(slots=True)
class Traffic:
    """Bytes of large writes at one port: as they are, not weighed. all_bytes: of small ones, too."""

    bulk_bytes: int = 0
    all_bytes: int = 0


@dataclass(eq=False)
class Host:
    """A machine. alive and life: a power-off ends a life, and what belonged to it is silent."""

    name: str
    ip: str
    up: Link
    down: Link
    latency_s: float  # from here to the middle
    segment: str = "lan"
    alive: bool = True
    life: int = 0
    kind: str = "wired"
    listening: dict[tuple[str, int], Socket] = field(default_factory=dict)
    sockets: dict[Socket, None] = field(default_factory=dict)  # those that are connected, or listen
    next_port: int = 32768
    # By the port that a connection was accepted at: what was given from ours, what came from others'.
    given: dict[int, Traffic] = field(default_factory=dict)
    taken: dict[int, Traffic] = field(default_factory=dict)

    def free_port(self) -> int:
        self.next_port = 32768 if self.next_port >= 60999 else self.next_port + 1
        return self.next_port

    def __str__(self) -> str:
        return self.name
