"""A store as it is opened: its parts, wired to each other, and what a kill left behind put right."""

from __future__ import annotations

import errno
import random
from dataclasses import dataclass
from pathlib import Path

from p2pcdn.digest import BlobName
from p2pcdn.errors import StoreStopped, StoreUnreadable, StoreUnusable
from p2pcdn.store.arrivals import Arrivals
from p2pcdn.store.background import Background
from p2pcdn.store.blob_table import BlobTable
from p2pcdn.store.catalog import Catalog
from p2pcdn.store.collect import IDLE_PARTIAL_KEPT_S
from p2pcdn.store.collector import Collector, StoreLimits
from p2pcdn.store.health import Health
from p2pcdn.store.layout import Layout
from p2pcdn.store.place import Claim, claim
from p2pcdn.store.rebuild import open_or_rebuild, rebuilt_is_whole
from p2pcdn.store.rows import DOOMED
from p2pcdn.store.shelves import Shelves
from p2pcdn.store.trees import Trees
from p2pcdn.store.verify import adopt_unknown
from p2pcdn.world import Clock, Disk, Threads

# What no later start finds otherwise, until somebody has put it right; the disk has not failed.
FOR_GOOD = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@dataclass(frozen=True, slots=True)
class Parts:
    """What a store consists of."""

    claim: Claim
    catalog: Catalog
    table: BlobTable
    shelves: Shelves
    arrivals: Arrivals
    trees: Trees
    collector: Collector
    health: Health
    background: Background
    threads: Threads
    clock: Clock
    limits: StoreLimits


async def open_parts(
    directory: Path, disk: Disk, threads: Threads, clock: Clock, dice: random.Random, limits: StoreLimits
) -> Parts:
    """As `Store.open`. Raises StoreUnusable, and of it StoreUnreadable where the disk failed."""
    layout = Layout(directory)
    held = await threads.run(claim, layout)
    try:
        return await _open_claimed(layout, held, disk, threads, clock, dice, limits)
    except OSError as error:
        held.release()
        if error.errno in FOR_GOOD:
            raise StoreUnusable(f"The store {directory} cannot be opened: {error.strerror}.") from error
        raise StoreUnreadable(
            f"The store {directory} cannot be opened now: {error.strerror or error}. What it keeps is as it was; "
            "start the node again, and look at the disk should that not help."
        ) from error
    except StoreStopped as error:
        held.release()
        raise StoreUnreadable(f"The store {directory} cannot be opened now. {error}") from error
    except BaseException:
        held.release()
        raise


async def _open_claimed(
    layout: Layout, held: Claim, disk: Disk, threads: Threads, clock: Clock, dice: random.Random, limits: StoreLimits
) -> Parts:
    health, background = Health(), Background()
    environment, totals, rebuilt = await threads.run(open_or_rebuild, layout, held.unclean)
    catalog = Catalog(environment, totals, threads, health)
    catalog.damaged = lambda: layout.distrusted.touch(mode=0o600)
    shelves = Shelves(layout, disk)
    table = BlobTable(catalog, shelves, clock)
    arrivals = Arrivals(
        shelves, table, health, background, threads, clock, dice, limits.size_bytes, limits.reserve_bytes
    )
    trees = Trees(shelves, table, catalog, health, background, threads, clock, dice, _nothing)
    collector = Collector(catalog, table, shelves, arrivals, trees, health, threads, clock, limits)
    parts = Parts(held, catalog, table, shelves, arrivals, trees, collector, health, background, threads, clock, limits)
    try:
        await _recover(parts, rebuilt)
    except BaseException:
        catalog.close()
        raise
    arrivals.free = trees.free = collector.free
    arrivals.kept = collector.tidy
    return parts


async def _recover(parts: Parts, rebuilt: bool) -> None:
    """Raises OSError, StoreStopped."""
    table, shelves, arrivals, threads = parts.table, parts.shelves, parts.arrivals, parts.threads
    if rebuilt:
        await adopt_unknown(table, shelves, threads, parts.clock)
        await threads.run(rebuilt_is_whole, shelves.layout)
    doomed = [BlobName(key.hex()) for key, _ in parts.catalog.scan(DOOMED)]
    for name in await shelves.remove(doomed):
        table.unlinked(name)
    await parts.trees.recover()
    await arrivals.find_idle()
    await arrivals.drop_idle(parts.clock.now() - IDLE_PARTIAL_KEPT_S, 0)


async def _nothing(size_bytes: int) -> int:
    """Before the store is open nothing can be evicted."""
    return 0
