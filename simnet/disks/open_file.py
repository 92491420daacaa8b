"""An open file of a simulated disk; each call of it is one of the disk's."""

from __future__ import annotations

import errno
from typing import Protocol

from simnet.disks.disk_faults import FileCall, PowerCut, disk_error
from simnet.disks.inode import Inode, Octets


class Medium(Protocol):
    """The disk below. generation: another one once the power was cut, or the process killed."""

    generation: int

    async def enter(self, call: str, path: str) -> str: ...

    def write(self, inode: Inode, content: memoryview, offset: int, path: str) -> None: ...

    def truncate(self, inode: Inode, size_bytes: int) -> None: ...

    def closed(self, inode: Inode) -> None: ...


class SimFile:
    """An open file of a simulated disk; see `p2pcdn.world.DiskFile`."""

    def __init__(self, disk: Medium, inode: Inode, path: str, *, writable: bool) -> None:
        self._disk = disk
        self._inode = inode
        self._path = path
        self._writable = writable
        self._generation = disk.generation
        self._closed = False
        inode.handles += 1

    def fileno(self) -> int:
        return -1

    async def pread(self, size_bytes: int, offset: int) -> bytes:
        await self._enter("pread")
        return self._inode.seen.read(size_bytes, offset)

    async def pread_into(self, space: memoryview, offset: int) -> int:
        content = await self.pread(space.nbytes, offset)
        space[: len(content)] = content
        return len(content)

    async def pwrite(self, content: Octets, offset: int) -> None:
        await self._enter("pwrite", writes=True)
        self._disk.write(self._inode, memoryview(content).cast("B"), offset, self._path)

    async def fsync(self) -> None:
        try:
            await self._enter("fsync")
        except PowerCut:
            raise
        except OSError:
            self._inode.sync_failed()
            raise
        self._inode.sync()

    async def truncate(self, size_bytes: int) -> None:
        await self._enter("truncate", writes=True)
        self._disk.truncate(self._inode, size_bytes)

    def size_bytes(self) -> int:
        self._refuse_if_dead()
        return self._inode.seen.size_bytes

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            if self._generation == self._disk.generation:
                self._disk.closed(self._inode)

    async def _enter(self, call: FileCall, *, writes: bool = False) -> None:
        self._refuse_if_dead()
        if writes and not self._writable:
            raise disk_error(errno.EBADF, self._path)
        await self._disk.enter(call, self._path)

    def _refuse_if_dead(self) -> None:
        if self._generation != self._disk.generation:
            raise PowerCut
        if self._closed:
            raise disk_error(errno.EBADF, self._path)
