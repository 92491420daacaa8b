"""A file that is still arriving: many readers follow it while its bytes come in any order, from several sources."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Protocol

import trio

from p2pcdn.digest import BlobName, Buffer, Sha256
from p2pcdn.errors import DigestMismatch, LocalProtocolError, P2pcdnError, RemoteProtocolError, StoreStopped
from p2pcdn.store.blob import Blob
from p2pcdn.store.buffers import Buffers
from p2pcdn.store.coverage import Coverage
from p2pcdn.store.hashing import Hasher
from p2pcdn.store.journal import Journal
from p2pcdn.store.rows import Origin
from p2pcdn.world import Clock, DiskFile, Threads

# The last bytes leave only after the proof, so that no reader completes a wrong file.
HELD_BACK_SIZE_BYTES = 64 * 1024


class Keeper(Protocol):
    """What a partial asks of its store."""

    threads: Threads
    clock: Clock
    buffers: Buffers
    size_bytes_max: int

    def start_task(self, task: Callable[[], Awaitable[None]]) -> None:
        """Runs it beside everything else; it does not raise."""

    def refuse_if_stopped(self) -> None: ...
    async def make_room(self, size_bytes: int, error: OSError) -> None:
        """Evicts after a full disk; raises StoreStopped for any other fault, or where there is nothing to evict."""

    def failed(self, error: OSError) -> StoreStopped: ...
    async def keep(self, partial: Partial, name: BlobName, sha256: Sha256) -> Blob: ...
    async def discard(self, partial: Partial) -> None: ...
    def ended(self, partial: Partial) -> None: ...


class Partial:
    """One attempt at one file; all of it is used on trio's thread. `Store.grow` makes it.

    key: the sha256, or the words that name a file without one. attempt: 16 hexadecimal digits, new for each attempt.
    brought: how many bytes each source gave, in words for people.
    proven: set when the whole has the right hash. A source that fails calls `fail`; one that succeeds, `finish`.
    """

    def __init__(
        self,
        key: Sha256 | str,
        stem: str,
        size_bytes: int | None,
        origin: Origin,
        attempt: str,
        file: DiskFile,
        journal: Journal,
        keeper: Keeper,
        coverage: Coverage,
    ) -> None:
        self.key = key
        self.stem = stem
        self.sha256 = key if isinstance(key, Sha256) else None
        self.size_bytes = size_bytes
        self.origin = origin
        self.attempt = attempt
        self.file = file
        self.journal = journal
        self.proven = trio.Event()
        self.error: P2pcdnError | None = None
        self.blob: Blob | None = None
        self.brought: Counter[str] = Counter()
        self._keeper = keeper
        self._coverage = coverage
        self._hasher = Hasher(file, journal, keeper, coverage, self._changed)
        self._writing = trio.Lock()
        self._finishing = trio.Lock()
        self._watchers = trio.lowlevel.ParkingLot()
        self._readable = trio.lowlevel.ParkingLot()  # of these, readers that wait for bytes they may have
        self._over = trio.Event()
        self._readers = 0

    # --- what a source uses

    def set_size(self, size_bytes: int) -> None:
        """The size, once the source says it. Raises RemoteProtocolError where it contradicts what is known or there."""
        if self.size_bytes not in (None, size_bytes):
            raise RemoteProtocolError(
                f"{self.origin.filename} has {self.size_bytes} bytes, and now {size_bytes} are said."
            )
        if (end := self._coverage.present.end()) > size_bytes:
            raise RemoteProtocolError(f"{self.origin.filename}: {end} bytes came, {size_bytes} are said.")
        self.size_bytes = size_bytes
        self._changed()
        self._readable.unpark_all()

    def correct_size(self, size_bytes: int) -> None:
        """Another size than was said at first, while nothing has come: whose hash is right has the right size, too."""
        assert not self._coverage.present.end(), "what is there was written under another size"
        self.size_bytes = size_bytes
        self._changed()

    def missing(self) -> Sequence[tuple[int, int]]:
        """The ranges [start, end) that nobody wrote yet.

        While the size is unknown the last one is (end, end): from there on, nobody knows how far.
        """
        present = self._coverage.present
        if self.size_bytes is not None:
            return present.missing(0, self.size_bytes)
        end = present.end()
        return [*present.missing(0, end), (end, end)]

    def present(self, *, provisional: bool = False) -> Sequence[tuple[int, int]]:
        """The ranges that are there; with `provisional`, also those for which only a peer vouches."""
        return list(self._coverage.present if provisional else self._coverage.firm)

    def present_bytes(self) -> int:
        return self._coverage.present.size_bytes()

    async def write(self, offset: int, content: Buffer, *, provisional: bool = False, vouched: bool = False) -> None:
        """Writes bytes at their place; the order of writes does not matter, and bytes that are there stay.

        provisional: only a peer vouches for them; such bytes give way to others, and reach no reader before the proof
        unless they are vouched for: by a member of our group.
        Raises StoreStopped (disk full or failing), RemoteProtocolError (beyond the size), DigestMismatch (readers were
        shown other bytes there on a member's word, so this attempt must `fail`), or what `fail` was told.
        """
        octets = memoryview(content).cast("B")
        end = offset + octets.nbytes
        self._refuse_beyond(end)
        async with self._turn_to_write() as open_still:
            if not open_still:
                return
            for left, right in self._coverage.wanted(offset, end, provisional=provisional):
                await self._refuse_other_than_shown(octets[left - offset : right - offset], left)
                # Unmarked while they are overwritten: a cancelled write may have changed them or not.
                self._hasher.unmark(left, right)
                await self._write_all(octets[left - offset : right - offset], left)
                self._coverage.add(left, right, provisional=provisional, vouched=vouched)
                self._hasher.written(left, right, self.size_bytes)
            if vouched or not provisional:
                self._readable.unpark_all()

    async def finish(self) -> Blob:
        """The whole is there: its hash decides. Returns when the blob is durable.

        Raises DigestMismatch (nothing is kept, every reader hears of it; but where only a peer vouched for some of the
        bytes it lives on: `forget_provisional`, fill what is missing then, and finish again), StoreStopped (right, but
        not kept: readers still get all of it), LocalProtocolError (bytes are missing).
        """
        async with self._finishing:
            if self.blob is not None:
                return self.blob
            if self.error is not None:
                raise self.error
            size_was_known = self.size_bytes is not None
            if not size_was_known:
                self.set_size(self._coverage.present.end())
            if holes := self.missing():
                raise LocalProtocolError(f"{self.origin.filename} is not whole: {len(holes)} ranges are missing.")
            try:
                sha256, name = await self._whole_hash()
                if self.sha256 not in (None, sha256):
                    await self._refuse_content(sha256)
                self.proven.set()
                self._changed()
                self._readable.unpark_all()
                # Short of the fsync there is little to wait for, and half a rename helps nobody.
                with trio.CancelScope(shield=True):
                    blob = self.blob = await self._keeper.keep(self, name, sha256)
            except P2pcdnError as error:
                if not (isinstance(error, DigestMismatch) and self.is_provisional()):
                    self._end(error)
                elif not size_was_known:
                    self.size_bytes = None
                raise
            self._end(None)
            return blob

    def has_shown_unproven(self) -> bool:
        """Whether a reader was given bytes that only a member of our group vouched for.

        If they were wrong, this attempt must `fail`, so that no reader goes on in the right ones behind them.
        """
        return self._coverage.has_shown_unproven()

    async def forget_provisional(self) -> None:
        """Drops what only a peer vouched for. Raises StoreStopped."""
        async with self._turn_to_write() as open_still:
            if not open_still:
                return
            for start, end in self._coverage.provisional():
                self._hasher.unmark(start, end)
            try:
                await self.journal.forget_provisional(self._keeper.clock.now())
            except OSError as error:
                raise self._keeper.failed(error) from error

    def fail(self, error: P2pcdnError) -> None:
        """Nobody can fill it now: readers get the error. What came stays for the next `grow`."""
        if self.error is None and not self._over.is_set() and not self.proven.is_set():
            self._end(error)

    async def discard(self) -> None:
        """What came does not stay for the next `grow`; whoever fills it fails it then."""
        await self._keeper.discard(self)

    # --- what a reader uses

    def is_provisional(self) -> bool:
        """Whether only a peer vouches for some of the bytes."""
        return self._coverage.is_provisional()

    def frontier(self) -> int:
        """How many bytes from the start readers may have; all of them once proven."""
        if self.proven.is_set():
            assert self.size_bytes is not None
            return self.size_bytes
        return self._coverage.open.end_from(0)

    async def readable(self, offset: int) -> int:
        """Waits until bytes beyond offset may be sent, and gives their end; the size itself at or behind the end.

        Before the proof that is neither provisional bytes that no member of our group vouches for, nor the
        last `HELD_BACK_SIZE_BYTES`. A range that ends
        earlier must hold its own last bytes back until `proven`. Raises what failed.
        """
        await trio.lowlevel.checkpoint()
        while True:
            if self.proven.is_set():
                return self.frontier()
            if self.error is not None:
                raise self.error.with_traceback(None)
            end = min(self._coverage.open.end_from(offset), self._open_end())
            if end > offset:
                self._coverage.show(offset, end)
                return end
            await self._readable.park()

    async def wait_proven(self) -> None:
        """Waits until the whole is proven, if not yet durable. Raises what failed."""
        while not self.proven.is_set():
            if self.error is not None:
                raise self.error.with_traceback(None)
            await self._watchers.park()

    async def wait_finished(self) -> Blob:
        """Waits for the end: the blob, or what failed."""
        await self._over.wait()
        if self.error is not None:
            raise self.error.with_traceback(None)
        assert self.blob is not None
        return self.blob

    @contextmanager
    def reader(self) -> Iterator[DiskFile]:
        """Holds the file open while somebody reads."""
        self._readers += 1
        try:
            yield self.file
        finally:
            self._readers -= 1
            self._close_when_idle()

    async def settle(self) -> None:
        """After the end: waits until its hashing stands still."""
        async with self._writing:
            while self._hasher.running:
                await self._watchers.park()
        self._close_when_idle()

    # --- below

    @asynccontextmanager
    async def _turn_to_write(self) -> AsyncIterator[bool]:
        """One writer at a time, so that nobody hashes what another overwrites. False: all is proven."""
        try:
            self._writing.acquire_nowait()  # most of the time nobody else writes, and there is nothing to wait for
        except trio.WouldBlock:
            await self._writing.acquire()
        try:
            if not self.proven.is_set():
                if self.error is not None:
                    raise self.error
                self._keeper.refuse_if_stopped()
            yield not self.proven.is_set()
        finally:
            self._writing.release()
            self._changed()

    def _open_end(self) -> int:
        known = self.size_bytes if self.size_bytes is not None else self._coverage.open.end_from(0)
        return known - HELD_BACK_SIZE_BYTES

    def _refuse_beyond(self, end: int) -> None:
        if self.size_bytes is not None and end > self.size_bytes:
            raise RemoteProtocolError(
                f"{self.origin.filename} should have {self.size_bytes} bytes, and more came; nothing was kept."
            )
        if end > self._keeper.size_bytes_max:
            raise StoreStopped(f"{self.origin.filename} is larger than the whole store; it passes through unkept.")

    async def _refuse_other_than_shown(self, octets: memoryview, offset: int) -> None:
        for start, end in self._coverage.shown.within(offset, offset + octets.nbytes):
            try:
                before = await self.file.pread(end - start, start)
            except OSError as error:
                raise self._keeper.failed(error) from error
            if before != octets[start - offset : end - offset]:
                raise DigestMismatch(self.origin.filename, expected=f"sha256:{self.sha256}", got="two kinds of bytes")

    async def _write_all(self, octets: memoryview, offset: int) -> None:
        try:
            await self.file.pwrite(octets, offset)
        except OSError as error:
            await self._keeper.make_room(octets.nbytes, error)
            try:
                await self.file.pwrite(octets, offset)
            except OSError as again:
                raise self._keeper.failed(again) from again

    async def _whole_hash(self) -> tuple[Sha256, BlobName]:
        assert self.size_bytes is not None
        self._hasher.wake(self.size_bytes)
        while (hashes := self._hasher.result()) is None:
            if self.error is not None:
                raise self.error
            await self._watchers.park()
        await trio.lowlevel.checkpoint_if_cancelled()
        return hashes.sha256(), hashes.blob_name()

    async def _refuse_content(self, got: Sha256) -> None:
        error = DigestMismatch(self.origin.filename, expected=f"sha256:{self.sha256}", got=f"sha256:{got}")
        if not self.is_provisional():
            # Its files go first: whoever grows this file after the end begins with none.
            with trio.CancelScope(shield=True):
                await self._keeper.discard(self)
        raise error

    def _end(self, error: P2pcdnError | None) -> None:
        if not self._over.is_set():
            self.error = error
            self._over.set()
            self._keeper.ended(self)
            self._changed()
            self._readable.unpark_all()
            self._close_when_idle()

    def _changed(self) -> None:
        self._watchers.unpark_all()
        if self._over.is_set():
            self._close_when_idle()

    def _close_when_idle(self) -> None:
        if self._over.is_set() and self._readers == 0 and not self._hasher.running and not self._writing.locked():
            self.file.close()
            self.journal.close()
