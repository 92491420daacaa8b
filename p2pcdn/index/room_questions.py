"""When neighbours are asked for a page: one at a time for each page, and not again for a while."""

from __future__ import annotations

from functools import partial

import trio

from p2pcdn.bounded import forget_oldest
from p2pcdn.flight import Flights
from p2pcdn.index.claimed import ClaimedPages
from p2pcdn.index.held import HeldPage
from p2pcdn.world import Index

# In a room without an upstream: how soon neighbours are asked again for a newer page, and for one that nobody had.
ROOM_AGAIN_S = 60.0
ROOM_RETRY_S = 5.0
# How long a page is waited for that a member may have who is silent; its list of files may take as long again.
SILENCE_WAIT_S = 9.0
# When neighbours were asked last, for so many pages; some 150 bytes each.
ROOM_ASKED_MAX = 20_000


class RoomQuestions:
    """Used by one trio loop. claimed: what the group says of pages; None where nobody is believed."""

    def __init__(self, claimed: ClaimedPages | None, nursery: trio.Nursery) -> None:
        self._claimed = claimed
        self._flights: Flights[tuple[str, str], HeldPage | None] = Flights(nursery)
        self._asked: dict[tuple[str, str], float] = {}

    def can_help(self, index: Index) -> bool:
        """Whether there is anybody to ask for pages of this index now."""
        return self._claimed is not None and self._claimed.can_help(index)

    def somebody_is_silent(self, index: Index) -> bool:
        """Whether a member that may have pages of this index does not answer now."""
        return self._claimed is not None and self._claimed.somebody_is_silent(index)

    def is_due(self, index: Index, project: str, held: HeldPage | None) -> bool:
        """Whether a newer page is asked for. held: what we have."""
        again_s = ROOM_RETRY_S if held is None else ROOM_AGAIN_S
        asked_at = self._asked.get((index.key, project), -again_s)
        return self.can_help(index) and trio.current_time() - asked_at >= again_s

    async def newest(self, index: Index, project: str, held: HeldPage | None) -> HeldPage | None:
        """The newer of what we hold and what members of the group confirmed."""
        if not self.is_due(index, project, held):
            return held
        return await self._flights.join((index.key, project), partial(self._ask, index, project, held))

    async def newest_of_all(self, index: Index, project: str, held: HeldPage | None, until: float) -> HeldPage | None:
        """The same; a member that is silent is waited for where nobody else has any. until: trio's time."""
        newest = await self.newest(index, project, held)
        while newest is None and self._claimed is not None and await self._claimed.heard_again(index, until):
            newest = await self.newest(index, project, held)
        return newest

    async def _ask(self, index: Index, project: str, held: HeldPage | None) -> HeldPage | None:
        assert self._claimed is not None
        newest = await self._claimed.newest(index, project, held)
        key = (index.key, project)
        self._asked.pop(key, None)
        if newest is None and self._claimed.somebody_is_silent(index):
            return held  # that was no answer
        self._asked[key] = trio.current_time()
        forget_oldest(self._asked, ROOM_ASKED_MAX)
        return newest or held
