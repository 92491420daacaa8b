"""Hashes a growing file behind its writers, in units large enough for a thread, and notes its pieces in the journal."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from typing import Protocol

from blake3 import blake3

from p2pcdn.digest import TwoHashes
from p2pcdn.errors import StoreStopped
from p2pcdn.store.coverage import Coverage
from p2pcdn.store.health import is_full
from p2pcdn.store.journal import PIECE_SIZE_BYTES, Journal, Piece
from p2pcdn.world import Clock, DiskFile, Threads

# One trip to a thread costs 0.1 ms and 1 MiB of both hashes about 1 ms; at most this much is held in memory.
UNIT_SIZE_BYTES_MAX = 4 * PIECE_SIZE_BYTES


class Surroundings(Protocol):
    """What hashing needs of the store."""

    threads: Threads
    clock: Clock

    def start_task(self, task: Callable[[], Awaitable[None]]) -> None: ...
    def failed(self, error: OSError) -> StoreStopped: ...


class Hasher:
    """Follows the contiguous prefix; its task runs only while there is something to hash.

    Bytes that are overwritten after they were hashed start the whole hash anew: `_epoch` tells the unit in flight.
    """

    def __init__(
        self,
        file: DiskFile,
        journal: Journal,
        around: Surroundings,
        coverage: Coverage,
        changed: Callable[[], None],
    ) -> None:
        self._file = file
        self._journal = journal
        self._around = around
        self._coverage = coverage
        self._changed = changed
        self._hashes = TwoHashes()
        self._epoch = 0
        self._taken = 0  # where the unit in flight ends
        self._to_note: dict[int, int] = {}  # numbers of whole pieces that the journal lacks, each with its stamp
        self._stamp = 0
        self._size_bytes: int | None = None
        self.running = False
        self.fault: StoreStopped | None = None

    def unmark(self, start: int, end: int) -> None:
        """These bytes are about to change, or do not count any more."""
        if self._coverage.present.within(start, end):
            self._coverage.remove(start, end)
            for number in range(start // PIECE_SIZE_BYTES, -(-end // PIECE_SIZE_BYTES)):
                self._to_note.pop(number, None)
            if start < max(self._taken, self._hashes.size_bytes):
                self._hashes = TwoHashes()
                self._taken = 0
                self._epoch += 1

    def written(self, start: int, end: int, size_bytes: int | None) -> None:
        """These bytes are there now. size_bytes: of the whole file, where it is known."""
        self._size_bytes = size_bytes
        for number in range(start // PIECE_SIZE_BYTES, -(-end // PIECE_SIZE_BYTES)):
            if self._coverage.present.covers(*self._piece(number)):
                self._stamp += 1
                self._to_note[number] = self._stamp
        self.wake(size_bytes)

    def wake(self, size_bytes: int | None) -> None:
        """Goes on where there is something to hash."""
        self._size_bytes = size_bytes
        if not self.running and self.fault is None and self._next() is not None:
            self.running = True
            self._around.start_task(self._run)

    def result(self) -> TwoHashes | None:
        """Both hashes of the whole, when they are known. Raises StoreStopped where it cannot be read or noted."""
        if self.fault is not None:
            raise self.fault
        done = self._size_bytes is not None and not self.running and self._hashes.size_bytes == self._size_bytes
        return self._hashes if done else None

    def _next(self) -> tuple[int, int] | None:
        start = self._hashes.size_bytes
        end = min(self._coverage.present.end_from(start), start + UNIT_SIZE_BYTES_MAX)
        if end != self._size_bytes:
            end -= end % PIECE_SIZE_BYTES
        if end > start:
            return start, end
        for number in self._to_note:
            return self._piece(number)
        return None

    def _piece(self, number: int) -> tuple[int, int]:
        start = number * PIECE_SIZE_BYTES
        end = start + PIECE_SIZE_BYTES
        return start, end if self._size_bytes is None else min(end, self._size_bytes)

    async def _run(self) -> None:
        try:
            while (unit := self._next()) is not None:
                await self._hash(*unit)
                self._changed()
        except OSError as error:
            self.fault = self._around.failed(error)
        finally:
            self.running = False
            self._changed()

    async def _hash(self, start: int, end: int) -> None:
        epoch, hashes = self._epoch, self._hashes
        follows = hashes if start == hashes.size_bytes else None
        if follows is not None:
            self._taken = end
        numbers = [n for n in range(start // PIECE_SIZE_BYTES, -(-end // PIECE_SIZE_BYTES)) if n in self._to_note]
        stamps = [self._to_note[number] for number in numbers]
        offsets = [number * PIECE_SIZE_BYTES - start for number in numbers]
        content = await self._file.pread(end - start, start)
        if len(content) == end - start:
            digests = await self._around.threads.run(_digests, content, offsets, follows)
        if epoch != self._epoch:
            return
        if len(content) != end - start:
            raise OSError(errno.EIO, "the file is shorter than what was written to it")
        pieces = []
        for number, stamp, digest in zip(numbers, stamps, digests, strict=True):
            # A piece that lost or changed its bytes meanwhile has no stamp or a newer one.
            if self._to_note.get(number) == stamp:
                del self._to_note[number]
                left = number * PIECE_SIZE_BYTES
                right = min(left + PIECE_SIZE_BYTES, end)
                pieces.append(Piece(left, right, digest, not self._coverage.firm.covers(left, right)))
        try:
            await self._journal.note(pieces, self._around.clock.now())
        except OSError as error:
            # Without room for its record a piece is fetched again after a restart, and that is all.
            if not is_full(error):
                raise


def _digests(content: bytes, offsets: list[int], follows: TwoHashes | None) -> list[bytes]:
    if follows is not None:
        follows.update(content)
    view = memoryview(content)
    return [blake3(view[offset : offset + PIECE_SIZE_BYTES]).digest() for offset in offsets]
