"""Who of a file's askers comes last, and when one of them is let in all the same. Pure.

Whoever is known to give wrong bytes passes nothing on: what it gets, the others would have to send beside all that
they send each other. So they are served first, and it has what they leave (docs/decisions/0031).
"""

from __future__ import annotations

import math
from collections.abc import Collection

from p2pcdn.swarm.advising.member import is_loopback

# One question in so many is let in though others ask, too: those lose 1.5 per cent by it, and it has its file within
# some seven times as long as they need, however many come after it.
ONE_IN = 64
# Where pieces leave more slowly: one in so many, when it was told to come later for so long. Its download doubts the
# room after three seconds without a piece.
ONE_IN_SLOW, WAITED_S = 4, 2.0
# And one after so long, whoever else asks or not: a node that cannot read the origin has nowhere else to go, and gives
# the room up after nine seconds.
WAITED_MAX_S = 4.0
# Nobody else wants anything when nobody else has asked for so long; whoever got nothing asks again after 60 ms.
UNASKED_S = 0.1
# What the tracker said is good for so long. While we fill the file ourselves it says so each second; afterwards it does
# not tell us who has gone, and another machine may have the address.
TOLD_S = 60.0


class Last:
    """One file's, at one of those who give it. hosts: whose nodes come last, as `member.host_of` writes them.

    Now is trio's time.
    """

    def __init__(self) -> None:
        self.hosts: frozenset[str] = frozenset()
        self._asked = 0  # by others since one of them was let in
        self._asked_at = -math.inf
        self._let_in_at = -math.inf
        self._told_at = -math.inf

    def follow(self, hosts: Collection[str], now: float) -> None:
        """The tracker names these. What is loopback to it is another machine to us."""
        if hosts and not self.hosts:
            self._asked, self._let_in_at = 0, now
        self.hosts = frozenset(host for host in hosts if not is_loopback(host))
        self._told_at = now

    def puts_off(self, host: str, now: float, *, busy: bool) -> bool:
        """Whether this one, who asks for a piece, is to come later.

        busy: others are being given some of this file, or wait for it.
        """
        if now > self._told_at + TOLD_S:
            self.hosts = frozenset()
        if host not in self.hosts:
            self._asked += 1
            self._asked_at = now
            return False
        if not busy and now > self._asked_at + UNASKED_S:
            return False
        waited_s = now - self._let_in_at
        enough = ONE_IN if waited_s <= WAITED_S else ONE_IN_SLOW if waited_s <= WAITED_MAX_S else 0
        return self._asked < enough

    def lets_in(self, host: str, now: float) -> None:
        """This one is given a piece, or waits for one. A question that finds no slot free has not been let in."""
        if host in self.hosts:
            self._asked, self._let_in_at = 0, now
