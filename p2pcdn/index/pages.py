"""Which index owns a project, and what its page says now."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial

import trio

from p2pcdn.counters import Counters
from p2pcdn.errors import Busy, NotFound, P2pcdnError, Refused, RemoteProtocolError, Unavailable, not_here
from p2pcdn.flight import Flights
from p2pcdn.index.asking import PageQuestions, record_of
from p2pcdn.index.claimed import ClaimedPages
from p2pcdn.index.freshness import Freshness
from p2pcdn.index.heaps import Answer, Heaps
from p2pcdn.index.held import HeldPage
from p2pcdn.index.room_questions import ROOM_RETRY_S, SILENCE_WAIT_S, RoomQuestions
from p2pcdn.index.shelf import GONE, PageShelf, gone
from p2pcdn.index.standing import Standing
from p2pcdn.store import Store
from p2pcdn.swarm.group.claims import Claims
from p2pcdn.world import Clock, Index, Threads, Upstream

log = logging.getLogger(__name__)

# With a stale page in hand nobody waits longer than this for a slow upstream.
STALE_WAIT_S = 5.0
# pip gives up after 15 s of silence; before that it hears from us.
ANSWER_WAIT_S = 12.0
# How much younger a confirmation may be than the store knows, in a group, where others go by it after a restart.
CHECK_KEPT_AFTER_S = 3600.0
# A connection that failed may be one bad address of several: one more attempt, soon.
ATTEMPTS = 2
ATTEMPT_PAUSE_S = 0.3


class Pages:
    """The project pages of all configured indexes. Used by one trio loop."""

    def __init__(
        self,
        indexes: Sequence[Index],
        *,
        store: Store,
        upstream: Upstream,
        threads: Threads,
        clock: Clock,
        counters: Counters,
        nursery: trio.Nursery,
        offline: bool,
        claims: Claims | None = None,
        explicit: Sequence[Index] = (),
        pinned: Mapping[str, Index] | None = None,
    ) -> None:
        """explicit: further indexes, asked only for what is pinned to them. pinned: projects that one index alone owns.

        claims: what the group says of pages, asked only where the upstream does not answer."""
        self.indexes = tuple(indexes)
        self.all_indexes = (*indexes, *explicit)
        self._pinned = dict(pinned or {})
        self.default = min((*indexes, *explicit), key=lambda index: index.position)
        self._questions = PageQuestions(upstream, counters)
        self._shelf = PageShelf(store, threads)
        self._clock = clock
        self._counters = counters
        self.offline = offline
        self._nursery = nursery
        self.asks = True
        self._flights: Flights[tuple[str, str], HeldPage] = Flights(nursery)
        self._claimed = (
            ClaimedPages(self.indexes, shelf=self._shelf, store=store, claims=claims, threads=threads, clock=clock)
            if claims is not None and claims.believes
            else None
        )
        self._heaps = Heaps()
        self._room = RoomQuestions(self._claimed, nursery)
        self._standing = Standing()

    def unasking(self) -> Pages:
        """The same pages, for who wants nobody to be asked: as they are in the store, or Unavailable."""
        view = copy(self)
        view.offline, view.asks = True, False
        view._claimed, view._room = None, RoomQuestions(None, self._nursery)
        view._flights = Flights(self._nursery)  # nobody else's question ends with this one's answer
        return view

    # -- which page -----------------------------------------------------------------------------------------------

    def fresh(self, project: str, *, insist: bool = False) -> HeldPage | None:
        """The page of the project's owner if everything needed to say so is in memory and fresh; no waiting."""
        now = self._clock.now()
        for index in self._owners(project):
            held = self._shelf.in_memory(index, project)
            if held is None:
                return None
            if self.offline and self._room.is_due(index, project, held):
                return None
            if not (self.offline or held.is_fresh(now, insist=insist or self._standing.seems_down(index))):
                return None
            if held.page is not None:
                self._counters.claimed_answers += held.claim is not None
                return held
        return None

    def fresh_version(self, project: str, *, insist: bool = False) -> tuple[Index, str] | None:
        """The project's owner and the version of its page, where both are known to be fresh; no waiting.

        Costs no look at the page, which may be out of memory long since.
        """
        now = self._clock.now()
        for index in () if self.offline else self._owners(project):
            checked = self._shelf.checked(index, project)
            if checked is None or not checked.is_fresh(now, insist=insist or self._standing.seems_down(index)):
                return None
            if checked.version != GONE:
                return index, checked.version
        return None

    def at_hand(self, index: Index, project: str) -> HeldPage | None:
        """What one index said of a project, if that is in memory and fresh; no waiting."""
        held = self._shelf.in_memory(index, project)
        return held if held is not None and (self.offline or held.fresh_for_s(self._clock.now()) > 0) else None

    async def project(self, project: str, *, insist: bool = False, wait_s: float = ANSWER_WAIT_S) -> HeldPage:
        """The page of the first index that has the project: that index owns it, and pages are never merged.

        insist: the client wants it checked (`Cache-Control: no-cache`). wait_s: for an upstream of which there is no
        page in hand.
        Raises NotFound, Unavailable, Refused, RemoteProtocolError. An index that does not answer ends the search: a
        later one must not take over its name (dependency confusion).
        """
        for index in self._owners(project):
            held = await self.of_index(index, project, insist=insist, wait_s=wait_s)
            if held.page is not None:
                return held
        if (only := self._pinned.get(project)) is not None:
            raise NotFound(f"{only.url}, to which {project} is pinned, has no project of that name.")
        raise NotFound(f"No configured index has a project named {project}.")

    def let_go(self, held: HeldPage) -> None:
        """Who has taken out of a page what he needs says so: it need not stay in memory for him."""
        self._shelf.let_go(held)

    def _owners(self, project: str) -> tuple[Index, ...]:
        """The indexes that may have a project, in the order in which they are asked."""
        only = self._pinned.get(project)
        return (only,) if only is not None else self.indexes

    async def of_index(
        self, index: Index, project: str, *, insist: bool = False, wait_s: float = ANSWER_WAIT_S
    ) -> HeldPage:
        """What one index says of a project, now or as it said it last. Raises as `project` does, NotFound excepted."""
        held = await self._shelf.recall(index, project)
        if self.offline:
            return await self._offline_answer(index, project, held, min(wait_s, SILENCE_WAIT_S))
        now = self._clock.now()
        if held is not None:
            # Even a fresh page is worth a question to an upstream that seems down: it would be given with files hidden.
            insist = insist or self._standing.seems_down(index)
            if held.is_fresh(now, insist=insist):
                return held
            if not insist and held.fresh_for_s(now) > -held.freshness.stale_while_revalidate_s:
                self._flights.start((index.key, project), partial(self._refresh, index, project, held))
                return held
        if self._standing.rests(index, project):
            newest = await self._room.newest(index, project, held)
            if newest is not None:
                return self._stale(newest)
            if (busy := self._standing.busy(index, project)) is not None:
                raise busy
        return await self._refreshed(index, project, held, wait_s)

    async def _refreshed(self, index: Index, project: str, held: HeldPage | None, wait_s: float) -> HeldPage:
        """What the upstream says now. Where it does not answer in time: the newest page of ours or of the room."""
        answer_by = trio.current_time() + wait_s
        waits_s = STALE_WAIT_S if held or self._room.can_help(index) else wait_s
        error = await self._upstream_answer(index, project, held, waits_s)
        if isinstance(error, HeldPage):
            return error
        # Who is refused by the upstream is not given the same by a neighbour.
        newest = held if isinstance(error, Refused) else await self._room.newest(index, project, held)
        if newest is None and error is None:
            error = await self._upstream_answer(index, project, held, answer_by - trio.current_time())
            if isinstance(error, HeldPage):
                return error
        extra = {"project": project, "index": index.url}
        if newest is not None:
            if error is not None:
                log.warning("serving the page we have: %s", error, extra=extra)
            return self._stale(newest)
        if error is None:
            raise Unavailable(f"{index.url} has not answered for {wait_s:.0f} s; we keep trying.")
        log.warning("no page to give: %s", error, extra=extra)
        raise error

    async def _upstream_answer(
        self, index: Index, project: str, held: HeldPage | None, wait_s: float
    ) -> HeldPage | P2pcdnError | None:
        """The page, why there is none, or None where nothing came in time: the question then goes on."""
        with trio.move_on_after(max(0.0, wait_s)):
            try:
                return await self._flights.join((index.key, project), partial(self._refresh, index, project, held))
            except (Unavailable, RemoteProtocolError, Refused) as error:
                return error
        return None

    def _stale(self, held: HeldPage) -> HeldPage:
        self._counters.stale_answers += 1
        self._counters.claimed_answers += held.claim is not None
        return replace(held, stale=True)

    async def _offline_answer(self, index: Index, project: str, held: HeldPage | None, wait_s: float) -> HeldPage:
        """The newest page of ours or of the room. A member that is silent is waited for, where nobody else has any."""
        newest = held
        with trio.move_on_after(ANSWER_WAIT_S):  # the question goes on
            newest = await self._room.newest_of_all(index, project, held, trio.current_time() + wait_s)
        if newest is not None:
            self._counters.claimed_answers += newest.claim is not None
            return newest
        if not self.asks:
            raise not_here(f"the page of {project} from {index.url}")
        alone = f"This node is offline and holds no page of {project} from {index.url}"
        if self._claimed is None:
            raise Unavailable(f"{alone}.", retry_after_s=math.inf)
        # A member that has it may be met any moment, and pip waits as long as it is told to.
        others = "nor does a member of its group"
        if self._room.somebody_is_silent(index):
            others = "and a member of its group that may have one does not answer now; ask again"
        raise Unavailable(f"{alone}, {others}.", retry_after_s=ROOM_RETRY_S)

    def hides_distant_files(self, index: Index) -> bool:
        """Whether pages of this index should list only what is near: offline, or no answer from it for 30 s."""
        return self.offline or self._standing.seems_down(index)

    def failing(self) -> list[str]:
        """The URLs of the indexes whose last answer was none."""
        return [index.url for index in self.indexes if self._standing.is_failing(index)]

    # -- asking the upstream --------------------------------------------------------------------------------------

    async def _refresh(self, index: Index, project: str, held: HeldPage | None) -> HeldPage:
        for attempt in range(ATTEMPTS):
            try:
                page = await self._ask(index, project, held)
            except Unavailable as error:
                if attempt + 1 < ATTEMPTS and not isinstance(error, Busy):
                    await trio.sleep(ATTEMPT_PAUSE_S)
                    continue
                self._standing.failed(index, project, error)
                if (busy := self._standing.busy(index, project)) is not None:
                    raise busy from error
                raise
            self._standing.answered(index, project)
            return page
        raise AssertionError("unreachable")

    async def _ask(self, index: Index, project: str, held: HeldPage | None) -> HeldPage:
        if index.page_url(project) == index.url:
            answer = await self._heaps.of(index, partial(self._questions.ask, index, project, None))
        else:
            answer = await self._questions.ask(index, project, held)
        if answer is None:
            return await self._keep_gone(index, project)
        if answer.unchanged and held is not None:
            return await self._keep_unchanged(index, project, held, answer.fresh)
        return await self._keep(index, project, answer)

    async def _keep_unchanged(self, index: Index, project: str, held: HeldPage, fresh: Freshness) -> HeldPage:
        async with self._shelf.turn(index, project):
            now_held = await self._shelf.recall(index, project)
            if now_held is None or now_held.version == held.version:
                page = replace(held, checked_at=self._clock.now(), freshness=fresh, stale=False)
                if self._claimed is not None and page.checked_at - page.kept_at > CHECK_KEPT_AFTER_S:
                    page = await self._shelf.note_checked(page)
                self._shelf.remember(page)
                return page
        # A member's page took its place meanwhile: that one was not confirmed, so it is asked for from the start.
        return await self._ask(index, project, None)

    async def _keep(self, index: Index, project: str, answer: Answer) -> HeldPage:
        record = record_of(answer, self._clock.now())
        page = await self._shelf.parsed(index, project, record)
        if page.page is not None and not page.page.files and index.flat:
            return await self._keep_gone(index, project)  # a heap has what lies in it, and owns no other name
        async with self._shelf.turn(index, project):
            held = await self._shelf.recall(index, project)
            if held is not None and held.serial is not None and page.serial is not None and page.serial < held.serial:
                # A mirror that is behind would bring back what was withdrawn; the newer page stays.
                log.warning("the page went back from serial %d to %d; kept the newer", held.serial, page.serial)
                confirmed = held.claim is None  # else ours stays what it is: a member's word
                page = replace(held, checked_at=page.checked_at, freshness=answer.fresh) if confirmed else held
            elif held is None or (held.version, held.etag, held.claim) != (page.version, page.etag, None):
                await self._shelf.keep(held, page, record)
            else:
                page = replace(page, kept_at=held.kept_at)
            self._shelf.remember(page)
        return page

    async def _keep_gone(self, index: Index, project: str) -> HeldPage:
        absent = gone(index, project, self._clock.now())
        async with self._shelf.turn(index, project):
            held = await self._shelf.recall(index, project)
            if held is None or held.page is not None or held.claim is not None:
                await self._shelf.keep(held, absent, {"gone": True, "checked_at": absent.checked_at})
            self._shelf.remember(absent)
        return absent
