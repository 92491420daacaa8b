"""Wheels as they lie unpacked in the store, and their byte code: immutable trees, from which environments are linked.

A tree is made from its blob and can be made again, so it goes with its blob, and a directory without a row is nothing.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import stat
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio

from p2pcdn.errors import NotFound, RemoteProtocolError, StoreStopped
from p2pcdn.store.background import Background
from p2pcdn.store.blob import Blob
from p2pcdn.store.blob_table import BlobTable
from p2pcdn.store.catalog import Catalog
from p2pcdn.store.health import Health, is_full
from p2pcdn.store.rows import BLOBS, TREES, TreeRow, pack_tree, unpack_tree
from p2pcdn.store.shelves import Shelves
from p2pcdn.store.transaction import Rows, Total
from p2pcdn.store.tree import Made, Make, Tree, TreeKey
from p2pcdn.world import Clock, Threads

# A wheel that the disk has no room for asks for so many times its size: its files pack to a third or a quarter.
UNPACKED_TIMES = 4


@dataclass(slots=True)
class _Waiting:
    """A tree that is made and not yet durable."""

    key: TreeKey
    made: Made
    new: Path
    settled: bool = False
    error: Exception | None = None


@dataclass(slots=True)
class Trees:
    """Used on trio's thread. Makers run side by side; what they made becomes durable together."""

    shelves: Shelves
    table: BlobTable
    catalog: Catalog
    health: Health
    background: Background
    threads: Threads
    clock: Clock
    dice: random.Random
    free: Callable[[int], Awaitable[int]]  # evicts that many bytes if it can
    marks: dict[bytes, float] = field(default_factory=dict)
    linked_bytes: int = 0  # of all trees, when they were measured last: what environments hold anyway
    _waiting: list[_Waiting] = field(default_factory=list)
    _turn: trio.Lock = field(default_factory=trio.Lock)

    def find(self, key: TreeKey) -> Tree | None:
        """The tree, marked as used, and its blob with it; None where it, or its blob, is absent or buried."""
        value = self.catalog.get(TREES, key.octets)
        row = unpack_tree(value) if value is not None else None
        path = self.shelves.layout.trees / key.name
        if row is None or self.table.find(key.sha256) is None:
            return None
        if not path.is_dir():
            self.background.start(lambda: self._lost(key))
            return None
        self.marks[key.octets] = self.clock.now()
        return Tree(key, path, row.size_bytes, row.listing)

    async def keep(self, key: TreeKey, make: Make) -> Tree:
        """Has the tree made, and returns when it is durable. One at a time for a key: the caller sees to that.

        Raises NotFound where its blob is not here, StoreStopped, and what `make` raises; then nothing of it is kept.
        """
        blob = self.table.find(key.sha256)
        if blob is None or blob.content is not None:
            raise NotFound(f"The store holds no wheel with sha256 {key.sha256} that could be unpacked.")
        self.health.refuse_if_broken()
        held = await blob.open()  # so that it is not evicted meanwhile
        try:
            made = await self._made(key, blob, make)
        finally:
            held.close()
        self.marks[key.octets] = self.clock.now()
        return Tree(key, self.shelves.layout.trees / key.name, made.size_bytes, made.listing)

    async def _made(self, key: TreeKey, blob: Blob, make: Make, *, again: bool = True) -> Made:
        """Made and durable. Where the disk has no room, once more after others were evicted."""
        new = self._aside(key, "new")
        try:
            made = await make(self.shelves.layout.blob(blob.name), new)
            await self._settle(_Waiting(key, made, new))
            return made
        except OSError as error:
            if is_full(error) and again and await self.free(UNPACKED_TIMES * blob.size_bytes) > 0:
                return await self._made(key, blob, make, again=False)
            if is_full(error) or error.errno == errno.EIO:
                raise self.health.failed(error, "an unpacked wheel") from error
            # Not the disk's fault: a name in the wheel that no file system takes.
            raise RemoteProtocolError(f"{blob.origin.filename} cannot be unpacked: {error}.") from error
        finally:
            self._discard([new])  # nothing is there where it was settled

    def _aside(self, key: TreeKey, what: str) -> Path:
        """A name that is not the tree's own, and nobody else's: what is left of it at a start is removed."""
        return self.shelves.layout.trees / f"{key.name}.{what}-{self.dice.getrandbits(64):016x}"

    async def _settle(self, mine: _Waiting) -> None:
        """Durable, named, durable, in the catalog; as a blob is kept, but for all that wait together."""
        self._waiting.append(mine)
        with trio.CancelScope(shield=True):
            async with self._turn:
                if not mine.settled:
                    group, self._waiting = self._waiting, []
                    await self._settle_together(group)
        if mine.error is not None:
            raise mine.error

    async def _settle_together(self, group: list[_Waiting]) -> None:
        layout, disk = self.shelves.layout, self.shelves.disk
        error: Exception | None = None
        orphans: list[TreeKey] = []
        try:
            await disk.sync_file_system(layout.trees)
            await self.threads.run(_put, [(one.new, layout.trees / one.key.name) for one in group])
            await disk.sync_directory(layout.trees)
            now = self.clock.now()
            orphans = await self.table.write(
                lambda rows: put_trees(rows, [(one.key, one.made) for one in group], now),
                size_bytes=sum(len(one.made.listing) + 1024 for one in group),
            )
            self.health.written("an unpacked wheel")
        except OSError as failure:
            error = self.health.failed(failure, "an unpacked wheel")
            error.__cause__ = failure
        except StoreStopped as failure:
            error = failure
        for one in group:
            one.settled = True
            one.error = error
            if one.key in orphans:
                one.error = NotFound(f"The wheel with sha256 {one.key.sha256} was removed while it was unpacked.")
        self.remove(one.key for one in group if one.error is not None)

    # -- taking away --------------------------------------------------------------------------------------------------

    def remove(self, keys: Iterable[TreeKey]) -> None:
        """Takes away the directories of trees whose rows are gone: off their names at once, their files beside the way.

        A kill in between leaves a directory without a row, which the next start removes.
        """
        gone = []
        for key in keys:
            self.marks.pop(key.octets, None)
            aside = self._aside(key, "gone")
            with suppress(OSError):
                os.rename(self.shelves.layout.trees / key.name, aside)  # noqa: PTH104
                gone.append(aside)
        self._discard(gone)

    def _discard(self, paths: list[Path]) -> None:
        async def remove_all() -> None:
            for path in paths:
                await self.threads.run(remove_tree, path)

        if paths:
            self.background.start(remove_all)

    async def recover(self) -> None:
        """At the start: what a kill left of trees that were being made, or taken away, is removed. Raises OSError."""
        names = await self.threads.run(_names, self.shelves.layout.trees)
        known = {TreeKey.of_octets(octets).name for octets in self.catalog.keys(TREES)}
        self._discard([self.shelves.layout.trees / name for name in names if name not in known])

    async def verify(self, is_whole: Callable[[Tree], bool]) -> list[str]:
        """Drops the trees of wheels that are not what they were, with their byte code. Gives the wheels' file names."""
        names = []
        for octets in list(self.catalog.keys(TREES)):
            key = TreeKey.of_octets(octets)
            row, value = self.table.row(key.sha256), self.catalog.get(TREES, octets)
            made = unpack_tree(value) if value is not None else None
            if row is None or made is None or key.kind:
                continue
            tree = Tree(key, self.shelves.layout.trees / key.name, made.size_bytes, made.listing)
            if not await self.threads.run(is_whole, tree):
                gone = await self.table.write(lambda rows, octets=octets: _delete_all(rows, octets))  # type: ignore[misc]
                self.remove(map(TreeKey.of_octets, gone))
                names.append(row.origin.filename)
        return names

    async def _lost(self, key: TreeKey) -> None:
        with suppress(StoreStopped):
            await self.table.write(lambda rows: rows.delete(TREES, key.octets))

    # -- what they take -----------------------------------------------------------------------------------------------

    async def freeable(self) -> dict[bytes, int]:
        """For each tree the bytes that only the store holds: what its end would really give back."""
        octets = list(self.catalog.keys(TREES))
        freeable = await self.threads.run(_freeable, self.shelves.layout.trees, octets) if octets else {}
        self.linked_bytes = max(0, self.total().size_bytes - sum(freeable.values()))
        return freeable

    def total(self) -> Total:
        """How many there are, and the bytes of all their files."""
        return self.catalog.totals.get(TREES, Total())

    def stored_bytes(self) -> int:
        """What they cost beyond what environments hold, as it was measured last."""
        return max(0, self.total().size_bytes - self.linked_bytes)

    def write_marks(self, rows: Rows) -> None:
        """A step of the writer: their used-times, which are otherwise only remembered."""
        for octets, used_at in list(self.marks.items()):
            value = rows.get(TREES, octets)
            row = unpack_tree(value) if value is not None else None
            if row is not None and row.used_at < used_at:
                rows.put(TREES, octets, pack_tree(replace(row, used_at=used_at)))


