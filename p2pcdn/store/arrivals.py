"""The partials of a store: begun, resumed after a crash, made into blobs, thrown away."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Container
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from p2pcdn.digest import BlobName, Sha256
from p2pcdn.errors import StoreStopped
from p2pcdn.sizes import format_size
from p2pcdn.store.background import Background
from p2pcdn.store.blob import Blob
from p2pcdn.store.blob_table import BlobTable, put_row
from p2pcdn.store.buffers import Buffers
from p2pcdn.store.coverage import Coverage
from p2pcdn.store.health import Health, is_full
from p2pcdn.store.journal import Journal, Past, read_past
from p2pcdn.store.layout import partial_stem
from p2pcdn.store.partial import Partial
from p2pcdn.store.resume import matches, verified_pieces
from p2pcdn.store.rows import BlobRow, Origin
from p2pcdn.store.shelves import Shelves
from p2pcdn.world import Clock, DiskFile, Threads

_log = logging.getLogger("p2pcdn.store")


@dataclass(frozen=True, slots=True)
class Idle:
    """A partial on the disk that nobody grows."""

    size_bytes: int
    touched_at: float


class Arrivals:
    """Used on trio's thread. It is what a `Partial` asks of its store."""

    def __init__(
        self,
        shelves: Shelves,
        table: BlobTable,
        health: Health,
        background: Background,
        threads: Threads,
        clock: Clock,
        dice: random.Random,
        size_bytes_max: int,
        reserve_bytes: int,
    ) -> None:
        self.threads = threads
        self.clock = clock
        self.buffers = Buffers()
        self.size_bytes_max = size_bytes_max
        self.start_task = background.start
        self.free: Callable[[int], Awaitable[int]] = _nothing  # evicts that many bytes if it can
        self.kept: Callable[[], Awaitable[None]] = _nobody
        self.on_kept: Callable[[Sha256], None] = lambda sha256: None
        self.growing: dict[str, Partial] = {}
        self.idle: dict[str, Idle] = {}
        self._shelves = shelves
        self._layout = shelves.layout
        self._disk = shelves.disk
        self._table = table
        self._health = health
        self._dice = dice
        self._reserve_bytes = reserve_bytes
        self._turns: dict[str, trio.Lock] = {}
        self._settling: dict[str, Partial] = {}  # over, but their hashing may still run
        self._discarded: set[str] = set()  # without files, but not yet over

    # --- begin or resume

    async def grow(self, key: Sha256 | str, size_bytes: int | None, origin: Origin) -> Partial:
        stem = partial_stem(key)
        turn = self._turns.setdefault(stem, trio.Lock())
        try:
            async with turn:
                if (running := self.growing.get(stem)) is not None:
                    return running
                self.refuse_if_stopped()
                if (old := self._settling.get(stem)) is not None:
                    await old.settle()
                await self._reserve(size_bytes, stem, origin)
                try:
                    partial = await self._resume(key, stem, size_bytes, origin) or await self._begin(
                        key, stem, size_bytes, origin
                    )
                except OSError as error:
                    raise self.failed(error) from error
                self.idle.pop(stem, None)
                self.growing[stem] = partial
                return partial
        finally:
            if not turn.locked():
                self._turns.pop(stem, None)

    async def _reserve(self, size_bytes: int | None, stem: str, origin: Origin) -> None:
        if size_bytes is not None and size_bytes > self.size_bytes_max:
            raise StoreStopped(f"{origin.filename} is larger than the whole store; it passes through unkept.")
        there = self.idle[stem].size_bytes if stem in self.idle else 0
        wanted = max(0, (size_bytes or 0) - there) + sum(map(_still_to_come, self.growing.values()))
        short = await self._short_of(wanted)
        if short > 0 and await self.free(short) > 0:
            short = await self._short_of(wanted)
        if short > 0:
            raise self._health.no_room(
                f"The disk of {self._layout.directory} has no room for {origin.filename}: it lacks"
                f" {format_size(short)}. New files pass through unkept."
            )
        self._health.room_again()

    async def _short_of(self, wanted_bytes: int) -> int:
        try:
            return wanted_bytes + self._reserve_bytes - await self._disk.free_bytes(self._layout.partials)
        except OSError as error:
            raise self.failed(error) from error

    async def _begin(self, key: Sha256 | str, stem: str, size_bytes: int | None, origin: Origin) -> Partial:
        journal_file = await self._create(self._layout.journal(stem))
        try:
            journal = Journal(journal_file, 0)
            await journal.begin(key if isinstance(key, Sha256) else None, size_bytes, origin, self.clock.now())
            file = await self._create(self._layout.partial(stem))
        except BaseException:
            journal_file.close()
            raise
        return self._partial(key, stem, size_bytes, origin, file, journal, Coverage())

    async def _create(self, path: Path) -> DiskFile:
        """An empty file. What a former attempt left there, of which the journal knows nothing, goes first."""
        try:
            return await self._disk.create(path)
        except FileExistsError:
            await self._disk.unlink(path)
            return await self._disk.create(path)

    async def _resume(self, key: Sha256 | str, stem: str, size_bytes: int | None, origin: Origin) -> Partial | None:
        if not isinstance(key, Sha256) or stem not in self.idle:
            # Without a hash nobody can say that the rest belongs to what is here.
            return None
        opened: list[DiskFile] = []
        try:
            opened.append(await self._disk.reopen(self._layout.journal(stem)))
            past = read_past(await opened[0].pread(opened[0].size_bytes(), 0))
            if not matches(past, key, size_bytes):
                _close(opened)
                return None
            opened.append(await self._disk.reopen(self._layout.partial(stem)))
            pieces = await verified_pieces(opened[1], past, self.threads)
            await opened[0].truncate(past.end)
        except OSError:
            _close(opened)
            return None
        except BaseException:
            _close(opened)
            raise
        coverage = Coverage(
            present=((piece.start, piece.end) for piece in pieces),
            firm=((piece.start, piece.end) for piece in pieces if not piece.provisional),
        )
        size_bytes = size_bytes if size_bytes is not None else past.size_bytes
        return self._partial(key, stem, size_bytes, origin, opened[1], Journal(opened[0], past.end), coverage)

    def _partial(
        self,
        key: Sha256 | str,
        stem: str,
        size_bytes: int | None,
        origin: Origin,
        file: DiskFile,
        journal: Journal,
        coverage: Coverage,
    ) -> Partial:
        if not isinstance(key, Sha256):
            # Trusted on first use: only this node may rely on it.
            origin = replace(origin, share="never")
        attempt = f"{self._dice.getrandbits(64):016x}"
        return Partial(key, stem, size_bytes, origin, attempt, file, journal, self, coverage)

    # --- what a partial asks

    def refuse_if_stopped(self) -> None:
        self._health.refuse_if_broken()

    def failed(self, error: OSError) -> StoreStopped:
        return self._health.failed(error, "a file that arrives")

    async def make_room(self, size_bytes: int, error: OSError) -> None:
        if not is_full(error) or await self.free(size_bytes + self._reserve_bytes) == 0:
            raise self.failed(error) from error
        self._health.room_again()

    async def keep(self, partial: Partial, name: BlobName, sha256: Sha256) -> Blob:
        """Synced, named, synced, in the catalog: then it is kept. Raises StoreStopped."""
        assert partial.size_bytes is not None
        now = self.clock.now()
        row = BlobRow(name, sha256, partial.size_bytes, partial.origin, now, now)
        await self._sync(partial)
        with self._shelves.naming(name):
            try:
                # Should a crash come between the name and the row, the next start knows whose file it is.
                await partial.journal.name(name, sha256, partial.size_bytes, now)
                await self._shelves.put(self._layout.partial(partial.stem), name)
            except OSError as error:
                raise self.failed(error) from error
            kept = await self._table.write(lambda rows: put_row(rows, row), sha256)
            self.on_kept(sha256)
        with suppress(OSError):
            await self._disk.unlink(self._layout.journal(partial.stem))
        with suppress(StoreStopped):
            await self.kept()
        return Blob(kept, None, self._shelves)

    async def _sync(self, partial: Partial) -> None:
        try:
            if partial.file.size_bytes() != partial.size_bytes:
                await partial.file.truncate(partial.size_bytes or 0)
            await partial.file.fsync()
        except OSError as error:
            # What the kernel now calls clean may never have reached the disk: these bytes are not to be resumed.
            await self.discard(partial)
            raise self.failed(error) from error

    async def discard(self, partial: Partial) -> None:
        """Its bytes are wrong, or may never reach the disk: nobody resumes them."""
        self._discarded.add(partial.stem)
        with suppress(OSError):
            await self._remove_files(partial.stem)

    def ended(self, partial: Partial) -> None:
        self.growing.pop(partial.stem, None)
        self._let_memory_go()
        if partial.blob is None:
            if partial.stem not in self._discarded:
                self.idle[partial.stem] = Idle(partial.present_bytes(), self.clock.now())
            self._discarded.discard(partial.stem)
            self._settling[partial.stem] = partial
            self.start_task(lambda: self._settle(partial))

    async def _settle(self, partial: Partial) -> None:
        await partial.settle()
        if self._settling.get(partial.stem) is partial:
            del self._settling[partial.stem]
        self._let_memory_go()

    def _let_memory_go(self) -> None:
        if not self.growing:
            self.buffers.clear()

    # --- partials nobody grows

    async def find_idle(self) -> None:
        """At the start: what a former life left behind. Raises OSError where not even their names can be read."""
        names = set(await self._disk.list(self._layout.partials))
        for stem in sorted({name.removesuffix(".journal") for name in names}):
            try:
                stays = await self._find(stem, names)
            except OSError as error:
                # A part of a file is worth less than a node that starts.
                _log.warning(
                    "What had come of %s cannot be read (%s); it is fetched anew.", stem, error.strerror or error
                )
                # A journal alone may be that of a whole file without a row, which the next start can still adopt.
                stays = stem not in names
            if not stays:
                with suppress(OSError):
                    await self._remove_files(stem)

    async def _find(self, stem: str, names: Container[str]) -> bool:
        """Whether it is here to be resumed. Raises OSError."""
        past = await self._past(stem) if f"{stem}.journal" in names else Past()
        if stem in names and past.sha256 is not None:
            file = await self._disk.open(self._layout.partial(stem))
            self.idle[stem] = Idle(file.size_bytes(), past.touched_at)
            file.close()
            return True
        if past.named is not None and stem not in names:
            await self._adopt(past)
        return False

    async def _past(self, stem: str) -> Past:
        file = await self._disk.open(self._layout.journal(stem))
        try:
            return read_past(await file.pread(file.size_bytes(), 0))
        finally:
            file.close()

    async def _adopt(self, past: Past) -> None:
        """A crash came between the name and the row: the whole was proven and synced before its name was noted."""
        name, sha256 = past.named, past.named_sha256
        if name is None or sha256 is None or past.size_bytes is None or self._table.row(sha256) is not None:
            return
        try:
            file = await self._disk.open(self._layout.blob(name))
        except FileNotFoundError:
            return
        whole = file.size_bytes() == past.size_bytes
        file.close()
        if whole:
            await self._disk.sync_directory(self._layout.shelf(name))
            row = BlobRow(name, sha256, past.size_bytes, past.origin, past.touched_at, past.touched_at)
            await self._table.write(lambda rows: put_row(rows, row), sha256)

    async def drop_idle(self, touched_before: float, excess_bytes: int) -> int:
        """Removes idle partials: the old ones, and the oldest while `excess_bytes` are to be freed. Gives the bytes."""
        freed = 0
        for stem, idle in sorted(self.idle.items(), key=lambda pair: pair[1].touched_at):
            if idle.touched_at < touched_before or freed < excess_bytes:
                turn = self._turns.setdefault(stem, trio.Lock())
                if turn.locked():
                    continue  # it is about to be resumed; whoever resumes it may be the one that needs room
                async with turn:
                    if stem in self.idle:
                        del self.idle[stem]
                        with suppress(OSError):
                            await self._remove_files(stem)
                        freed += idle.size_bytes
                if not turn.locked():
                    self._turns.pop(stem, None)
        return freed

    async def _remove_files(self, stem: str) -> None:
        for path in (self._layout.partial(stem), self._layout.journal(stem)):
            with suppress(FileNotFoundError):
                await self._disk.unlink(path)

    def size_bytes(self) -> int:
        """What partials take, growing or not."""
        growing = sum(partial.present_bytes() for partial in self.growing.values())
        return growing + sum(idle.size_bytes for idle in self.idle.values())


def _still_to_come(partial: Partial) -> int:
    return 0 if partial.size_bytes is None else partial.size_bytes - partial.present_bytes()


def _close(files: list[DiskFile]) -> None:
    for file in files:
        file.close()


async def _nothing(size_bytes: int) -> int:
    return 0


async def _nobody() -> None:
    """Before the store is open nothing is kept."""
