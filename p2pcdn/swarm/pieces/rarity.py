"""Which of the wanted pieces goes out next: the rarest, as far as the giving node knows. Pure."""

from __future__ import annotations

import random
from collections import Counter

from p2pcdn.swarm.wire import bitfield


class Rarity:
    """How many copies of each piece of one file this node gave away; those under way count."""

    __slots__ = ("_given", "_given_once")

    def __init__(self) -> None:
        self._given = Counter[int]()
        self._given_once = 0

    def rarest(self, able: int, dice: random.Random) -> int:
        """One of these (a bitfield, not empty): what went out least often; the lowest of those that never did.

        In the beginning all are alike, and clients are read in order.
        """
        fresh = able & ~self._given_once
        if fresh:
            return bitfield.lowest(fresh)
        fewest = min(self._given[index] for index in bitfield.ones(able))
        return dice.choice([index for index in bitfield.ones(able) if self._given[index] == fewest])

    def goes_out(self, index: int) -> None:
        self._given[index] += 1
        self._given_once |= 1 << index

    def came_back(self, index: int) -> None:
        """It was broken off on its way: that copy does not count."""
        self._given[index] -= 1
        if not self._given[index]:
            self._given_once &= ~(1 << index)
