"""The right of one member to read the origin, or a part of it. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from p2pcdn.swarm.advising.member import Member
from p2pcdn.swarm.advising.parts import ALL

# Where several read, each asks again so soon.
SEVERAL_AGAIN_MS = 80
# After so many times that, or what it was told, a reader has surely heard what its part is now.
HEARD_FACTOR = 2


@dataclass(slots=True)
class Lease:
    """The right to read the origin. progress_at: when its owner last had more bytes than before.

    read_before: what its owner had read of the origin when it got it.
    """

    device: bytes
    progress_at: float
    since: float
    read_before: int
    begin: float = 0.0  # where in the file, in [0, 1)
    part: int = ALL  # what it is to read, a bitfield
    races: bool = False  # granted because the room was slower than its owner's wire
    leaves: bool = False  # when its part is read, for the rest is another one's
    told: bool = False  # only members say that it is held: its owner asks another tracker

    def reach(self, reader: Member, now: float) -> int:
        """So many pieces its owner may come to read before he hears that some of its part is another's."""
        unheard_s = now - reader.heard_at + HEARD_FACTOR * max(SEVERAL_AGAIN_MS, reader.again_ms) / 1000
        return 1 + math.ceil(self.pieces_s(reader) * unheard_s)

    def pieces_s(self, reader: Member) -> float:
        """How fast its owner reads."""
        ask, read_for_s = reader.ask, reader.heard_at - self.since
        read = (ask.read - self.read_before) * ask.pieces / max(ask.size_bytes, 1)
        return read / read_for_s if read_for_s > 0 else 0.0
