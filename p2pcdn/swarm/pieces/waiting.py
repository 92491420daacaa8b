"""Who waits for a piece of one file that is in transit here, and who of them goes next."""

from __future__ import annotations

from collections.abc import Callable

import trio

from p2pcdn.swarm.pieces.manifest import Cut
from p2pcdn.swarm.wire import bitfield


class Waiter:
    """One question that waits. want: the pieces, a bitfield, 0 while nobody knows how many there are."""

    __slots__ = ("_cut", "_lot", "_text", "host", "knows", "want")

    def __init__(self, text: str, *, knows: bool, host: str) -> None:
        """text: the pieces as they were asked for. knows: it has the manifest, and needs no proof. host: who asks."""
        self._text = text
        self._cut: Cut | None = None
        self._lot = trio.lowlevel.ParkingLot()
        self.knows = knows
        self.host = host
        self.want = 0

    def read(self, cut: Cut) -> None:
        """Now it is known how many pieces there are. Raises RemoteProtocolError where the question makes no sense."""
        if cut != self._cut:
            self.want, self._cut = bitfield.decode(self._text, cut.pieces), cut

    @property
    def need(self) -> int:
        """How many pieces it wants."""
        return self.want.bit_count()

    async def sleep(self) -> None:
        """Until there may be something for it."""
        await self._lot.park()

    def wake(self) -> None:
        self._lot.unpark_all()


class Waiters:
    """Those of one file. Only who may get something is woken: each piece would else wake all, mostly for nothing."""

    def __init__(self) -> None:
        self._all: list[Waiter] = []
        self._last_host = ""  # that was called last

    def __len__(self) -> int:
        return len(self._all)

    def of_host(self, host: str) -> int:
        return sum(one.host == host for one in self._all)

    def hosts(self) -> list[str]:
        return [one.host for one in self._all]

    def join(self, waiter: Waiter) -> None:
        self._all.append(waiter)

    def leave(self, waiter: Waiter) -> None:
        self._all.remove(waiter)

    def wake_all(self) -> None:
        for waiter in self._all:
            waiter.wake()

    def wake_for(self, index: int) -> None:
        """There is something new of this piece."""
        for waiter in self._all:
            if not waiter.want or waiter.want >> index & 1:
                waiter.wake()

    def first(self, able: Callable[[Waiter], int], taken: Callable[[str], int]) -> Waiter | None:
        """Of those who can be served, the one that lacks most: where there is not enough, the last one counts.

        But everybody may say that it lacks most: whose host is being given less goes before it, and nobody's goes twice
        in a row while others wait. taken: how many pieces are on their way to a host.
        """
        able_ones = [one for one in self._all if able(one)]
        if not able_ones:
            return None
        chosen = min(able_ones, key=lambda one: (taken(one.host), one.host == self._last_host, -one.need))
        self._last_host = chosen.host
        return chosen
