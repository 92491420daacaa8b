"""What every `p2pcdn.world.Disk` keeps: run by the real disk and by the simulated one."""

from __future__ import annotations

import errno
from collections.abc import Awaitable
from pathlib import Path

import pytest

from p2pcdn.world import Disk


async def check_disk(disk: Disk, directory: Path) -> None:
    """Raises AssertionError where the disk breaks the contract. `directory` exists on that disk, and is empty."""
    await _check_files(disk, directory)
    await _check_refusals(disk, directory)
    await _check_names(disk, directory)


async def _check_files(disk: Disk, directory: Path) -> None:
    file = await disk.create(directory / "a")
    await file.pwrite(b"world", 6)
    await file.pwrite(memoryview(bytearray(b"hello ")), 0)
    assert file.size_bytes() == 11
    assert await file.pread(100, 0) == b"hello world", "a read at the end is short"
    assert await file.pread(5, 6) == b"world"
    assert await file.pread(5, 11) == b"", "nothing is beyond the end"
    space = memoryview(bytearray(8))
    assert await file.pread_into(space[:5], 6) == 5
    assert bytes(space[:5]) == b"world"
    assert await file.pread_into(space, 6) == 5, "a read at the end is short"
    assert await file.pread_into(space, 11) == 0, "nothing is beyond the end"
    await file.pwrite(b"!", 20)
    assert await file.pread(9, 11) == bytes(9), "a hole reads as zeros"
    await file.fsync()
    await file.truncate(5)
    assert await file.pread(100, 0) == b"hello"
    file.close()
    file.close()

    reader = await disk.open(directory / "a")
    assert await reader.pread(100, 0) == b"hello"
    await _raises(reader.pwrite(b"x", 0), errno.EBADF)
    writer = await disk.reopen(directory / "a")
    await writer.pwrite(b"J", 0)
    assert await reader.pread(100, 0) == b"Jello", "a reader sees what a writer wrote"
    await disk.unlink(directory / "a")
    assert await reader.pread(100, 0) == b"Jello", "an open file outlives its name"
    for file in (reader, writer):
        file.close()
        await _raises(file.pread(1, 0), errno.EBADF)
        await _raises(file.pread_into(space, 0), errno.EBADF)

    big = bytes(range(256)) * (3 * 4096)
    file = await disk.create(directory / "big")
    await file.pwrite(big, 1)
    assert await file.pread(len(big), 1) == big
    space = memoryview(bytearray(len(big)))
    assert await file.pread_into(space, 1) == len(big)
    assert space == big
    file.close()
    await disk.unlink(directory / "big")


async def _check_refusals(disk: Disk, directory: Path) -> None:
    (await disk.create(directory / "there")).close()
    await _raises(disk.create(directory / "there"), errno.EEXIST)
    for call in (disk.open, disk.reopen, disk.unlink):
        await _raises(call(directory / "missing"), errno.ENOENT)
    await _raises(disk.create(directory / "no" / "parent"), errno.ENOENT)
    await _raises(disk.rename(directory / "missing", directory / "x"), errno.ENOENT)
    await _raises(disk.list(directory / "missing"), errno.ENOENT)
    await _raises(disk.sync_directory(directory / "missing"), errno.ENOENT)
    await disk.unlink(directory / "there")


async def _check_names(disk: Disk, directory: Path) -> None:
    await disk.make_directory(directory / "sub")
    await disk.make_directory(directory / "sub")
    for name, content in (("old", b"old"), ("new", b"new")):
        file = await disk.create(directory / name)
        await file.pwrite(content, 0)
        file.close()
    await disk.rename(directory / "new", directory / "old")
    await disk.rename(directory / "old", directory / "sub" / "moved")
    await disk.sync_directory(directory)
    await disk.sync_directory(directory / "sub")
    await disk.sync_file_system(directory)
    assert list(await disk.list(directory)) == ["sub"]
    assert list(await disk.list(directory / "sub")) == ["moved"]
    file = await disk.open(directory / "sub" / "moved")
    assert await file.pread(10, 0) == b"new", "a rename replaces"
    file.close()
    assert await disk.free_bytes(directory) > 0
    await disk.unlink(directory / "sub" / "moved")


async def _raises(call: Awaitable[object], number: int) -> None:
    with pytest.raises(OSError) as caught:
        await call
    assert caught.value.errno == number
