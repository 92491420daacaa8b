"""What goes wrong in the middle of a file, and what a client gets all the same; on virtual time."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio

from p2pcdn.counters import Counters
from p2pcdn.digest import Sha256
from p2pcdn.errors import DigestMismatch, RemoteProtocolError, StoreStopped, Unavailable
from p2pcdn.fetch import OriginReader
from p2pcdn.store import Partial
from tests.fetch.test_fetch import CONTENT, METADATA, scripted, wanted, wheel
from tests.worlds import INDEX, Answer, ScriptedUpstream

PIP_PATIENCE_S = 15.0


async def test_a_disk_that_fills_up_while_neighbours_give_lets_the_file_pass_through(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with scripted(tmp_path, lambda url, headers: Answer(CONTENT)) as (world, _):

        async def full(partial: Partial, read_origin: object, **known: object) -> None:
            raise StoreStopped("The disk is full.")

        world.swarm.fill = full  # type: ignore[method-assign]
        assert await world.get(wanted()) == CONTENT


async def test_a_slow_upstream_is_heard_before_a_client_gives_up(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    slow = CONTENT[:1_000_000]
    answer = Answer(slow, pause_s=1, chunk_size_bytes=16 * 1024)
    async with scripted(tmp_path, lambda url, headers: answer) as (world, _):
        growing = await world.fetch.open(wanted(slow))
        assert isinstance(growing, Partial)
        at = 0
        while at < 900_000:
            with trio.fail_after(PIP_PATIENCE_S):
                at = await growing.readable(at)


@pytest.mark.parametrize("more", [-1, 1, -1_000_000, 1_000_000])
async def test_an_index_that_says_another_size_is_wrong_where_the_hash_is_right(
    tmp_path: Path, autojump_clock: trio.abc.Clock, more: int
) -> None:
    what = wanted()
    other = dataclasses.replace(what, file=dataclasses.replace(what.file, size_bytes=len(CONTENT) + more))
    async with scripted(tmp_path, lambda url, headers: Answer(CONTENT)) as (world, _store):
        growing = await world.fetch.open(other)
        assert isinstance(growing, Partial)
        assert (await growing.wait_finished()).size_bytes == len(CONTENT)
        assert world.counters.upstream_bytes[INDEX.url] == len(CONTENT)


@pytest.mark.parametrize("more", [-1_000_000, -1, 1, 1_000_000])
async def test_what_was_begun_under_a_wrong_size_and_cut_is_begun_anew(
    tmp_path: Path, autojump_clock: trio.abc.Clock, more: int
) -> None:
    what = wanted()
    other = dataclasses.replace(what, file=dataclasses.replace(what.file, size_bytes=len(CONTENT) + more))
    healed = False

    def script(url: str, headers: object) -> Answer:
        if len(world.upstream.asked) == 1:
            return Answer(CONTENT, cut_after=2_500_000)
        return Answer(CONTENT) if healed else Answer(error=Unavailable("gone"))

    async with scripted(tmp_path, script) as (world, _):
        with pytest.raises(Unavailable):
            await world.get(other)
        healed = True
        await trio.sleep(1)
        with pytest.raises(RemoteProtocolError):
            await world.get(other)
        await trio.sleep(1)
        assert await world.get(other) == CONTENT


@pytest.mark.parametrize("hashed", [True, False])
async def test_a_size_that_is_wrong_excuses_no_other_bytes(
    tmp_path: Path, autojump_clock: trio.abc.Clock, hashed: bool
) -> None:
    what = wanted(hashed=hashed)
    longer = dataclasses.replace(what, file=dataclasses.replace(what.file, size_bytes=len(CONTENT) + 1))
    async with scripted(tmp_path, lambda url, headers: Answer(CONTENT[:-1] + b"?" * hashed)) as (world, store):
        with pytest.raises(DigestMismatch if hashed else RemoteProtocolError):
            await world.get(longer)
        assert store.summary().blobs == 0


async def test_a_body_without_a_length_that_ends_early_is_gone_on_with(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    def script(url: str, headers: object) -> Answer:
        first = len(world.upstream.asked) == 1
        return Answer(CONTENT[:1_000_000], headers={"content-length": "?"}) if first else Answer(CONTENT)

    async with scripted(tmp_path, script) as (world, _):
        assert await world.get(wanted()) == CONTENT


async def test_a_length_of_a_thousand_digits_is_none(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    answer = Answer(CONTENT, headers={"content-length": "9" * 5000})
    async with scripted(tmp_path, lambda url, headers: answer) as (world, _):
        assert await world.get(wanted(size=False)) == CONTENT


async def test_a_file_is_read_whole_while_its_trust_is_being_noted(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with scripted(tmp_path, lambda url, headers: Answer(CONTENT)) as (world, store):
        change = store.change

        async def slow(**what: Any) -> None:
            await trio.sleep(5)
            await change(**what)

        store.change = slow  # type: ignore[method-assign]
        assert await world.get(wanted(hashed=False)) == CONTENT
        await trio.sleep(1)
        assert await world.get(wanted(hashed=False)) == CONTENT
        assert len(world.upstream.asked) == 1


async def test_a_file_without_a_hash_that_changes_at_a_cut_is_not_joined_of_two(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    new = bytes(len(CONTENT))

    def script(url: str, headers: object) -> Answer:
        if len(world.upstream.asked) == 1:
            return Answer(CONTENT, cut_after=1_000_000, headers={"etag": '"old"'})
        return Answer(new, headers={"etag": '"new"'})

    async with scripted(tmp_path, script) as (world, _):
        with pytest.raises(RemoteProtocolError):
            await world.get(wanted(hashed=False))
        assert await world.get(wanted(hashed=False)) == new


async def test_what_went_out_before_the_disk_was_full_is_part_of_what_is_proven(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    wrong = bytes(1_000_000) + CONTENT[1_000_000:]

    def script(url: str, headers: object) -> Answer:
        return Answer(wrong, pause_s=1) if len(world.upstream.asked) == 1 else Answer(CONTENT)

    async with scripted(tmp_path, script) as (world, _):
        growing = await world.fetch.open(wanted())
        assert isinstance(growing, Partial)
        got = bytearray()

        async def fill_up_the_disk() -> None:
            await growing.readable(500_000)
            growing.fail(StoreStopped("The disk is full."))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fill_up_the_disk)
            with pytest.raises(RemoteProtocolError):
                await world.follow(wanted(), growing, got)
        assert 0 < len(got) < len(CONTENT)


async def test_an_offline_node_does_not_pass_files_through_either(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    upstream = ScriptedUpstream(lambda url, headers: Answer(CONTENT))
    origin = OriginReader(upstream, Counters(), random.Random(1), offline=True)

    async def take(at: int, content: bytes) -> None:
        raise AssertionError

    with pytest.raises(Unavailable, match="offline"):
        await origin.read(wanted(), take)
    assert upstream.asked == []


async def test_a_fault_of_ours_stops_the_file_that_passes_and_not_the_node(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    def faulty(url: str, headers: Mapping[str, str]) -> Answer:
        raise ZeroDivisionError

    async with scripted(tmp_path, faulty) as (world, _):
        with pytest.raises(Unavailable, match="A fault of this node"):
            async for _chunk in world.delivery.pass_through(wanted(), 0, None):
                pass


async def test_a_drip_that_is_stopped_in_its_write_leaves_no_hole(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with scripted(tmp_path, lambda url, headers: Answer(CONTENT)) as (world, _):

        async def give_all_while_the_drip_writes(partial: Partial, read_origin: object, **known: object) -> None:
            await partial.write(0, CONTENT, provisional=True)
            pwrite = partial.file.pwrite

            async def slow(content: bytes | bytearray | memoryview, offset: int) -> None:
                await trio.sleep(1)
                await pwrite(content, offset)

            partial.file.pwrite = slow  # type: ignore[method-assign]
            with trio.move_on_after(0.5):
                await partial.write(0, CONTENT[:65536])
            partial.file.pwrite = pwrite  # type: ignore[method-assign]

        world.swarm.fill = give_all_while_the_drip_writes  # type: ignore[method-assign]
        assert await world.get(wanted()) == CONTENT


async def test_a_file_that_one_page_withdrew_and_another_lists_is_held_again(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with scripted(tmp_path, lambda url, headers: Answer(CONTENT)) as (world, store):
        digest = Sha256.of(CONTENT)
        await world.get(wanted())
        await trio.sleep(1)
        await store.change(bury=[digest])
        assert await world.get(wanted()) == CONTENT
        assert len(world.upstream.asked) == 1
        await store.change(bury=[digest])
        await store.drop(digest)
        for _ in range(2):
            assert await world.get(wanted()) == CONTENT
            await trio.sleep(1)
        assert len(world.upstream.asked) == 2


async def test_metadata_whose_files_are_lost_is_read_again(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    content = wheel()
    async with scripted(tmp_path, lambda url, headers: Answer(content)) as (world, store):
        await world.get(wanted(content))
        await trio.sleep(1)
        await store.drop(Sha256.of(METADATA))
        for file in (tmp_path / "store" / "blobs").glob("*/*"):
            file.unlink()
        assert await world.metadata.of(wanted(content)) == METADATA
        assert world.counters.upstream_bytes[INDEX.url] > len(content)
