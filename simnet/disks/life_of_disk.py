"""A machine's disk as one life of its node sees it: once that life is over, every call fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from p2pcdn.world import DiskFile
from simnet.disks.disk import SimDisk
from simnet.disks.disk_faults import PowerCut


class LifeOfDisk:
    """The door Disk. lives: whether the life goes on; the files that it opened know that by themselves."""

    def __init__(self, disk: SimDisk, lives: Callable[[], bool]) -> None:
        self._disk = disk
        self._lives = lives

    def _living(self) -> SimDisk:
        if not self._lives():
            raise PowerCut
        return self._disk

    async def open(self, path: Path) -> DiskFile:
        return await self._living().open(path)

    async def create(self, path: Path) -> DiskFile:
        return await self._living().create(path)

    async def reopen(self, path: Path) -> DiskFile:
        return await self._living().reopen(path)

    async def make_directory(self, path: Path) -> None:
        await self._living().make_directory(path)

    async def rename(self, old: Path, new: Path) -> None:
        await self._living().rename(old, new)

    async def unlink(self, path: Path) -> None:
        await self._living().unlink(path)

    async def sync_directory(self, path: Path) -> None:
        await self._living().sync_directory(path)

    async def sync_file_system(self, path: Path) -> None:
        await self._living().sync_file_system(path)

    async def list(self, path: Path) -> Sequence[str]:
        return await self._living().list(path)

    async def free_bytes(self, path: Path) -> int:
        return await self._living().free_bytes(path)
