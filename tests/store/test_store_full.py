"""Disks without room: downloads are refused in time, nothing is half-kept, and room that returns is used."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pcdn.digest import Sha256
from p2pcdn.errors import StoreStopped
from p2pcdn.store import Store
from p2pcdn_daemon.doors.disk import RealDisk
from tests.bench.volumes import small_file_system
from tests.store.stores import MIB, WHEEL, content_of, keep, opened


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with small_file_system(tmp_path / "disk", "size=12m,mode=700") as disk:
        yield disk


async def test_a_full_disk_refuses_new_files_and_recovers_when_there_is_room(small_disk: Path) -> None:
    async with opened(small_disk / "store", reserve_bytes=MIB) as store:
        kept = await keep(store, content_of(1, 2 * MIB))
        await store.pin(kept.sha256, True)
        other = small_disk / "others"
        other.write_bytes(bytes(7 * MIB))
        with pytest.raises(StoreStopped, match=rf"disk of {small_disk}/store has no .* lacks \d\.\d MB\."):
            await keep(store, content_of(2, 4 * MIB))
        assert store.summary().health != "ok"
        assert await kept.read() == content_of(1, 2 * MIB)
        await store.change(values={("pages", "small things"): b"still go"})
        other.unlink()
        await keep(store, content_of(2, 4 * MIB))
        assert store.summary().health == "ok"


async def test_a_disk_that_fills_while_a_file_arrives_makes_room_by_eviction(small_disk: Path) -> None:
    async with opened(small_disk / "store") as store:
        old = await keep(store, content_of(1, 4 * MIB))
        content = content_of(2, 7 * MIB)
        partial = await store.grow(Sha256.of(content), None, WHEEL)
        for offset in range(0, len(content), MIB):
            await partial.write(offset, content[offset : offset + MIB])
            if offset == 3 * MIB:
                (small_disk / "others").write_bytes(bytes(2 * MIB))
        await partial.finish()
        assert store.blob(old.sha256) is None
        assert store.blob(Sha256.of(content)) is not None
        assert store.summary().health == "ok"


async def test_a_disk_that_is_full_for_good_keeps_nothing_half(small_disk: Path) -> None:
    content = content_of(2, 10 * MIB)
    async with opened(small_disk / "store") as store:
        partial = await store.grow(Sha256.of(content), None, WHEEL)
        await partial.write(0, content[: 2 * MIB])
        others = small_disk / "others"
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            others.write_bytes(bytes(11 * MIB))
        with pytest.raises(StoreStopped):
            await partial.write(2 * MIB, content[2 * MIB :])
        assert "full" in store.summary().health
        partial.fail(StoreStopped("full"))
        with pytest.raises(StoreStopped):
            await change_often(store)
        values = dict(store.values("pages"))
        assert set(values.values()) <= {bytes(5000)}
        others.unlink()
        again = await store.grow(Sha256.of(content[: 3 * MIB]), 3 * MIB, WHEEL)
        await again.write(0, content[: 3 * MIB])
        await again.finish()
        assert store.summary().health == "ok"
        await store.change(values={("pages", "x"): b"y"})


async def change_often(store: Store) -> None:
    for number in range(2000):
        await store.change(values={("pages", str(number)): bytes(5000)})


class ShrinkingDisk(RealDisk):
    """Says that little is free."""

    free = 100 * MIB

    async def free_bytes(self, path: Path) -> int:
        return self.free


async def test_the_reserve_is_left_to_others_and_running_files_are_counted(directory: Path) -> None:
    disk = ShrinkingDisk()
    async with opened(directory, disk=disk, reserve_bytes=64 * MIB) as store:
        first = await store.grow(Sha256.of(b"1"), 30 * MIB, WHEEL)
        with pytest.raises(StoreStopped):
            await store.grow(Sha256.of(b"2"), 10 * MIB, WHEEL)
        await store.grow(Sha256.of(b"3"), 5 * MIB, WHEEL)
        assert await store.grow(Sha256.of(b"1"), 30 * MIB, WHEEL) is first
        disk.free = 200 * MIB
        await store.grow(Sha256.of(b"2"), 10 * MIB, WHEEL)
        assert store.summary().health == "ok"


async def test_a_node_can_start_on_a_disk_that_is_full(small_disk: Path) -> None:
    content = content_of(1, 2 * MIB)
    async with opened(small_disk / "store") as store:
        await keep(store, content)
    fill(small_disk / "others")
    async with opened(small_disk / "store") as store:
        blob = store.blob(Sha256.of(content))
        assert blob is not None
        assert await blob.read() == content
        with pytest.raises(StoreStopped):
            await keep(store, content_of(2, 2 * MIB))


def fill(path: Path) -> None:
    """To the last byte."""
    size_bytes = MIB
    with path.open("wb", buffering=0) as file:
        while size_bytes:
            try:
                file.write(bytes(size_bytes))
            except OSError:
                size_bytes //= 2
