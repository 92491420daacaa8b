"""Making room: what has to go when a store is over its limits, or somebody needs the bytes; and what never goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from p2pcdn.digest import BlobName, Sha256
from p2pcdn.errors import StoreStopped
from p2pcdn.store.arrivals import Arrivals
from p2pcdn.store.blob_table import BlobTable
from p2pcdn.store.catalog import Catalog
from p2pcdn.store.collect import AGE_CHECK_S, COLLECT_TO, IDLE_PARTIAL_KEPT_S, Freed
from p2pcdn.store.evict import Evicted, evict
from p2pcdn.store.evict import Trees as TreesToEvict
from p2pcdn.store.health import Health
from p2pcdn.store.place import take_ballast, throw_ballast
from p2pcdn.store.rows import BLOBS
from p2pcdn.store.shelves import Shelves
from p2pcdn.store.transaction import Rows, Total
from p2pcdn.store.tree import TreeKey
from p2pcdn.store.trees import Trees
from p2pcdn.world import Clock, Threads

# The disk keeps this much for others, and for the catalog: LMDB must be able to delete on a full disk.
RESERVE_SIZE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """size_bytes: of all blobs together, and of their trees as far as no environment holds the same bytes.

    keep_for_s: how long an unused blob stays, None for ever. pages_bytes: of the table "pages", whose oldest go first.
    reserve_bytes: what stays free on the disk.
    """

    size_bytes: int
    keep_for_s: float | None
    pages_bytes: int
    reserve_bytes: int = RESERVE_SIZE_BYTES


class Collector:
    """Used on trio's thread. evicted_bytes: given back so far."""

    def __init__(
        self,
        catalog: Catalog,
        table: BlobTable,
        shelves: Shelves,
        arrivals: Arrivals,
        trees: Trees,
        health: Health,
        threads: Threads,
        clock: Clock,
        limits: StoreLimits,
    ) -> None:
        self.evicted_bytes = 0
        self._catalog = catalog
        self._table = table
        self._shelves = shelves
        self._arrivals = arrivals
        self._trees = trees
        self._health = health
        self._threads = threads
        self._clock = clock
        self._limits = limits
        self._age_checked_at = trio.current_time()
        self._collecting = trio.Lock()
        self._spared: Counter[Sha256] = Counter()

    async def collect(self, to_bytes: int | None = None) -> Freed:
        """Evicts what nobody used for `keep_for_s`, and the least recently used down to `to_bytes` (None: the limit).

        Never a pinned, open, growing or spared one. Raises StoreStopped.
        """
        async with self._collecting:
            self._age_checked_at = trio.current_time()
            goal = self._limits.size_bytes if to_bytes is None else to_bytes
            now = self._clock.now()
            partial_freed = await self._arrivals.drop_idle(now - IDLE_PARTIAL_KEPT_S, self._stored_bytes() - goal)
            keep_for_s = self._limits.keep_for_s
            used_before = None if keep_for_s is None else now - keep_for_s
            busy = frozenset(bytes.fromhex(sha256) for sha256 in self._busy())
            goal -= self._arrivals.size_bytes()
            trees = TreesToEvict(await self._trees.freeable(), dict(self._trees.marks))
            gone = await self._evict(lambda rows: evict(rows, goal, used_before, busy, trees))
            self._table.forget(*(Sha256(one.key.hex()) for one in gone if one.key is not None))
            self._trees.remove(TreeKey.of_octets(tree) for one in gone for tree in one.trees)
            await self.remove_files([one.name for one in gone if one.name is not None])
            await self._threads.run(take_ballast, self._shelves.layout)
            blobs = sum(one.key is not None for one in gone)
            freed = Freed(sum(one.size_bytes for one in gone) + partial_freed, blobs, len(gone) - blobs)
            self.evicted_bytes += freed.bytes
            return freed

    @contextmanager
    def spared(self, blobs: Collection[Sha256]) -> Iterator[None]:
        """Within it these are not evicted, as if all of them were open."""
        self._spared.update(blobs)
        try:
            yield
        finally:
            self._spared.subtract(blobs)
            self._spared += Counter()  # forgets the zeros

    async def tidy(self) -> None:
        """Collects if something is over its limit: what was being read when room was made may go now.

        Cheap where nothing is due. Raises StoreStopped.
        """
        over = self._stored_bytes() > self._limits.size_bytes
        aged = self._limits.keep_for_s is not None and trio.current_time() - self._age_checked_at > AGE_CHECK_S
        if over or aged:
            await self.collect(int(self._limits.size_bytes * COLLECT_TO) if over else None)

    async def _evict(self, step: Callable[[Rows], list[Evicted]]) -> list[Evicted]:
        try:
            return await self._table.write(step)
        except StoreStopped:
            self._health.refuse_if_broken()
        # The disk is so full that not even a deletion can be noted.
        await self._threads.run(throw_ballast, self._shelves.layout)
        return await self._table.write(step)

    def _stored_bytes(self) -> int:
        blobs = self._catalog.totals.get(BLOBS, Total()).size_bytes
        return blobs + self._arrivals.size_bytes() + self._trees.stored_bytes()

    def _busy(self) -> set[Sha256]:
        growing = {partial.sha256 for partial in self._arrivals.growing.values() if partial.sha256 is not None}
        return growing | set(self._shelves.open_now) | set(self._spared)

    async def free(self, size_bytes: int) -> int:
        try:
            return (await self.collect(max(0, self._stored_bytes() - size_bytes))).bytes
        except StoreStopped:
            return 0

    async def remove_files(self, names: Iterable[BlobName]) -> None:
        for name in await self._shelves.remove(names):
            self._table.unlinked(name)
