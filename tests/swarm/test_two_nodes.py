"""Two nodes over real sockets: the second takes what the first may give, and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from p2pcdn.digest import Sha256
from p2pcdn.errors import RemoteProtocolError, Unavailable
from p2pcdn.store import Origin
from p2pcdn.swarm import Patience
from p2pcdn.swarm.neighbours.peer import Address
from p2pcdn.swarm.wire.advice import AskCrowd, Reader
from p2pcdn.swarm.wire.messages import PUBLIC_KEY, blob_id
from p2pcdn.world import Announcement, Sighting
from tests.swarm.nodes import HANG_S, MIB, TestNode, content_of, node, until

SIZES = [0, 1, 256 * 1024, 256 * 1024 + 1, 3 * MIB + 7, 8 * MIB + 1, 20 * MIB]


@pytest.mark.parametrize("size_bytes", SIZES)
async def test_the_second_node_takes_a_file_of_any_size_from_the_first(tmp_path: Path, size_bytes: int) -> None:
    content = content_of(1, size_bytes)
    async with node(tmp_path / "a") as first, node(tmp_path / "b", peers=[first.sighting()]) as second:
        await first.keep(content)
        partial = await second.wants(content)
        with trio.fail_after(HANG_S):
            await second.swarm.fill(partial)
            blob = await partial.finish()
        assert blob.sha256 == Sha256.of(content)
        assert sum(second.counters.peer_bytes.values()) == size_bytes
        assert not second.counters.refused_pieces


async def test_a_file_whose_size_nobody_said_arrives_too(tmp_path: Path) -> None:
    content = content_of(2, 9 * MIB + 5)
    async with node(tmp_path / "a") as first, node(tmp_path / "b", peers=[first.sighting()]) as second:
        await first.keep(content)
        partial = await second.wants(content, size_known=False)
        await second.swarm.fill(partial)
        assert (await partial.finish()).size_bytes == len(content)


async def test_only_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    content = content_of(3, 12 * MIB)
    async with (
        node(tmp_path / "a") as first,
        node(tmp_path / "b", peers=[first.sighting()], patience=Patience(no_progress_s=HANG_S)) as second,
    ):
        await first.keep(content)
        partial = await second.wants(content)
        await partial.write(0, content[: 5 * MIB + 100])
        await second.swarm.fill(partial)
        await partial.finish()
        # On a busy machine a piece is overdue, and may come twice.
        assert sum(second.counters.peer_bytes.values()) == 7 * MIB + second.counters.duplicate_bytes


async def test_what_a_node_keeps_while_it_runs_and_what_it_held_before_are_both_given(tmp_path: Path) -> None:
    old, new = content_of(4, MIB), content_of(5, MIB)
    async with node(tmp_path / "a") as first:
        await first.keep(old)
    async with node(tmp_path / "a") as first, node(tmp_path / "b", peers=[first.sighting()]) as second:
        await first.keep(new)
        for content in (old, new):
            partial = await second.wants(content)
            await second.swarm.fill(partial)
            await partial.finish()


async def test_many_files_at_once_all_arrive(tmp_path: Path) -> None:
    contents = [content_of(seed, 2 * MIB + seed) for seed in range(20)]
    async with (
        node(tmp_path / "a") as first,
        node(tmp_path / "b", peers=[first.sighting()], patience=Patience(no_progress_s=HANG_S)) as second,
    ):
        for content in contents:
            await first.keep(content)

        async def take(content: bytes) -> None:
            partial = await second.wants(content)
            await second.swarm.fill(partial)
            await partial.finish()

        with trio.fail_after(HANG_S):
            async with trio.open_nursery() as nursery:
                for content in contents:
                    nursery.start_soon(take, content)
        assert first.counters.requests == {}
        # A piece that is overdue, as on a busy machine, is asked for again, and may then come twice.
        assert second.swarm.peers()[0].bytes_in == sum(map(len, contents)) + second.counters.duplicate_bytes


async def test_pieces_come_from_every_node_that_has_the_file(tmp_path: Path) -> None:
    content = content_of(6, 30 * MIB)
    async with (
        node(tmp_path / "a") as first,
        node(tmp_path / "b") as second,
        node(
            tmp_path / "c",
            peers=[first.sighting(), second.sighting()],
            patience=Patience(no_progress_s=HANG_S, dial_time_s=HANG_S),
        ) as third,
    ):
        await first.keep(content)
        await second.keep(content)
        partial = await third.wants(content)
        await third.swarm.fill(partial)
        await partial.finish()
        assert len(third.counters.peer_bytes) == 2


@pytest.mark.parametrize("share", ["never", "group"])
async def test_private_files_look_like_unknown_ones_and_are_not_asked_for(tmp_path: Path, share: str) -> None:
    content = content_of(7, MIB)
    private = Origin("secret-1.0-py3-none-any.whl", "secret", "0123456789abcdef", share)  # type: ignore[arg-type]
    async with node(tmp_path / "a") as first, node(tmp_path / "b", peers=[first.sighting()]) as second:
        await first.keep(content, private)
        partial = await second.wants(content)
        with pytest.raises(Unavailable):
            await second.swarm.fill(partial)
        other = await second.wants(content_of(8, MIB), origin=private)
        asked = len(first.asked)
        with pytest.raises(Unavailable):
            await second.swarm.fill(other)
        assert len(first.asked) == asked


async def test_withdrawn_files_are_not_given(tmp_path: Path) -> None:
    content = content_of(9, MIB)
    async with node(tmp_path / "a") as first, node(tmp_path / "b", peers=[first.sighting()]) as second:
        blob = await first.keep(content)
        await first.store.change(bury=[blob.sha256])
        with pytest.raises(Unavailable):
            await second.swarm.fill(await second.wants(content))


async def test_no_sha256_is_on_the_wire(tmp_path: Path) -> None:
    content = content_of(10, MIB)
    async with node(tmp_path / "a") as first, node(tmp_path / "b", peers=[first.sighting()]) as second:
        await first.keep(content)
        await second.swarm.fill(await second.wants(content))
        sha256 = Sha256.of(content)
        assert any(blob_id(PUBLIC_KEY, sha256) in path for path in first.asked)
        assert not any(sha256 in path for path in first.asked)


async def test_without_neighbours_nothing_waits(tmp_path: Path) -> None:
    async with node(tmp_path / "a") as alone:
        partial = await alone.wants(b"x" * 1000)
        before = trio.current_time()
        filling = alone.swarm.fill(partial)
        with pytest.raises(Unavailable):
            filling.send(None)  # its first step is its last: it never gave up control
        assert await alone.swarm.read(Sha256.of(b"x"), 100) is None
        assert trio.current_time() >= before


async def test_a_node_that_is_named_as_its_own_peer_finds_itself_out(tmp_path: Path) -> None:
    async with node(tmp_path / "a") as first:
        first.swarm._greetings._sight(first.sighting(), "configured")
        await until(lambda: not first.swarm.peers())


async def test_whoever_is_greeted_greets_back(tmp_path: Path) -> None:
    content = content_of(11, MIB)
    async with node(tmp_path / "a") as first, node(tmp_path / "b", peers=[first.sighting()]) as second:
        await until(first.swarm.peers)
        await second.keep(content)
        partial = await first.wants(content)
        await first.swarm.fill(partial)
        await partial.finish()
        assert first.swarm.peers()[0].source == "asked us"


async def test_a_dead_peer_costs_its_time_out_once_and_not_for_each_file(tmp_path: Path) -> None:
    async with node(tmp_path / "a", peers=[Sighting("127.0.0.1", 9)]) as alone:
        assert alone.swarm.peers()[0].wrong
        for seed in range(20):
            filling = alone.swarm.fill(await alone.wants(content_of(seed, 100)))
            with pytest.raises(Unavailable):
                filling.send(None)


async def test_small_blobs_come_in_one_batch(tmp_path: Path) -> None:
    contents = [content_of(seed, 1000 + seed) for seed in range(30)]
    async with node(tmp_path / "a") as first, node(tmp_path / "b", peers=[first.sighting()]) as second:
        for content in contents:
            await first.store.keep_small(
                content, Origin("t.metadata", "t", "0123456789abcdef", "lan"), expected=Sha256.of(content)
            )
        got: list[bytes | None] = []

        async def read(content: bytes) -> None:
            got.append(await second.swarm.read(Sha256.of(content), 10_000))

        with trio.fail_after(HANG_S):
            async with trio.open_nursery() as nursery:
                for content in contents:
                    nursery.start_soon(read, content)
            assert sorted(one or b"" for one in got) == sorted(contents)
            assert len([path for path in first.asked if path.startswith("/v1/small/")]) <= 3
            assert await second.swarm.read(Sha256.of(b"nobody has it"), 10_000) is None
            assert await second.swarm.read(Sha256.of(contents[0]), 10) is None


class Finds:
    """A discovery that finds one neighbour, and then breaks."""

    def __init__(self, *found: Sighting) -> None:
        self._found = found

    async def run(self, announcement: Announcement, found: trio.MemorySendChannel[Sighting]) -> None:
        assert announcement.port > 0
        for sighting in self._found:
            await found.send(sighting)
        raise OSError("the network went away")


async def test_what_a_discovery_finds_is_greeted_and_its_faults_stop_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = content_of(12, MIB)
    async with node(tmp_path / "a") as first:
        await first.keep(content)
        found = Finds(Sighting("127.0.0.1", first.port, "cd" * 16), Sighting("127.0.0.1", 9, "ef" * 16))
        async with node(tmp_path / "b", discoveries=[found]) as second:
            await until(second.swarm.peers)
            (status,) = second.swarm.peers()
            assert (status.source, status.address) == ("mdns", f"127.0.0.1:{first.port}")
            partial = await second.wants(content)
            await second.swarm.fill(partial)
            await partial.finish()
    assert any("stopped looking" in record.message for record in caplog.records)


async def test_a_provider_that_evicts_the_file_in_the_middle_is_left_without_blame(tmp_path: Path) -> None:
    content = content_of(13, 20 * MIB)
    async with (
        node(tmp_path / "a") as first,
        node(tmp_path / "b", peers=[first.sighting()], patience=Patience(no_progress_s=HANG_S)) as second,
    ):
        blob = await first.keep(content)
        partial = await second.wants(content)
        async with trio.open_nursery() as nursery:

            async def drop_soon() -> None:
                await until(lambda: any(path.endswith("/piece") for path in first.asked))
                await first.store.drop(blob.sha256)

            nursery.start_soon(drop_soon)
            with contextlib.suppress(Unavailable):
                await second.swarm.fill(partial)
        (status,) = second.swarm.peers()
        assert status.strikes == 0
        for start, end in partial.missing():
            await partial.write(start, content[start:end])
        assert (await partial.finish()).sha256 == Sha256.of(content)


async def test_an_upstream_that_ends_before_the_file_does_is_an_error_and_not_read_for_ever(tmp_path: Path) -> None:
    content = content_of(14, 3 * MIB)
    reads = 0

    async def read_short(start: int, end: int | None, sink: Callable[[int, bytes], Awaitable[None]]) -> None:
        nonlocal reads
        reads += 1
        await sink(start, content[start : 3 * MIB - 5])

    async with node(tmp_path / "a") as alone:
        partial = await alone.wants(content)
        with trio.fail_after(HANG_S), pytest.raises(RemoteProtocolError):
            await alone.swarm.fill(partial, read_short)
        assert reads <= 2


async def test_a_room_reads_the_origin_once_and_passes_pieces_on_while_they_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However busy the machine is: nobody is given up here because it answers late."""
    for where in (
        "neighbours.attendance.ANSWER_TIME_S",
        "neighbours.attendance.NEXT_ANSWER_TIME_S",
        "advising.crowd.LEASE_S",
        "filling.holders.HOLD_OFF_S",
    ):
        monkeypatch.setattr(f"p2pcdn.swarm.{where}", HANG_S)
    patience = Patience(no_progress_s=HANG_S, dial_time_s=HANG_S)
    content = content_of(15, 12 * MIB)
    reads: list[tuple[int, int | None]] = []

    async with (
        node(tmp_path / "a", patience=patience) as first,
        node(tmp_path / "b", peers=[first.sighting()], patience=patience) as second,
        node(tmp_path / "c", peers=[first.sighting()], patience=patience) as third,
    ):
        room = (first, second, third)
        await until(lambda: all(len(one.swarm.peers()) == 2 for one in room))

        async def read_origin(start: int, end: int | None, sink: Callable[[int, bytes], Awaitable[None]]) -> None:
            reads.append((start, end))
            for at in range(start, len(content) if end is None else end, 65536):
                await trio.sleep(0.001)
                await sink(at, content[at : at + 65536])
                if at == 8 * MIB:
                    await until(lambda: sum(bool(it.counters.peer_bytes) for it in room) == 2)

        async def fetch(it: TestNode) -> None:
            partial = await it.wants(content)
            await it.swarm.fill(partial, read_origin)
            assert (await partial.finish()).sha256 == Sha256.of(content)

        with trio.fail_after(HANG_S):
            async with trio.open_nursery() as nursery:
                for it in room:
                    nursery.start_soon(fetch, it)
        assert reads == [(0, None)]
        twice = sum(it.counters.duplicate_bytes for it in room)
        assert sum(sum(it.counters.peer_bytes.values()) for it in room) == 2 * len(content) + twice


async def test_only_of_a_living_neighbour_is_it_believed_that_it_reads(tmp_path: Path) -> None:
    """Else whoever names an address would send a room there, and keep it waiting."""
    async with node(tmp_path / "a") as neighbour, node(tmp_path / "b", peers=[neighbour.sighting()]) as second:
        first = str(Address("127.0.0.1", neighbour.port))
        for number, (where, believed) in enumerate([(first, True), ("192.0.2.7:7273", False)]):
            ask = AskCrowd(f"{number:064x}", "ab" * 16, 7273, bytes(32), left=(first,))
            advice = second.swarm._advise(replace(ask, reader=Reader(b"r" * 32, where, 0)), "127.0.0.1:7273")
            assert (advice.read, advice.members) == ((False, 2) if believed else (True, 1))