def put_trees(rows: Rows, made: Iterable[tuple[TreeKey, Made]], now: float) -> list[TreeKey]:
    """A step of the writer. Gives the keys of those whose blob is gone meanwhile: they have no row."""
    orphans = []
    for key, one in made:
        if rows.get(BLOBS, key.octets[:32]) is None:
            orphans.append(key)
        else:
            rows.put(TREES, key.octets, pack_tree(TreeRow(one.size_bytes, now, now, one.listing)))
    return orphans


def _delete_all(rows: Rows, wheel: bytes) -> list[bytes]:
    """A step of the writer: all trees of a wheel. Gives their keys."""
    keys = rows.keys_under(TREES, wheel[:32])
    for key in keys:
        rows.delete(TREES, key)
    return keys


def remove_tree(path: Path) -> None:
    """Removes a directory with everything in it, read-only directories too; a missing one is as good. Blocks."""
    for folder, _, _ in os.walk(path):
        with suppress(OSError):
            os.chmod(folder, 0o700)  # noqa: PTH101
    shutil.rmtree(path, ignore_errors=True)


def _put(made: Iterable[tuple[Path, Path]]) -> None:
    for new, path in made:
        remove_tree(path)  # one without a row, or one that somebody spoilt
        os.rename(new, path)  # noqa: PTH104


def _names(trees: Path) -> list[str]:
    try:
        return os.listdir(trees)  # noqa: PTH208
    except FileNotFoundError:
        return []


def _freeable(trees: Path, keys: list[bytes]) -> dict[bytes, int]:
    return {octets: _own_bytes(trees / TreeKey.of_octets(octets).name) for octets in keys}


def _own_bytes(path: Path) -> int:
    """The bytes of the files below that have no other name."""
    size_bytes = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):
                state = os.lstat(os.path.join(folder, name))  # noqa: PTH118
                if stat.S_ISREG(state.st_mode) and state.st_nlink == 1:
                    size_bytes += state.st_size
    return size_bytes
