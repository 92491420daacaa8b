"""The file system under the store's blobs, by plain system calls on descriptors."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

import trio

P = ParamSpec("P")
T = TypeVar("T")

# An fsync sleeps in the kernel, for as long as the disk likes; more at once only queue up there.
FSYNC_THREADS_MAX = 8

# What the loop does itself. Measured (median, ext4, 2 cores; write and read): 64 KiB 12 and 5 us, 1 MiB 142 and 62 us;
# through a thread 117 and 111 us, 241 and 158 us. At 4 MiB a write held the loop for 9 ms, in a thread for nothing.
INLINE_SIZE_BYTES_MAX = 1024 * 1024

_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC


class RealFile:
    """An open file; see `p2pcdn.world.DiskFile`. After `close` every call raises OSError (EBADF)."""

    def __init__(self, descriptor: int, run: _Run) -> None:
        self._descriptor = descriptor
        self._run = run
        self._calls = 0
        self._closed = False

    def fileno(self) -> int:
        """The descriptor for sendfile; -1 once closed, so that a late reader cannot meet a reused number."""
        return -1 if self._closed else self._descriptor

    async def pread(self, size_bytes: int, offset: int) -> bytes:
        """Up to size_bytes bytes; fewer at the end of the file only."""
        if size_bytes <= INLINE_SIZE_BYTES_MAX:
            return _pread(self.fileno(), size_bytes, offset)
        return await self._in_thread(_pread, size_bytes, offset)

    async def pread_into(self, space: memoryview, offset: int) -> int:
        """Fills space; returns how many bytes came, fewer at the end of the file only."""
        if space.nbytes <= INLINE_SIZE_BYTES_MAX:
            return _pread_into(self.fileno(), space, offset)
        return await self._in_thread(_pread_into, space, offset)

    async def pwrite(self, content: bytes | bytearray | memoryview, offset: int) -> None:
        """Writes all of content."""
        octets = memoryview(content).cast("B")
        if octets.nbytes <= INLINE_SIZE_BYTES_MAX:
            _pwrite(self.fileno(), octets, offset)
        else:
            await self._in_thread(_pwrite, octets, offset)

    async def fsync(self) -> None:
        await self._in_thread(os.fsync)

    async def truncate(self, size_bytes: int) -> None:
        os.ftruncate(self.fileno(), size_bytes)

    def size_bytes(self) -> int:
        return os.fstat(self.fileno()).st_size

    def close(self) -> None:
        """Closes it; the second time nothing happens. A call that runs in a thread keeps the descriptor to its end."""
        if not self._closed:
            self._closed = True
            self._release()

    async def _in_thread(self, call: Callable[..., T], *arguments: object) -> T:
        descriptor = self.fileno()
        self._calls += 1
        try:
            return await self._run(call, descriptor, *arguments)
        finally:
            self._calls -= 1
            self._release()

    def _release(self) -> None:
        if self._closed and self._calls == 0 and self._descriptor != -1:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


class RealDisk:
    """The `p2pcdn.world.Disk` of the real world. No file is opened through a link at the last component of its path."""

    def __init__(self) -> None:
        self._run = _Run(trio.CapacityLimiter(FSYNC_THREADS_MAX))

    async def open(self, path: Path) -> RealFile:
        """For reading."""
        return RealFile(os.open(path, os.O_RDONLY | _FLAGS), self._run)

    async def create(self, path: Path) -> RealFile:
        """For reading and writing; mode 0600. Raises FileExistsError."""
        return RealFile(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600), self._run)

    async def reopen(self, path: Path) -> RealFile:
        """For reading and writing a file that is there."""
        return RealFile(os.open(path, os.O_RDWR | _FLAGS), self._run)

    async def make_directory(self, path: Path) -> None:
        """Mode 0700; nothing happens where it exists."""
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)  # noqa: PTH102

    async def rename(self, old: Path, new: Path) -> None:
        os.rename(old, new)  # noqa: PTH104

    async def unlink(self, path: Path) -> None:
        """In a thread: a large file's blocks are given back while it waits."""
        await self._run(os.unlink, path)

    async def sync_directory(self, path: Path) -> None:
        await self._run(_sync_directory, path)

    async def sync_file_system(self, path: Path) -> None:
        await self._run(_sync_file_system, path)

    async def list(self, path: Path) -> Sequence[str]:
        return await self._run(os.listdir, path)

    async def free_bytes(self, path: Path) -> int:
        """What a user without privileges may still write."""
        state = os.statvfs(path)
        return state.f_bavail * state.f_frsize


class _Run:
    def __init__(self, limiter: trio.CapacityLimiter) -> None:
        self._limiter = limiter

    async def __call__(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        assert not kwargs
        return await trio.to_thread.run_sync(call, *args, abandon_on_cancel=False, limiter=self._limiter)


def _pread(descriptor: int, size_bytes: int, offset: int) -> bytes:
    # One call may give less than was asked for (2 GiB limit, signals); only an empty answer means the end.
    content = os.pread(descriptor, size_bytes, offset)
    if len(content) == size_bytes or not content:
        return content
    parts = [content]
    missing = size_bytes - len(content)
    while missing and (content := os.pread(descriptor, missing, offset + size_bytes - missing)):
        parts.append(content)
        missing -= len(content)
    return b"".join(parts)


def _pread_into(descriptor: int, space: memoryview, offset: int) -> int:
    came = 0
    while came < space.nbytes and (more := os.preadv(descriptor, [space[came:]], offset + came)):
        came += more
    return came


def _pwrite(descriptor: int, octets: memoryview, offset: int) -> None:
    while octets:
        written = os.pwrite(descriptor, octets, offset)
        octets = octets[written:]
        offset += written


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_file_system(path: Path) -> None:
    # syncfs(2); Python has only sync(2), for all file systems and without a word about errors.
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        os.sync()
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(descriptor)
