"""Who of a file's askers comes last, and when one of them is let in all the same. Pure.

Whoever is known to give wrong bytes passes nothing on: what it gets, the others would have to send beside all that
they send each other. So they are served first, and it has what they leave (docs/decisions/0031).
"""

from __future__ import annotations

import math
from collections.abc import Collection

# One question in so many is let in though others ask, too: those lose 1.5 per cent by it, and it has its file within
# some seven times as long as they need, however many come after it.
ONE_IN = 64
# Where pieces leave more slowly: one in so many, when it was told to come later for so long. Its download doubts the
# room after three seconds without a piece.
ONE_IN_SLOW, WAITED_S = 4, 2.0
# Nobody else wants anything when nobody else has asked for so long; whoever got nothing asks again after 60 ms.
UNASKED_S = 0.1


class Last:
    """One file's, at one of those who give it. hosts: whose nodes come last, as `member.host_of` writes them.

    Now is trio's time.
    """

    def __init__(self) -> None:
        self.hosts: frozenset[str] = frozenset()
        self._asked = 0  # by others since one of them was let in
        self._asked_at = -math.inf
        self._let_in_at = -math.inf

    def follow(self, hosts: Collection[str], now: float) -> None:
        """The tracker names these."""
        if hosts and not self.hosts:
            self._asked, self._let_in_at = 0, now
        self.hosts = frozenset(hosts)

    def puts_off(self, host: str, now: float, *, busy: bool) -> bool:
        """Whether this one, who asks for a piece, is to come later. busy: others are being given something, or wait."""
        if host not in self.hosts:
            self._asked += 1
            self._asked_at = now
            return False
        if not busy and now > self._asked_at + UNASKED_S:
            return False
        waited = now > self._let_in_at + WAITED_S
        if self._asked < (ONE_IN_SLOW if waited else ONE_IN):
            return True
        self._asked, self._let_in_at = 0, now
        return False
