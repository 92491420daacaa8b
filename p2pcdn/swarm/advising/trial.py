"""Whether one that reads beside a slow room is quicker than it: one class of pieces shows it, before the others follow.

A member says that the room is slow; that may be a lie, and so may be all that it says of itself. Therefore the reader
takes over one class from those who gave before. What others come to have of that class, beside the two classes that
stayed where they were, decides: they measure both in the same moment, behind the same wires. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

from p2pcdn.swarm.advising.plan import CLASSES
from p2pcdn.swarm.wire import bitfield

# So many pieces are no accident, and are there after a tenth of a second where the reader is quick.
MARGIN_PIECES = 4
# So much quicker is worth reading the file again for.
QUICKER_FACTOR = 2
# Who is not found quicker by then is not; behind a slow line that is after so many times what a piece takes.
DECIDED_AFTER_S, DECIDED_AFTER_PIECES = 6.0, 2 + MARGIN_PIECES


@dataclass(slots=True)
class Trial:
    """racer: the boot id of who reads beside. slow: of those who gave before. klass: that it has taken over.

    ends_at: when it is over, if it was not decided before. won: all classes are the racer's now, and nobody is sent to
    the slow ones.
    """

    racer: str
    slow: frozenset[str]
    klass: int
    ends_at: float
    before: dict[str, tuple[int, ...]] = field(default_factory=dict)  # what each member had of each class
    won: bool = False

    def verdict(self, now: float, holds: Mapping[str, int], hosts: Mapping[str, str], pieces: int) -> bool | None:
        """Whether the racer is quicker; None while that is not known.

        holds: what each member has, a bitfield, by its boot id; hosts: where it is. Each host has one voice, and that
        of the racer none where there are others.
        """
        voters = [boot for boot in holds if boot != self.racer and boot not in self.slow]
        voters = [boot for boot in voters if hosts[boot] != hosts[self.racer]] or voters
        gained = {hosts[boot]: self._gained(boot, holds[boot], pieces) for boot in voters}
        if not gained:
            return None  # it reads for itself alone, and takes nothing from anybody
        typical = [median(one[klass] for one in gained.values()) for klass in range(CLASSES)]
        own, others = typical[self.klass], max(typical[: self.klass] + typical[self.klass + 1 :])
        if own >= QUICKER_FACTOR * others + MARGIN_PIECES:
            return True
        if others >= QUICKER_FACTOR * own + MARGIN_PIECES:
            return False
        return False if now > self.ends_at else None

    def _gained(self, boot: str, holds: int, pieces: int) -> tuple[int, ...]:
        before = self.before.get(boot, (0,) * CLASSES)
        return tuple(now - then for now, then in zip(by_class(holds, pieces), before, strict=True))


def by_class(holds: int, pieces: int) -> tuple[int, ...]:
    """How many pieces of each class these are."""
    return tuple((holds & bitfield.each_third(klass, pieces)).bit_count() for klass in range(CLASSES))
