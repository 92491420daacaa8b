"""A file that arrives: out of order, from several sources, interrupted, wrong; and those who read it meanwhile."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
import trio

from p2pcdn.digest import Sha256
from p2pcdn.errors import DigestMismatch, LocalProtocolError, RemoteProtocolError, StoreStopped, Unavailable
from p2pcdn.store import HELD_BACK_SIZE_BYTES, Partial, Store
from tests.store.stores import MIB, WHEEL, HandClock, content_of, keep, open_store, opened

CONTENT = content_of(11, 6 * MIB + 1234)
SHA256 = Sha256.of(CONTENT)


async def grow(store: Store, size_bytes: int | None = len(CONTENT)) -> Partial:
    return await store.grow(SHA256, size_bytes, WHEEL)


async def write(partial: Partial, start: int, end: int, *, provisional: bool = False, wrong: bool = False) -> None:
    content = bytes(end - start) if wrong else CONTENT[start:end]
    await partial.write(start, content, provisional=provisional)


async def test_writes_may_come_in_any_order_and_twice(directory: Path) -> None:
    dice = random.Random(5)
    cuts = sorted({0, len(CONTENT), *(dice.randrange(len(CONTENT)) for _ in range(60))})
    parts = list(itertools.pairwise(cuts)) * 2
    dice.shuffle(parts)
    async with opened(directory) as store:
        partial = await grow(store)
        async with trio.open_nursery() as nursery:
            for start, end in parts:
                nursery.start_soon(write, partial, start, end)
        assert partial.missing() == []
        assert await (await partial.finish()).read() == CONTENT


async def test_growing_a_file_that_grows_gives_the_same_partial(directory: Path) -> None:
    async with opened(directory) as store:
        found: list[Partial] = []

        async def ask() -> None:
            found.append(await grow(store))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
        assert len(set(map(id, found))) == 1
        assert store.running(SHA256) is found[0]


async def test_missing_names_the_holes(directory: Path) -> None:
    async with opened(directory) as store:
        partial = await grow(store, None)
        assert partial.missing() == [(0, 0)]
        await write(partial, 100, 200)
        assert partial.missing() == [(0, 100), (200, 200)]
        partial.set_size(len(CONTENT))
        assert partial.missing() == [(0, 100), (200, len(CONTENT))]
        with pytest.raises(LocalProtocolError):
            await partial.finish()


async def test_bytes_beyond_the_size_are_refused(directory: Path) -> None:
    async with opened(directory) as store:
        partial = await grow(store)
        with pytest.raises(RemoteProtocolError):
            await partial.write(len(CONTENT) - 1, b"ab")
        with pytest.raises(RemoteProtocolError):
            partial.set_size(7)
        partial.set_size(len(CONTENT))


async def test_a_file_larger_than_the_store_passes_through(directory: Path) -> None:
    async with opened(directory, size_bytes=MIB) as store:
        with pytest.raises(StoreStopped):
            await grow(store)
        partial = await grow(store, None)
        with pytest.raises(StoreStopped):
            await partial.write(MIB - 1, b"ab")
        assert store.summary().health == "ok"


async def test_a_reader_follows_and_gets_the_last_bytes_only_after_the_proof(directory: Path) -> None:
    async with opened(directory) as store:
        partial = await grow(store)
        await write(partial, 0, MIB)
        assert await partial.readable(10) == MIB
        assert partial.frontier() == MIB
        await write(partial, MIB, len(CONTENT))
        assert await partial.readable(0) == len(CONTENT) - HELD_BACK_SIZE_BYTES
        with trio.move_on_after(0) as scope:
            await partial.readable(len(CONTENT) - HELD_BACK_SIZE_BYTES)
        assert scope.cancelled_caught
        await partial.finish()
        assert await partial.readable(len(CONTENT) - HELD_BACK_SIZE_BYTES) == len(CONTENT)


async def test_what_only_a_peer_says_reaches_no_reader_before_the_proof(directory: Path) -> None:
    async with opened(directory) as store:
        partial = await grow(store)
        await write(partial, 0, 3 * MIB, provisional=True)
        assert partial.frontier() == 0
        assert partial.missing() == [(3 * MIB, len(CONTENT))]
        await write(partial, 0, MIB)
        assert await partial.readable(0) == MIB
        await write(partial, 3 * MIB, len(CONTENT), provisional=True)
        await partial.finish()
        assert await partial.readable(0) == len(CONTENT)


async def test_the_upstream_overwrites_what_a_peer_got_wrong(directory: Path) -> None:
    async with opened(directory) as store:
        partial = await grow(store)
        await write(partial, 0, 4 * MIB, provisional=True, wrong=True)
        await partial.settle()
        await write(partial, 0, len(CONTENT))
        assert partial.frontier() == len(CONTENT)
        await write(partial, 0, MIB, provisional=True, wrong=True)
        assert await (await partial.finish()).read() == CONTENT


async def test_a_wrong_manifest_costs_only_the_provisional_bytes(directory: Path) -> None:
    async with opened(directory) as store:
        partial = await grow(store)
        await write(partial, 0, MIB + 7)
        await write(partial, 2 * MIB, 5 * MIB, provisional=True, wrong=True)
        await write(partial, MIB, 2 * MIB, provisional=True, wrong=True)
        await partial.settle()
        await partial.forget_provisional()
        assert partial.missing() == [(MIB + 7, len(CONTENT))]
        await write(partial, MIB + 7, len(CONTENT))
        assert await (await partial.finish()).read() == CONTENT


async def test_a_mismatch_reaches_everybody_and_nothing_is_kept(directory: Path) -> None:
    async with opened(directory) as store:
        partial = await grow(store)
        attempt = partial.attempt
        await write(partial, 0, len(CONTENT) - 1)
        await write(partial, len(CONTENT) - 1, len(CONTENT), wrong=CONTENT[-1] != 0)
        with pytest.raises(DigestMismatch):
            await partial.finish()
        for wait in (partial.wait_finished(), partial.readable(len(CONTENT)), partial.finish(), partial.write(0, b"a")):
            with pytest.raises(DigestMismatch):
                await wait
        assert store.blob(SHA256) is None
        assert store.summary().partials == 0
        assert list((directory / "partials").iterdir()) == []
        again = await grow(store)
        assert again.attempt != attempt
        assert again.missing() == [(0, len(CONTENT))]


async def test_who_was_shown_a_members_wrong_bytes_never_completes_in_the_right_ones(directory: Path) -> None:
    content = content_of(5, 3 * MIB)
    wrong = bytes([content[0] ^ 1]) + content[1:MIB]
    async with opened(directory) as store:
        partial = await store.grow(Sha256.of(content), len(content), WHEEL)
        await partial.write(0, wrong, provisional=True, vouched=True)
        assert await partial.readable(0) == MIB
        await partial.write(MIB, content[MIB:])
        assert not partial.missing()
        with pytest.raises(DigestMismatch):
            await partial.write(0, content[:MIB])
        assert partial.has_shown_unproven()
        with pytest.raises(DigestMismatch):
            await partial.finish()
        partial.fail(DigestMismatch("thing", expected="", got=""))
        with pytest.raises(DigestMismatch):
            await partial.readable(MIB)


async def test_the_same_bytes_from_the_origin_make_what_was_shown_firm(directory: Path) -> None:
    content = content_of(5, 2 * MIB)
    async with opened(directory) as store:
        partial = await store.grow(Sha256.of(content), len(content), WHEEL)
        await partial.write(0, content[:MIB], provisional=True, vouched=True)
        assert await partial.readable(MIB // 2) == MIB, "a range, too"
        assert partial.has_shown_unproven()
        await partial.write(0, content)
        assert not partial.has_shown_unproven()
        assert (await partial.finish()).size_bytes == len(content)


async def test_a_peers_lie_that_the_hash_finds_costs_only_what_the_peer_vouched_for(directory: Path) -> None:
    async with opened(directory) as store:
        partial = await grow(store)
        await write(partial, 0, 2 * MIB)
        await write(partial, 2 * MIB, len(CONTENT), provisional=True, wrong=True)
        with pytest.raises(DigestMismatch):
            await partial.finish()
        assert store.running(SHA256) is partial
        assert await partial.readable(0) == 2 * MIB
        await partial.forget_provisional()
        assert partial.missing() == [(2 * MIB, len(CONTENT))]
        await write(partial, 2 * MIB, len(CONTENT))
        assert await (await partial.finish()).read() == CONTENT


async def test_an_attempt_that_failed_is_resumed_from_its_pieces(directory: Path) -> None:
    async with opened(directory) as store:
        partial = await grow(store)
        await write(partial, 0, 3 * MIB + 50)
        partial.fail(Unavailable("the wire was cut"))
        with pytest.raises(Unavailable):
            await partial.wait_finished()
        again = await grow(store)
        assert again is not partial
        assert again.missing() == [(3 * MIB, len(CONTENT))]
        await write(again, 3 * MIB, len(CONTENT))
        assert await (await again.finish()).read() == CONTENT


async def test_a_crash_keeps_the_verified_pieces_and_their_trust(directory: Path) -> None:
    store = await open_store(directory)
    partial = await grow(store)
    await write(partial, 0, 2 * MIB)
    await write(partial, 3 * MIB, 5 * MIB + 9, provisional=True)
    await write(partial, 6 * MIB, len(CONTENT))
    await partial.settle()
    store.abandon()
    path = directory / "partials" / SHA256
    rotten = bytearray(path.read_bytes())
    rotten[MIB + 5] ^= 1
    path.write_bytes(rotten)
    async with opened(directory) as store:
        assert store.summary().partials == 1
        again = await grow(store, None)
        assert again.size_bytes == len(CONTENT)
        assert again.present() == [(0, MIB), (6 * MIB, len(CONTENT))]
        assert again.present(provisional=True) == [(0, MIB), (3 * MIB, 5 * MIB), (6 * MIB, len(CONTENT))]
        for start, end in again.missing():
            await write(again, start, end)
        assert await (await again.finish()).read() == CONTENT


async def test_a_hashless_file_is_never_resumed(directory: Path) -> None:
    async with opened(directory) as store:
        partial = await store.grow("words", None, WHEEL)
        await partial.write(0, bytes(2 * MIB))
        await partial.settle()
        partial.fail(Unavailable("cut"))
        again = await store.grow("words", None, WHEEL)
        assert again.missing() == [(0, 0)]


async def test_a_partial_nobody_touched_for_a_week_goes(directory: Path) -> None:
    clock = HandClock()
    store = await open_store(directory, clock=clock)
    await write(await grow(store), 0, MIB)
    await store.close()
    clock.time += 8 * 24 * 3600
    async with opened(directory, clock=clock) as store:
        assert store.summary().partials == 0
    assert list((directory / "partials").iterdir()) == []


async def test_a_cancelled_writer_leaves_a_partial_that_can_be_finished(directory: Path) -> None:
    async with opened(directory) as store:
        partial = await grow(store)
        with trio.CancelScope() as scope:
            scope.cancel()
            await write(partial, 0, len(CONTENT))
        with trio.CancelScope() as scope:
            await write(partial, 0, len(CONTENT))
            scope.cancel()
            await partial.finish()
        await write(partial, 0, len(CONTENT))
        assert await (await partial.finish()).read() == CONTENT


async def test_fifty_readers_meet_eviction_and_a_mismatch_and_none_sees_the_last_block(directory: Path) -> None:
    dice = random.Random(50)
    wrong = bytearray(CONTENT)
    wrong[-1] ^= 1
    seen_ends: list[int] = []
    told: list[DigestMismatch] = []

    async def read_on(partial: Partial, offset: int) -> None:
        with partial.reader() as file:
            try:
                while True:
                    end = await partial.readable(offset)
                    while offset < end:
                        part = await file.pread(min(64 * 1024, end - offset), offset)
                        assert part == wrong[offset : offset + len(part)]
                        offset += len(part)
                    seen_ends.append(end)
            except DigestMismatch as error:
                told.append(error)

    async def evict(store: Store, stop: trio.CancelScope) -> None:
        with stop:
            while True:
                await store.collect(to_bytes=0)

    async with opened(directory) as store:
        await keep(store, content_of(1, MIB))
        partial = await grow(store)
        stop = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(evict, store, stop)
            async with trio.open_nursery() as readers:
                for _ in range(50):
                    readers.start_soon(read_on, partial, dice.randrange(len(CONTENT)))
                for offset in range(0, len(wrong), 100_000):
                    await partial.write(offset, wrong[offset : offset + 100_000])
                with pytest.raises(DigestMismatch):
                    await partial.finish()
            stop.cancel()
        assert len(told) == 50
        assert max(seen_ends) == len(CONTENT) - HELD_BACK_SIZE_BYTES
        assert partial.file.fileno() == -1
        assert store.blob(SHA256) is None
        # Readers of the next attempt all get it whole.
        again = await grow(store)

        async def read_whole() -> None:
            with again.reader() as file:
                await again.proven.wait()
                assert await file.pread(len(CONTENT), 0) == CONTENT

        async with trio.open_nursery() as readers:
            for _ in range(50):
                readers.start_soon(read_whole)
            await write(again, 0, len(CONTENT))
            await again.finish()
