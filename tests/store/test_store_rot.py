"""Rot: flipped bits in blobs and in the catalog are found; nothing wrong is ever given."""

# a test may wait for the disk

from __future__ import annotations

import errno
import logging
import os
import random
from pathlib import Path

import pytest

from p2pcdn.digest import BlobName, Sha256
from p2pcdn.errors import NotFound, StoreStopped, StoreUnreadable, StoreUnusable
from p2pcdn.store import Store
from p2pcdn.store.layout import Layout
from simnet.disks.disk import SimDisk
from simnet.disks.disk_faults import fail_once
from tests.store.stores import MIB, WHEEL, HandClock, content_of, keep, open_store, opened

CONTENT = content_of(9, MIB)


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


async def test_verify_finds_every_rotten_blob_and_drops_it(directory: Path) -> None:
    dice = random.Random(24)
    async with opened(directory) as store:
        for seed in range(40):
            await keep(store, content_of(seed, 30_000 + seed))
        await store.keep_small(b"small", WHEEL, expected=None)
        rows = {row.sha256: row for row in store.rows() if not row.inline}
        rotten = set(dice.sample(sorted(rows), 25))
        for sha256 in rotten:
            row = rows[sha256]
            flip(directory / "blobs" / row.name[:2] / row.name, dice.randrange(row.size_bytes * 8))
        progress: list[tuple[int, int]] = []
        report = await store.verify(lambda checked, of: progress.append((checked, of)))
        assert {row.sha256 for row in report.rotten} == rotten
        assert report.checked == 41
        assert progress[-1] == (41, 41)
        assert all(store.blob(sha256) is None for sha256 in rotten)
        assert store.summary().blobs == 16
        assert len([path for path in (directory / "blobs").rglob("*") if path.is_file()]) == 15
        assert not (await store.verify(lambda checked, of: None)).rotten


async def test_a_blob_without_a_row_is_taken_in_and_a_wrong_file_removed(directory: Path) -> None:
    async with opened(directory) as store:
        blob = await keep(store, content_of(1, MIB))
        path = directory / "blobs" / blob.name[:2] / blob.name
        orphan = path.read_bytes()
        await store.drop(blob.sha256)
        path.write_bytes(orphan)
        stranger = path.with_name(path.name[:-2] + "00")
        stranger.write_bytes(b"not what its name says")
        report = await store.verify(lambda checked, of: None)
        assert (report.adopted, report.removed) == (1, 1)
        assert not stranger.exists()
        [row] = store.rows()
        assert row.sha256 == blob.sha256
        assert row.origin.share == "never"


async def fill(store: Store) -> tuple[dict[Sha256, bytes], dict[str, bytes]]:
    blobs = {Sha256.of(content): content for content in (content_of(seed, 5_000) for seed in range(30))}
    for content in blobs.values():
        await keep(store, content)
    small = [content_of(seed, 3_000) for seed in range(100, 130)]
    for content in small:
        await store.keep_small(content, WHEEL, expected=Sha256.of(content))
        blobs[Sha256.of(content)] = content
    values = {f"page {number}": content_of(number, 2_000) for number in range(200)}
    await store.change(values={("pages", key): content for key, content in values.items()})
    return blobs, values


@pytest.mark.parametrize("seed", range(30))
async def test_a_flipped_bit_in_the_catalog_gives_no_wrong_value(directory: Path, seed: int) -> None:
    dice = random.Random(seed)
    async with opened(directory) as store:
        blobs, values = await fill(store)
    data = directory / "catalog" / "data.mdb"
    for _ in range(4):
        flip(data, dice.randrange(data.stat().st_size * 8))
    for _ in range(2):  # the second life may follow a rebuild
        try:
            store = await open_store(directory)
        except StoreUnusable:
            pytest.fail("a damaged catalog must be rebuilt")
        for key, content in values.items():
            assert store.value("pages", key) in (None, content)
        for sha256, content in blobs.items():
            blob = store.blob(sha256)
            try:
                assert blob is None or await blob.read() == content
            except NotFound:
                continue
        for row in store.rows():
            assert row.sha256 in blobs
        for key, content in store.values("pages"):
            assert values[key] == content
        store.summary()
        await store.close()


async def test_a_rotten_catalog_is_rebuilt_from_the_blobs_and_the_log_says_so(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "p2pcdn.store")
    async with opened(directory) as store:
        blobs, _ = await fill(store)
        files = {row.sha256 for row in store.rows() if not row.inline}
    (directory / "catalog" / "data.mdb").write_bytes(b"\xff" * 100_000)
    async with opened(directory) as store:
        assert "rebuilt from the blobs" in caplog.text
        assert {row.sha256 for row in store.rows()} == files
        assert {row.origin.share for row in store.rows()} == {"never"}
        blob = store.blob(next(iter(files)))
        assert blob is not None
        assert await blob.read() == blobs[blob.sha256]
    caplog.clear()
    async with opened(directory) as store:
        assert store.summary().blobs == len(files)
    assert not caplog.text


async def test_a_broken_tree_is_found_after_a_life_that_ended_by_a_kill(directory: Path) -> None:
    store = await open_store(directory)
    blobs, _ = await fill(store)
    store.abandon()
    data = directory / "catalog" / "data.mdb"
    content = bytearray(data.read_bytes())
    for page in range(2 * 4096, len(content), 4096):
        content[page] ^= 0xFF  # every page but the two meta pages says that it is another
    data.write_bytes(content)
    async with opened(directory) as store:
        files = {row.sha256 for row in store.rows()}
        assert files <= set(blobs)
        assert store.summary().blobs == len(files) >= 30
    assert (directory / "catalog.rotten").exists()


