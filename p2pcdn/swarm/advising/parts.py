"""Which part of a file each of several readers reads: none reads what another one does. Pure.

The first has all of it; who joins takes its share of what the one with the most left has left, from its end; and so does
who is done with its own, half of it. A part that nobody has any more, for its reader has died, goes to the next who asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p2pcdn.swarm.wire import bitfield

# Every piece, of however many.
ALL = -1


@dataclass(frozen=True, slots=True)
class Part:
    """Another reader's. pieces: a bitfield. reach: so many of them it reads before it hears that they are fewer."""

    pieces: int
    reach: int


def take_part(lacking: int, parts: Sequence[Part], of: int) -> int:
    """The pieces that one more is to read, a bitfield; 0 where the others are done before it could begin.

    lacking: what nobody has, a bitfield. of: it takes one of so many shares of what another one has left.
    """
    untaken = lacking & ~bitfield.union(part.pieces for part in parts)
    if untaken:
        return untaken
    most = max(parts, key=lambda part: (part.pieces & lacking).bit_count())
    left = most.pieces & lacking
    count = min(left.bit_count() // of, left.bit_count() - most.reach)
    return bitfield.last(left, count) if count > 0 else 0
