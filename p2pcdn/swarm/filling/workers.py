"""The workers of one download: they ask for a piece after the other, each class by its own, and help one another.

One for each class of pieces, with one question under way; for a while a class has a second one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

import trio

from p2pcdn.errors import P2pcdnError
from p2pcdn.swarm.advising.plan import CLASSES
from p2pcdn.swarm.filling.sources import PARENT_WAIT_MS_MIN, Sources
from p2pcdn.swarm.filling.taking import Taking
from p2pcdn.swarm.filling.turn import Turn
from p2pcdn.swarm.neighbours.peer import Peer
from p2pcdn.swarm.pieces.sharing import Sharing
from p2pcdn.swarm.wire import bitfield

# A class that lacks so many pieces, when another is done, is helped: its parent is slower, or it has none.
HELPED_PIECES_MIN = 4
# A class without a parent has a second worker while it is so many pieces behind another: with one worker a guest gets
# less than its part, and with two all the time more than that, which others then lack (docs/decisions/0018).
GUEST_LAG_PIECES = 2
# A question is asked again elsewhere after so many times the usual time of an answer, when nothing else is left to do.
OVERDUE_FACTOR, OVERDUE_MIN_S = 4.0, 0.1


class Workers:
    """Those of one download. advised_until: when its tracker is asked again, and may name other parents."""

    def __init__(
        self,
        sharing: Sharing,
        sources: Sources,
        taking: Taking,
        turn: Turn,
        on_error: Callable[[P2pcdnError], None],
        *,
        on_air: bool,
    ) -> None:
        """on_error: the store failed, or the partial was ended. on_air: see `Manners`."""
        self._sharing = sharing
        self._sources = sources
        self._taking = taking
        self._turn = turn
        self._on_error = on_error
        self._on_air = on_air
        self.advised_until = 0.0
        self._seconds: set[int] = set()  # the classes that have a second worker
        self._asked_beside: dict[int, int] = {}  # what helpers (by their class) and second workers (CLASSES on) ask for
        self._asked: dict[int, Peer] = {}  # whom each class's worker asked last
        self._asked_at = [math.inf] * CLASSES  # when it asked what it waits for
        self._nursery: trio.Nursery | None = None

    @property
    def asked(self) -> Collection[Peer]:
        """Whose answers are waited for."""
        return self._asked.values()

    def start(self, nursery: trio.Nursery) -> None:
        """They work in tasks of this nursery until all is here."""
        self._nursery = nursery
        for classes in _turns(on_air=self._on_air):
            nursery.start_soon(self._work, classes)

    def call_seconds(self) -> None:
        """Looks which class wants a second worker now. Where the air is shared none has one."""
        for klass in range(CLASSES):
            if klass not in self._seconds and not self._on_air and self._nursery and self._wants_second_worker(klass):
                self._seconds.add(klass)
                self._nursery.start_soon(self._work_beside, klass)

    # --- below

    async def _work(self, classes: Sequence[int]) -> None:
        """Asks for a piece of one of these classes after the other."""
        try:
            while not self._sharing.whole:
                asked = False
                for klass in classes:
                    asked = await self._ask_somebody(klass) or asked
                if not asked:
                    with trio.move_on_at(min(self._sources.rested_at(now := trio.current_time()), now + 1)):
                        await self._sharing.changed.park()
        except P2pcdnError as error:
            # The store's, or whoever ended the partial: nobody's pieces can help now.
            self._on_error(error)

    async def _ask_somebody(self, klass: int) -> bool:
        """One question for a piece, and what becomes of it; False where there is nobody to ask now, or nothing."""
        self.call_seconds()
        want, helping = self._want(klass)
        choice = self._sources.choose(klass, helping=helping) if want else None
        if choice is None:
            return False
        peer, wait_ms = choice
        self._asked[klass] = peer
        self._asked_at[klass] = math.inf if helping else trio.current_time()
        if helping:
            self._asked_beside[klass] = want
        # Nobody waits at a parent for longer than it is likely to stay one.
        advised_ms = round((self.advised_until - trio.current_time()) * 1000)
        await self._taking.take(peer, want, min(wait_ms, max(advised_ms, PARENT_WAIT_MS_MIN)))
        self._asked_at[klass] = math.inf
        self._asked_beside.pop(klass, None)
        del self._asked[klass]
        return True

    def _wants_second_worker(self, klass: int) -> bool:
        """A guest that falls behind asks twice; who was sent to another parent need not wait for the slow one."""
        parent = self._sources.parents[klass]
        if parent is None:
            return self._sources.is_guest(klass) and self._lags(klass)
        overdue = self._asked_at[klass] + OVERDUE_MIN_S < trio.current_time()
        return overdue and self._asked.get(klass) is not parent

    def _lags(self, klass: int) -> bool:
        lacking = [self._missing_of(one).bit_count() for one in range(CLASSES)]
        return lacking[klass] - min(lacking) >= GUEST_LAG_PIECES

    async def _work_beside(self, klass: int) -> None:
        """A second worker for a class. Its half lies scattered: the end of a file nobody has before it comes."""
        try:
            while self._wants_second_worker(klass):
                if self._sources.is_guest(klass):
                    want = self._left_of(klass) & bitfield.every_sixth(klass, self._sharing.pieces)
                else:
                    want = self._missing_of(klass)  # what the slow one is giving, too
                choice = self._sources.choose(klass, helping=False) if want else None
                if choice is None:
                    break
                self._asked_beside[CLASSES + klass] = want
                await self._taking.take(choice[0], want, choice[1])
        except P2pcdnError as error:
            self._on_error(error)
        finally:
            self._seconds.discard(klass)
            self._asked_beside.pop(CLASSES + klass, None)

    def _missing_of(self, klass: int) -> int:
        return self._sharing.missing & ~self._turn.ahead & bitfield.each_third(klass, self._sharing.pieces)

    def _left_of(self, klass: int) -> int:
        """What is missing of a class and not on its way to us, or not quickly: what is, would come twice."""
        return self._missing_of(klass) & ~self._taking.coming(trio.current_time() - OVERDUE_MIN_S)

    def _free_of(self, klass: int) -> int:
        """The same without what a helper or a second worker asks for just now; if that is all, all the same."""
        return self._without_others(self._left_of(klass))

    def _without_others(self, left: int) -> int:
        return left & ~bitfield.union(self._asked_beside.values()) or left

    def _want(self, klass: int) -> tuple[int, bool]:
        """What this worker may ask for: pieces of its class, which nobody else asks for.

        When its class is done it helps the one that lacks most, from its end; or another whose question is overdue.
        The second value says so.
        """
        if left := self._left_of(klass):
            return self._without_others(left), False
        most = max(map(self._free_of, range(CLASSES)), key=int.bit_count)
        if most.bit_count() >= HELPED_PIECES_MIN:
            # Who reads for a client needs the first ones sooner.
            return bitfield.last(most, most.bit_count() // 2), True
        overdue_s = max(OVERDUE_MIN_S, OVERDUE_FACTOR * self._sources.answer_time_s)
        overdue = self._taking.overdue(trio.current_time() - overdue_s)
        return self._sharing.missing & ~self._turn.ahead & overdue, True


def _turns(*, on_air: bool) -> list[range]:
    """The classes of each worker. Where the air is shared one question is under way: more would all be slower."""
    return [range(CLASSES)] if on_air else [range(klass, klass + 1) for klass in range(CLASSES)]