async def test_who_still_reads_a_bad_sector_does_not_drop_what_was_fetched_anew(directory: Path) -> None:
    clock = HandClock()
    async with opened(directory, clock=clock) as store:
        blob = await keep(store, CONTENT)
        first, second = await blob.open(), await blob.open()
        unreadable = os.open("/proc/self/mem", os.O_RDONLY)  # whose first page is mapped nowhere: EIO
        for file in (first, second):
            os.dup2(unreadable, file.fileno())
        with pytest.raises(NotFound, match="cannot be read"):
            await first.pread(100, 0)
        assert store.blob(blob.sha256) is None, "who asks again has it"
        clock.time += 1
        await keep(store, CONTENT)
        with pytest.raises(NotFound, match="cannot be read"):
            await second.pread_into(memoryview(bytearray(100)), 0)
        anew = store.blob(blob.sha256)
        assert anew is not None
        assert await anew.read() == CONTENT
        for number in (unreadable, first.fileno(), second.fileno()):
            os.close(number)


@pytest.mark.parametrize("call", ["open", "pread"])
async def test_what_is_left_of_a_download_and_cannot_be_read_keeps_no_store_shut(directory: Path, call: str) -> None:
    layout = Layout(directory)
    disk = SimDisk(random.Random(3), rooms=[layout.blobs, layout.partials], paced=False)
    store = await open_store(directory, disk=disk)
    whole = await keep(store, content_of(1, MIB))
    for content in (CONTENT, content_of(10, MIB)):
        partial = await store.grow(Sha256.of(content), MIB, WHEEL)
        await partial.write(0, content[: MIB // 2])
        await partial.settle()
    store.abandon()
    disk.faults.script = fail_once(call, 1)  # type: ignore[arg-type]
    async with opened(directory, disk=disk) as store:
        assert store.holds(whole.sha256)
        assert store.summary().partials == 1, "the other can be read"
        for content in (CONTENT, content_of(10, MIB)):
            assert await (await keep(store, content)).read() == content


@pytest.mark.parametrize("call", ["open", "syncdir"])
async def test_a_whole_file_that_has_no_row_yet_is_adopted_by_the_start_that_can_read_it(
    directory: Path, call: str
) -> None:
    layout = Layout(directory)
    disk = SimDisk(random.Random(3), rooms=[layout.blobs, layout.partials], paced=False)
    store = await open_store(directory, disk=disk)
    partial = await store.grow(Sha256.of(CONTENT), MIB, WHEEL)
    await partial.write(0, CONTENT)
    shelf = layout.shelf(BlobName.of(CONTENT))
    disk.faults.script = fail_once("syncdir", 1, within=str(shelf))
    with pytest.raises(StoreStopped):
        await partial.finish()
    store.abandon()
    disk.faults.script = fail_once(call, 1, within=str(shelf))  # type: ignore[arg-type]
    await (await open_store(directory, disk=disk)).close()
    async with opened(directory, disk=disk) as store:
        assert store.holds(Sha256.of(CONTENT))
        assert store.summary().blobs == 1


async def test_a_store_whose_rooms_cannot_be_read_now_is_as_it_was_at_the_next_start(directory: Path) -> None:
    layout = Layout(directory)
    disk = SimDisk(random.Random(3), rooms=[layout.blobs, layout.partials], paced=False)
    store = await open_store(directory, disk=disk)
    partial = await store.grow(Sha256.of(CONTENT), MIB, WHEEL)
    await partial.write(0, CONTENT[: MIB // 2])
    await partial.settle()
    store.abandon()
    disk.faults.script = fail_once("list", 1)
    with pytest.raises(StoreUnreadable, match=r"What it keeps is as it was; start the node again"):
        await open_store(directory, disk=disk)
    async with opened(directory, disk=disk) as store:
        assert store.summary().partials == 1


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
async def test_what_no_later_start_finds_otherwise_is_not_called_a_failing_disk(directory: Path, code: int) -> None:
    layout = Layout(directory)
    disk = SimDisk(random.Random(3), rooms=[layout.blobs, layout.partials], paced=False)
    disk.faults.script = fail_once("list", 1, code)
    with pytest.raises(StoreUnusable) as told:
        await open_store(directory, disk=disk)
    assert not isinstance(told.value, StoreUnreadable)
    assert str(told.value) == f"The store {directory} cannot be opened: {os.strerror(code)}."


async def test_a_rebuild_keeps_the_rows_that_are_whole(directory: Path) -> None:
    async with opened(directory) as store:
        blobs, values = await fill(store)
        pinned, buried = sorted(blobs)[:2]
        await store.pin(pinned, True)
        await store.change(bury=[buried])
    (directory / "catalog.distrusted").touch()
    async with opened(directory) as store:
        rows = {row.sha256: row for row in store.rows()}
        assert set(rows) == set(blobs)
        assert rows[pinned].pinned
        assert store.blob(buried) is None
        assert dict(store.values("pages")) == values
        assert store.summary().blobs == len(blobs)
        assert store.summary().size_bytes == sum(map(len, blobs.values()))
    assert not (directory / "catalog.distrusted").exists()
