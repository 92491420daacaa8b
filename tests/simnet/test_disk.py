"""The simulated disk: the contract, what a power cut leaves, and what a kernel does after a failed fsync."""

from __future__ import annotations

import errno
import random
import time
from collections import Counter
from pathlib import Path

import pytest
import trio

from simnet.disks.disk import SimDisk
from simnet.disks.disk_faults import PowerCut, fail_once
from simnet.disks.inode import BLOCK_SIZE_BYTES, Bytes, Pool
from tests.contract.disk import check_disk

ROOM = Path("/room")


def disk_of(seed: int = 1, **how: object) -> SimDisk:
    return SimDisk(random.Random(seed), rooms=[ROOM], **how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "how",
    [{}, {"paced": False}, {"crashes": False}, {"ordered": False}, {"pool": Pool(512)}],
    ids=["plain", "unpaced", "no-crashes", "unordered", "small-pool"],
)
async def test_the_simulated_disk_keeps_the_contract(autojump_clock: trio.abc.Clock, how: dict[str, object]) -> None:
    await check_disk(disk_of(**how), ROOM)


def test_bytes_are_what_a_plain_bytearray_would_be() -> None:
    dice = random.Random(3)
    for _ in range(200):
        unit = dice.choice([16, 64])
        mine, plain = Bytes(Pool(unit)), bytearray()
        for _ in range(30):
            offset = dice.randrange(200)
            if dice.random() < 0.15:
                mine.truncate(offset)
                del plain[offset:]
                plain.extend(bytes(offset - len(plain)))
            else:
                content = dice.randbytes(dice.randrange(1, 120))
                mine.write(content, offset)
                plain.extend(bytes(max(0, offset - len(plain))))
                plain[offset : offset + len(content)] = content
            if dice.random() < 0.2:
                mine = mine.copy()
            size, at = dice.randrange(300), dice.randrange(250)
            assert mine.read(size, at) == bytes(plain[at : at + size])
            assert mine.size_bytes == len(plain)
            assert mine.taken_bytes == sum(len(block) for block in mine.blocks if block)


async def test_a_power_cut_keeps_what_was_synced_and_nothing_is_sure_of_the_rest(
    autojump_clock: trio.abc.Clock,
) -> None:
    outcomes: Counter[bytes] = Counter()
    for seed in range(300):
        disk = disk_of(seed)
        file = await disk.create(ROOM / "a")
        await file.pwrite(b"a" * 1024, 0)
        await file.fsync()
        await disk.sync_directory(ROOM)
        await file.pwrite(b"b" * 1024, 0)
        await file.pwrite(b"c" * 1024, 1024)
        disk.cut()
        content = disk.content(ROOM / "a")
        assert content is not None
        assert set(content[:1024]) <= {ord("a"), ord("b")}, "zeros never come over bytes that were synced"
        assert set(content[1024:]) <= {0, ord("c")}
        outcomes[bytes(content[at] for at in range(0, len(content), 512))] += 1
    assert {b"aa", b"bb", b"aacc", b"aa\0\0", b"bb\0\0", b"bbcc", b"ab", b"ba"} <= set(outcomes), outcomes


async def test_a_name_is_durable_once_its_directory_is_synced(autojump_clock: trio.abc.Clock) -> None:
    kept: Counter[tuple[str, ...]] = Counter()
    for seed in range(200):
        disk = disk_of(seed, ordered=seed % 2 == 0)
        await disk.make_directory(ROOM / "shelf")
        await disk.sync_directory(ROOM)
        file = await disk.create(ROOM / "a")
        await file.pwrite(b"a", 0)
        await file.fsync()
        await disk.rename(ROOM / "a", ROOM / "shelf" / "b")
        await disk.sync_directory(ROOM / "shelf")
        await disk.make_directory(ROOM / "never")
        (await disk.create(ROOM / "never" / "c")).close()
        (await disk.create(ROOM / "d")).close()
        disk.cut()
        assert disk.content(ROOM / "shelf" / "b") == b"a"
        names = tuple(str(path.relative_to(ROOM)) for path in disk.paths())
        assert "a" not in names
        kept[names] += 1
    assert {("shelf/b",), ("d", "never/c", "shelf/b"), ("d", "shelf/b")} <= set(kept), kept


async def test_a_directory_that_was_never_synced_takes_its_files_with_it(autojump_clock: trio.abc.Clock) -> None:
    lost = 0
    for seed in range(60):
        disk = disk_of(seed, ordered=False)
        await disk.make_directory(ROOM / "shelf")
        (await disk.create(ROOM / "shelf" / "a")).close()
        await disk.sync_directory(ROOM / "shelf")
        disk.cut()
        lost += not disk.paths()
        assert (ROOM / "shelf" / "a" in disk.paths()) == ("shelf" in await disk.list(ROOM))
    assert 10 < lost < 50


