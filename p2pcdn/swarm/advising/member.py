"""One who fetches a file, or has it, as its tracker sees it: where it is, and what it said last. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from p2pcdn.swarm.advising.plan import Seat
from p2pcdn.swarm.wire import bitfield
from p2pcdn.swarm.wire.advice import AskCrowd

_LOOPBACK = "0000:0000:0000:0000"  # the first half of ::1


@dataclass(slots=True, eq=False)
class Member:
    """number: in the order of coming. seat: its places in the plan. progress_at: when it had more than before.
    again_ms: when it was told to ask again.

    accusers: hosts of those to whom it gave something wrong.
    """

    boot: str
    address: str
    number: int
    seat: Seat
    ask: AskCrowd
    heard_at: float
    progress_at: float
    host: str
    holds: int = 0
    asked: int = 0
    again_ms: int = 0
    accusers: set[str] = field(default_factory=set)

    @property
    def whole(self) -> bool:
        return self.ask.pieces > 0 and self.holds == bitfield.all_of(self.ask.pieces)

    def is_free_of_liars_of(self, other: AskCrowd) -> bool:
        """Whether nothing that this member holds stands on the word of one whom the other has found out."""
        return set(other.distrusted[: other.liars]) <= set(self.ask.distrusted[: self.ask.liars])


def holds_of(ask: AskCrowd) -> int:
    """The pieces that one says it holds, a bitfield. Raises RemoteProtocolError."""
    return bitfield.decode(ask.holds, ask.pieces) if ask.pieces and ask.holds else 0


def host_of(address: str) -> str:
    """Whose it is: an IPv4 address, or the network of an IPv6 one, of which a machine has as many as it likes."""
    return network_of(address.rpartition(":")[0].removeprefix("[").removesuffix("]"))


def is_loopback(network: str) -> bool:
    """Whether this, as the function below writes it, is everybody's own machine."""
    return network == _LOOPBACK or network.startswith("127.")


def network_of(host: str) -> str:
    """The same of a host without a port, and without brackets."""
    if ":" not in host:
        return host
    return ":".join(ipaddress.IPv6Address(host.partition("%")[0]).exploded.split(":")[:4])
