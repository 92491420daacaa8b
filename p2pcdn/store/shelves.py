"""The files of blobs: opened and counted, put into place under their name, taken away."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from p2pcdn.digest import BlobName, Sha256
from p2pcdn.errors import NotFound, Unavailable
from p2pcdn.store.layout import Layout
from p2pcdn.store.rows import BlobRow
from p2pcdn.world import Disk, DiskFile

Came = TypeVar("Came")


class Shelves:
    """Used on trio's thread. No name is put into place and taken away at the same time."""

    def __init__(self, layout: Layout, disk: Disk) -> None:
        self.layout = layout
        self.disk = disk
        self.lost: Callable[[BlobRow], Awaitable[None]] = _nobody  # told of a row whose file is gone, short or bad
        self.open_now: Counter[Sha256] = Counter()
        self._known: set[str] = set()
        self._being_named: Counter[BlobName] = Counter()
        self._being_removed: dict[BlobName, trio.Event] = {}

    async def open_blob(self, row: BlobRow) -> DiskFile:
        """Counted as open until it is closed. Raises NotFound (it is gone), Unavailable (it cannot be opened)."""
        self.open_now[row.sha256] += 1
        try:
            file = await self._open_whole(row)
        except BaseException:
            self._closed(row.sha256)
            raise
        return _CountedFile(file, partial(self._unreadable, row), lambda: self._closed(row.sha256))

    async def _open_whole(self, row: BlobRow) -> DiskFile:
        try:
            file = await self.disk.open(self.layout.blob(row.name))
            if file.size_bytes() == row.size_bytes:
                return file
            file.close()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ELOOP, errno.EIO):
                # It is here: nobody is told otherwise, who would not ask again.
                raise Unavailable(f"{_named(row)} cannot be opened in the store: {error.strerror}.") from error
        await self.lost(row)
        raise NotFound(f"{_named(row)} is gone from the store; it must be fetched again.")

    async def _unreadable(self, row: BlobRow, error: OSError) -> NotFound:
        """A part of an open file cannot be read. The disk would not give it to the next one who asks either."""
        await self.lost(row)
        return NotFound(f"{_named(row)} cannot be read in the store ({error.strerror}); it must be fetched again.")

    def _closed(self, sha256: Sha256) -> None:
        self.open_now[sha256] -= 1
        if self.open_now[sha256] <= 0:
            del self.open_now[sha256]

    @contextmanager
    def naming(self, name: BlobName) -> Iterator[None]:
        """While a blob gets this name and its row: nobody removes the file."""
        self._being_named[name] += 1
        try:
            yield
        finally:
            self._being_named[name] -= 1
            if self._being_named[name] <= 0:
                del self._being_named[name]

    def is_moving(self, name: BlobName) -> bool:
        """Whether it is being put into place or taken away now."""
        return name in self._being_named or name in self._being_removed

    async def put(self, path: Path, name: BlobName) -> None:
        """Gives a synced file its name, durably. Call it inside `naming`. Raises OSError."""
        while (removal := self._being_removed.get(name)) is not None:
            await removal.wait()
        shelf = self.layout.shelf(name)
        if shelf.name not in self._known:
            await self.disk.make_directory(shelf)
            await self.disk.sync_directory(self.layout.blobs)
            self._known.add(shelf.name)
        await self.disk.rename(path, self.layout.blob(name))
        await self.disk.sync_directory(shelf)

    async def remove(self, names: Iterable[BlobName]) -> list[BlobName]:
        """Takes files away whose rows are gone; gives the names that are gone now."""
        gone = []
        for name in names:
            if self.is_moving(name):
                continue
            self._being_removed[name] = trio.Event()
            try:
                await self.disk.unlink(self.layout.blob(name))
                gone.append(name)
            except FileNotFoundError:
                gone.append(name)
            except OSError:
                continue  # its note in the catalog stays: the next start tries again
            finally:
                self._being_removed.pop(name).set()
        return gone


class _CountedFile:
    """unreadable: told of an error, makes it one for who reads."""

    def __init__(
        self, file: DiskFile, unreadable: Callable[[OSError], Awaitable[NotFound]], closed: Callable[[], None]
    ) -> None:
        self._file = file
        self._unreadable = unreadable
        self._closed: Callable[[], None] | None = closed
        self.fileno = file.fileno
        self.size_bytes = file.size_bytes

    async def pread(self, size_bytes: int, offset: int) -> bytes:
        """Raises NotFound where the disk cannot read it; its row is then gone."""
        return await self._read(self._file.pread(size_bytes, offset))

    async def pread_into(self, space: memoryview, offset: int) -> int:
        """Raises NotFound, as `pread`."""
        return await self._read(self._file.pread_into(space, offset))

    async def _read(self, reading: Awaitable[Came]) -> Came:
        try:
            return await reading
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            raise await self._unreadable(error) from error

    async def pwrite(self, content: bytes | bytearray | memoryview, offset: int) -> None:
        raise OSError(errno.EBADF, "a blob is never written")

    async def fsync(self) -> None:
        raise OSError(errno.EBADF, "a blob is never written")

    async def truncate(self, size_bytes: int) -> None:
        raise OSError(errno.EBADF, "a blob is never written")

    def close(self) -> None:
        if self._closed is not None:
            closed, self._closed = self._closed, None
            self._file.close()
            closed()


def _named(row: BlobRow) -> str:
    return row.origin.filename or row.sha256


async def _nobody(row: BlobRow) -> None:
    """Before the store is open nobody loses anything."""