async def test_what_a_failed_fsync_called_clean_never_reaches_the_disk(autojump_clock: trio.abc.Clock) -> None:
    for seed in range(20):
        disk = disk_of(seed)
        file = await disk.create(ROOM / "a")
        await disk.sync_directory(ROOM)
        await file.pwrite(b"lost", 0)
        disk.faults.script = fail_once("fsync", 1)
        with pytest.raises(OSError) as caught:
            await file.fsync()
        assert caught.value.errno == errno.EIO
        await file.pwrite(b"kept", 4)
        await file.fsync()
        assert await file.pread(8, 0) == b"lostkept", "readers see it as long as the machine is up"
        disk.cut()
        assert disk.content(ROOM / "a") == bytes(4) + b"kept"


async def test_a_call_of_a_dead_life_gives_nothing_and_does_nothing(autojump_clock: trio.abc.Clock) -> None:
    disk = disk_of()
    file = await disk.create(ROOM / "a")
    await disk.sync_directory(ROOM)
    died = 0

    async def write() -> None:
        nonlocal died
        with pytest.raises(PowerCut):
            await file.pwrite(b"x", 0)
        died += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked()
        disk.cut()
    with pytest.raises(PowerCut):
        file.size_bytes()
    file.close()
    assert died == 1
    assert disk.content(ROOM / "a") == b""


async def test_a_killed_process_loses_no_bytes_until_the_power_goes(autojump_clock: trio.abc.Clock) -> None:
    disk = disk_of()
    file = await disk.create(ROOM / "a")
    await file.pwrite(b"x", 0)
    disk.end_life()
    with pytest.raises(PowerCut):
        await file.pwrite(b"y", 0)
    assert disk.content(ROOM / "a") == b"x"
    again = await disk.reopen(ROOM / "a")
    assert await again.pread(1, 0) == b"x"


async def test_a_full_disk_takes_what_fits_and_gives_the_room_back(autojump_clock: trio.abc.Clock) -> None:
    disk = disk_of(capacity_bytes=10_000)
    file = await disk.create(ROOM / "a")
    await file.pwrite(bytes(9_000), 0)
    with pytest.raises(OSError) as caught:
        await file.pwrite(b"x" * 2_000, 9_000)
    assert caught.value.errno == errno.ENOSPC
    assert file.size_bytes() == 10_000
    assert await disk.free_bytes(ROOM) == 0
    await file.pwrite(b"y" * 100, 0)
    await disk.unlink(ROOM / "a")
    assert await disk.free_bytes(ROOM) == 0, "an open file keeps its room"
    file.close()
    assert await disk.free_bytes(ROOM) == 10_000


async def test_rot_turns_one_bit_over_that_no_cache_remembers(autojump_clock: trio.abc.Clock) -> None:
    disk = disk_of()
    content = random.Random(1).randbytes(3 * BLOCK_SIZE_BYTES + 7)
    for name in ("a", "b"):
        file = await disk.create(ROOM / name)
        await file.pwrite(content, 0)
        await file.fsync()
    await disk.sync_directory(ROOM)
    where = disk.rot("b")
    assert where is not None
    rotten = disk.content(ROOM / "b")
    assert rotten is not None
    assert [at for at in range(len(content)) if content[at] != rotten[at]] == [where[1]]
    assert disk.content(ROOM / "a") == content, "shared blocks are not changed under others"
    disk.cut()
    assert disk.content(ROOM / "b") == rotten


async def test_a_thousand_disks_hold_one_wheel_in_the_memory_of_one(autojump_clock: trio.abc.Clock) -> None:
    content = random.Random(1).randbytes(1 << 20)
    pool = Pool()
    for _ in range(100):
        disk = disk_of(pool=pool, paced=False)
        file = await disk.create(ROOM / "a")
        for at in range(0, len(content), 32 * 1024):
            await file.pwrite(content[at : at + 32 * 1024], at)
        await file.fsync()
        assert await file.pread(len(content), 0) == content
    assert pool.size_bytes() == len(content)


async def test_a_piece_goes_in_and_out_in_some_thirty_microseconds(autojump_clock: trio.abc.Clock) -> None:
    content = random.Random(1).randbytes(1 << 20)
    disk = disk_of(paced=False)
    file = await disk.create(ROOM / "a")
    began = time.process_time()
    for _ in range(10):
        for at in range(0, len(content), 32 * 1024):
            await file.pwrite(content[at : at + 32 * 1024], at)
            await file.pread(32 * 1024, at)
    assert (time.process_time() - began) / 320 < 150e-6, "five times what it takes on an idle machine"
