"""The real disk: the contract, and what only a real file system can show."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
import trio
import trio.testing

from p2pcdn_daemon.doors.disk import INLINE_SIZE_BYTES_MAX, RealDisk
from tests.contract.disk import check_disk


async def test_the_real_disk_keeps_the_contract(tmp_path: Path) -> None:
    await check_disk(RealDisk(), tmp_path)


async def test_files_and_directories_are_ours_alone_whatever_the_umask_allows(tmp_path: Path) -> None:
    disk = RealDisk()
    old = os.umask(0)
    try:
        (await disk.create(tmp_path / "file")).close()
        await disk.make_directory(tmp_path / "directory")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "directory").stat().st_mode) == 0o700


async def test_a_link_is_not_followed(tmp_path: Path) -> None:
    disk = RealDisk()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for call, name, number in (
        (disk.open, "link", errno.ELOOP),
        (disk.reopen, "link", errno.ELOOP),
        (disk.create, "link", errno.EEXIST),
        (disk.create, "dangling", errno.EEXIST),
    ):
        with pytest.raises(OSError) as caught:
            await call(tmp_path / name)
        assert caught.value.errno == number
    assert (tmp_path / "secret").read_text() == "secret"
    assert not (tmp_path / "nowhere").exists()


async def test_a_descriptor_dies_on_exec_and_a_closed_file_names_none(tmp_path: Path) -> None:
    file = await RealDisk().create(tmp_path / "file")
    assert not os.get_inheritable(file.fileno())
    file.close()
    assert file.fileno() == -1


async def test_a_file_closed_while_a_thread_writes_is_written_whole(tmp_path: Path) -> None:
    file = await RealDisk().create(tmp_path / "file")
    size_bytes = 8 * INLINE_SIZE_BYTES_MAX
    async with trio.open_nursery() as nursery:
        nursery.start_soon(file.pwrite, b"x" * size_bytes, 0)
        await trio.testing.wait_all_tasks_blocked()  # the writer waits for its thread
        file.close()
    assert (tmp_path / "file").stat().st_size == size_bytes
    assert file.fileno() == -1
