"""The store: blobs by their hash, small values by their name, and the one door to both."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import trio

from p2pcdn.digest import BlobName, Sha256
from p2pcdn.errors import (
    DigestMismatch,
    LocalProtocolError,
    NotFound,
    P2pcdnError,
    StoreStopped,
    Unavailable,
)
from p2pcdn.store.blob import Blob
from p2pcdn.store.blob_table import delete_row, put_row
from p2pcdn.store.collect import Freed
from p2pcdn.store.collector import StoreLimits
from p2pcdn.store.opening import Parts, open_parts
from p2pcdn.store.partial import Partial
from p2pcdn.store.rows import (
    BLOBS,
    BURIED,
    BlobRow,
    Origin,
    Table,
    pack_blob,
    unpack_blob,
)
from p2pcdn.store.transaction import Rows, Total
from p2pcdn.store.tree import Make, Tree, TreeKey
from p2pcdn.store.values import Change, keys_of, value_of, values_of
from p2pcdn.store.verify import VerifyReport, verify
from p2pcdn.world import Clock, Disk, Threads

# Core metadata is nearly always below this. In the catalog it costs a few pages, as a file four system calls.
SMALL_BLOB_SIZE_BYTES_MAX = 256 * 1024


@dataclass(frozen=True, slots=True)
class Summary:
    """For `status`. partial_bytes, tree_bytes: beside size_bytes. health: "ok", or why writing stopped, a sentence."""

    blobs: int
    size_bytes: int
    limit_bytes: int
    partials: int
    partial_bytes: int
    evicted_bytes: int
    health: str
    trees: int = 0
    tree_bytes: int = 0


class Store:
    """One node's blobs and values. Look-ups are plain calls of microseconds; changes are durable when they return.

    All of it is used on trio's thread. Writing raises StoreStopped after the disk failed; reading goes on.
    """

    def __init__(self, parts: Parts) -> None:
        self._claim = parts.claim
        self._catalog = parts.catalog
        self._table = parts.table
        self._shelves = parts.shelves
        self._arrivals = parts.arrivals
        self._trees = parts.trees
        self._collector = parts.collector
        self._health = parts.health
        self._background = parts.background
        self._threads = parts.threads
        self._clock = parts.clock
        self._limits = parts.limits
        self.is_tree_whole: Callable[[Tree], bool] = lambda tree: True  # whose maker knows; blocks
        self.on_kept: Callable[[Sha256], None] = lambda sha256: None  # told of each blob that came, durable already
        parts.shelves.lost = self._lost
        parts.arrivals.on_kept = lambda sha256: self.on_kept(sha256)

    @classmethod
    async def open(
        cls,
        directory: Path,
        *,
        disk: Disk,
        threads: Threads,
        clock: Clock,
        random: random.Random,
        limits: StoreLimits,
    ) -> Self:
        """Claims the directory, opens the catalog (or rebuilds it, and says so in the log), finds what was interrupted.

        Raises StoreUnusable: held by another node, of a newer format, read-only, a foreign file system, not ours.
        """
        return cls(await open_parts(directory, disk, threads, clock, random, limits))

    async def settled(self) -> None:
        """Returns when nothing goes on beside the calls: hashes behind writers, files that are taken away."""
        await self._background.wait()

    async def close(self) -> None:
        """Ends what runs, writes what waits, and lets the directory go. Blobs that are open stay readable."""
        with trio.CancelScope(shield=True):
            for partial in list(self._arrivals.growing.values()):
                partial.fail(Unavailable("The node is stopping."))
                with suppress(P2pcdnError):  # one that is proven is kept first
                    await partial.wait_finished()
            await self._background.wait()
            with suppress(StoreStopped):  # only used-times are lost, and the log has said why
                await self._table.write(self._trees.write_marks)
            self._catalog.close()
            self._claim.release(clean=True)

    def abandon(self) -> None:
        """Lets go of the directory at once, as a kill would: nothing that waits is written."""
        self._catalog.close()
        self._claim.release()

    # --- look-ups

    def blob(self, sha256: Sha256, *, mark: bool = True) -> Blob | None:
        """The blob, marked as used unless nobody really uses it; None where it is absent or buried."""
        blob = self._table.find(sha256, mark=mark)
        if blob is not None and self._table.marks_are_due():
            self._background.start(self._write_marks)
        return blob

    def holds(self, sha256: Sha256) -> bool:
        """Whether `blob` would give it; does not mark it as used."""
        row = self._table.row(sha256)
        return row is not None and not row.buried

    def is_buried(self, sha256: Sha256) -> bool:
        """Whether it was withdrawn and is not held again, be its bytes still here or not."""
        return self._catalog.has(BURIED, bytes.fromhex(sha256))

    def has_buried(self) -> bool:
        """Whether there is any tombstone at all; costs one look."""
        return self._catalog.has_any(BURIED)

    def value(self, table: Table, key: str) -> bytes | None:
        return value_of(self._catalog, table, key)

    def values(self, table: Table) -> Iterator[tuple[str, bytes]]:
        return values_of(self._catalog, table)

    def keys(self, table: Table) -> Iterator[str]:
        """The keys of `values`, which costs no look at the values."""
        return keys_of(self._catalog, table)

    def file_of(self, sha256: Sha256) -> Path | None:
        """A blob's file, for programs that read or link it; nobody writes in it. None for one without a file."""
        row = self._table.row(sha256)
        return None if row is None or row.buried or row.inline else self._shelves.layout.blob(row.name)

    @property
    def sites(self) -> Path:
        """A directory for trees that environments link to as a whole."""
        return self._shelves.layout.sites

    @property
    def workshop(self) -> Path:
        """A directory for work that ends with its call: nothing in it counts as kept."""
        return self._shelves.layout.workshop

    def tree(self, sha256: Sha256, kind: str = "") -> Tree | None:
        """A wheel as it lies unpacked, marked as used with its blob. kind: "", or whose byte code.

        None where it, or its blob, is absent or buried.
        """
        return self._trees.find(TreeKey(sha256, kind))

    def rows(self) -> Iterator[BlobRow]:
        """Every blob, buried ones too."""
        return self._table.rows()

    def running(self, key: Sha256 | str) -> Partial | None:
        """The partial of this key, if it grows now."""
        return next((partial for partial in self._arrivals.growing.values() if partial.key == key), None)

    def summary(self) -> Summary:
        total = self._catalog.totals.get(BLOBS, Total())
        return Summary(
            blobs=total.rows,
            size_bytes=total.size_bytes,
            limit_bytes=self._limits.size_bytes,
            partials=len(self._arrivals.growing) + len(self._arrivals.idle),
            partial_bytes=self._arrivals.size_bytes(),
            evicted_bytes=self._collector.evicted_bytes,
            health=self._health.sentence(),
            trees=self._trees.total().rows,
            tree_bytes=self._trees.total().size_bytes,
        )

    # --- changes

    async def change(
        self,
        *,
        values: Mapping[tuple[Table, str], bytes | None] = {},  # never changed
        bury: Iterable[Sha256] = (),
        unearth: Iterable[Sha256] = (),
    ) -> None:
        """Writes and deletes values, buries and unearths blobs: all or nothing. Raises StoreStopped.

        A buried blob was withdrawn upstream: `blob` does not give it, `rows` tells of it; its tombstone outlives it.
        """
        change = Change.of(values, bury, unearth, self._clock.now())
        await self._table.write(
            lambda rows: change.write(rows, self._limits.pages_bytes),
            *change.buried,
            *change.unearthed,
            size_bytes=change.size_bytes(),
        )

    async def keep_small(self, content: bytes, origin: Origin, *, expected: Sha256 | None) -> Blob:
        """Keeps a file of at most `SMALL_BLOB_SIZE_BYTES_MAX` in the catalog itself.

        Raises DigestMismatch, StoreStopped. Without an expected hash it is trusted on first use: never shared.
        """
        if len(content) > SMALL_BLOB_SIZE_BYTES_MAX:
            raise LocalProtocolError(f"{origin.filename} is no small blob: it has {len(content)} bytes.")
        sha256 = Sha256.of(content)
        if expected is None:
            origin = replace(origin, share="never")
        elif expected != sha256:
            raise DigestMismatch(origin.filename, expected=f"sha256:{expected}", got=f"sha256:{sha256}")
        now = self._clock.now()
        row = BlobRow(BlobName.of(content), sha256, len(content), origin, now, now, inline=True)
        kept = await self._table.write(
            lambda rows: _put_small(rows, row, content), sha256, size_bytes=len(content) + 1024
        )
        self.on_kept(sha256)
        await self.tidy()
        return Blob(kept, content if kept.inline else None, self._shelves)

    async def grow(self, key: Sha256 | str, size_bytes: int | None, origin: Origin) -> Partial:
        """The partial that becomes this file: the one that runs, else one resumed from its verified pieces, else new.

        A str names a file without hash: its bytes are trusted on first use, never shared, and never resumed.
        Raises StoreStopped where there is no room, or writing stopped.
        """
        return await self._arrivals.grow(key, size_bytes, origin)

    async def keep_tree(self, sha256: Sha256, make: Make, kind: str = "") -> Tree:
        """Has a wheel unpacked, or its byte code made, into a tree that lasts until its blob goes or room is needed.

        make(file, directory) gets the wheel's file and makes the directory, in threads or processes; where it raises,
        nothing of it is kept. For one key, one call at a time: the caller sees to that. Raises NotFound where
        the blob is not here (or is small, and no file), StoreStopped, and what `make` raises.
        """
        tree = await self._trees.keep(TreeKey(sha256, kind), make)
        await self.tidy()
        return tree

    async def pin(self, sha256: Sha256, pinned: bool) -> None:
        """A pinned blob is never evicted. Raises NotFound, StoreStopped."""
        await self._alter(sha256, lambda row: replace(row, pinned=pinned))

    async def set_origin(self, sha256: Sha256, origin: Origin) -> None:
        """What a page says of a blob whose origin was unknown or has changed. Raises NotFound, StoreStopped."""
        await self._alter(sha256, lambda row: replace(row, origin=origin))

    async def drop(self, sha256: Sha256) -> None:
        """Removes a blob, pinned or not. Raises StoreStopped."""
        gone = await self._table.write(lambda rows: delete_row(rows, bytes.fromhex(sha256)), sha256)
        self._trees.remove(map(TreeKey.of_octets, gone.trees))
        await self._collector.remove_files([gone.name] if gone.name is not None else [])

    async def collect(self, to_bytes: int | None = None) -> Freed:
        """Makes room now; see `Collector.collect`. Raises StoreStopped."""
        return await self._collector.collect(to_bytes)

    def spared(self, blobs: Collection[Sha256]) -> AbstractContextManager[None]:
        """Within it these are not evicted, as if all of them were open."""
        return self._collector.spared(blobs)

    async def tidy(self) -> None:
        """Collects if something is over its limit, as `Collector.tidy`. Raises StoreStopped."""
        await self._collector.tidy()

    async def verify(self, on_progress: Callable[[int, int], None]) -> VerifyReport:
        """Hashes every blob; drops the rotten ones, takes in files without a row. on_progress(checked, of).

        Trees are looked at by `is_tree_whole`, in a thread. Raises StoreStopped.
        """
        report = await verify(
            self._table, self._catalog, self._shelves, self._threads, self._clock, self.drop, on_progress
        )
        return replace(report, rotten_trees=await self._trees.verify(self.is_tree_whole))

    # --- below

    async def _lost(self, row: BlobRow) -> None:
        """Drops it, but not what was kept anew since somebody opened the file that is bad."""
        now = self._table.row(row.sha256)
        if now is not None and now.kept_at != row.kept_at:
            return
        try:
            await self.drop(row.sha256)
        except StoreStopped:
            self._table.forget(row.sha256)

    async def _write_marks(self) -> None:
        try:
            await self._table.write(lambda rows: None)
        except StoreStopped:
            return  # status says why; a used-time is not worth a second sentence

    async def _alter(self, sha256: Sha256, change: Callable[[BlobRow], BlobRow]) -> None:
        key = bytes.fromhex(sha256)

        def step(rows: Rows) -> P2pcdnError | None:
            value = rows.get(BLOBS, key)
            row = None if value is None else unpack_blob(sha256, value, buried=False)
            if row is None:
                return NotFound(f"The store has no blob with sha256 {sha256}.")
            rows.put(BLOBS, key, pack_blob(change(row)))
            return None

        if (error := await self._table.write(step, sha256)) is not None:
            raise error


def _put_small(rows: Rows, row: BlobRow, content: bytes) -> BlobRow:
    value = rows.get(BLOBS, bytes.fromhex(row.sha256))
    old = None if value is None else unpack_blob(row.sha256, value, buried=False)
    if old is not None and not old.inline:
        # It is there as a file, and stays one.
        return put_row(rows, replace(row, inline=False))
    return put_row(rows, row, content)
