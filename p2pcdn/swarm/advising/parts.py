"""Which part of a file each of several readers reads: none reads what another one does. Pure.

The first has all of it. Who joins takes its share of what another one has left, from its end: of the one that has most
left; and who is done with its own takes half of that. What is nobody's any more, for its reader has died, is for the
next who asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from p2pcdn.swarm.advising.member import Member
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
    count = min(max(1, left.bit_count() // of), left.bit_count() - most.reach)
    return bitfield.last(left, count) if count > 0 else 0


def lacking(member: Member, members: Iterable[Member]) -> int:
    """The pieces that neither it has nor anybody from whom it would take them, a bitfield."""
    ask = member.ask
    believed = (one for one in members if one.ask.device not in ask.distrusted)
    here = bitfield.union(one.holds for one in believed if one.ask.pieces == ask.pieces)
    return bitfield.all_of(ask.pieces) & ~(here | member.holds)
