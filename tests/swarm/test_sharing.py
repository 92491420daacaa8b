"""What a file in transit gives away: nothing on the word of a list that is not this one, or by a cut that is over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from functools import partial as partial_of
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
import trio.testing

from p2pcdn.digest import Sha256
from p2pcdn.errors import RemoteProtocolError
from p2pcdn.http1 import Response
from p2pcdn.store import Partial
from p2pcdn.swarm.filling.sources import BROKEN_OFF_MAX, PIECES_PER_BREAK, Sources
from p2pcdn.swarm.filling.taking import Taking, _Coming
from p2pcdn.swarm.giving.manners import Manners
from p2pcdn.swarm.giving.outgoing import WAITING_PER_FILE
from p2pcdn.swarm.giving.slots import SLOTS_PER_FILE
from p2pcdn.swarm.neighbours.peer import Address, Peer
from p2pcdn.swarm.pieces.arrival import Arrival
from p2pcdn.swarm.pieces.manifest import HASH_SIZE_BYTES, Manifest, cut_of, manifest_of, part_hashes
from p2pcdn.swarm.pieces.sharing import Sharing
from p2pcdn.swarm.pieces.waiting import Waiter, Waiters
from p2pcdn.swarm.wire import bitfield
from p2pcdn.swarm.wire.connection import Answer, Head
from p2pcdn.swarm.wire.messages import PIECE_INDEX, PUBLIC_KEY, AskPiece, blob_id
from tests.swarm.nodes import HANG_S, MIB, PUBLIC, content_of, node, until
from tests.swarm.test_provide import SLOTS, ask, ask_piece
from tests.worlds import open_store

CONTENT = content_of(3, 5 * MIB)
FILE = Sha256.of(CONTENT)
CUT = cut_of(len(CONTENT))


def sharing_of(partial: Partial) -> Sharing:
    return Sharing(partial, FILE, blob_id(PUBLIC_KEY, FILE), cut_of)


def parts_of(index: int) -> bytes:
    return part_hashes(FILE, CUT, index, CONTENT[slice(*CUT.span(index))])


def other_list(manifest: Manifest) -> Manifest:
    """Another word for the same file, wrong in its last piece."""
    return Manifest(FILE, manifest.cut, manifest.hashes[:-HASH_SIZE_BYTES] + bytes(HASH_SIZE_BYTES))


async def test_a_class_that_nobody_asks_for_is_not_watched_part_by_part(tmp_path: Path) -> None:
    async with node(tmp_path / "a") as it:
        sharing = sharing_of(await it.wants(CONTENT))
        watched = [sharing.arrives(Arrival(FILE, CUT, index, parts_of(index), None)) for index in (0, 3, 6, 1, 9)]
        assert watched == [True, True, False, True, False]
        sharing.is_asked_for(1 << 12)
        assert sharing.arrives(Arrival(FILE, CUT, 12, parts_of(12), None)), "somebody takes pieces of this class"


async def test_what_one_list_proves_is_not_passed_on_as_proven_by_the_next(tmp_path: Path) -> None:
    """An honest node would be struck: it says "by this manifest" of bytes that another one names."""
    async with node(tmp_path / "a") as it:
        sharing = sharing_of(await it.wants(CONTENT))
        first = manifest_of(FILE, CONTENT)
        sharing.adopt(first)
        arrival = Arrival(FILE, CUT, 19, parts_of(19), None, first)
        sharing.arrives(arrival)
        assert sharing.passable(knows=True) == 1 << 19
        sharing.disown()
        sharing.adopt(other_list(first))
        assert not sharing.passable(knows=True)
        sharing.note(19, None, parts_of(19), first)
        assert not sharing.givable(knows=True)


async def test_what_arrives_by_a_cut_that_is_over_is_not_passed_on(tmp_path: Path) -> None:
    async with node(tmp_path / "a") as it:
        partial = await it.wants(CONTENT, size_known=False)
        sharing = sharing_of(partial)
        sharing.learn_size(len(CONTENT))
        manifest = manifest_of(FILE, CONTENT)
        sharing.adopt(manifest)
        sharing.arrives(Arrival(FILE, CUT, 19, parts_of(19), None, manifest))
        waiter = Waiter(bitfield.encode(1 << 19, CUT.pieces), knows=True, host="192.0.2.1")
        waiter.read(CUT)
        partial.set_size(3 * MIB)
        sharing.learn_size(3 * MIB)
        assert not sharing.passable(knows=True)
        assert sharing.cut is not None
        with pytest.raises(RemoteProtocolError):
            waiter.read(sharing.cut)


async def test_who_gets_a_piece_that_came_twice_gets_it_whole(tmp_path: Path) -> None:
    async with node(tmp_path / "a") as it:
        partial = await it.wants(CONTENT)
        sharing = sharing_of(partial)
        coming = _Coming(cast(Any, None), 1 << 2, 0, CUT, None)
        coming.arrival = arrival = Arrival(FILE, CUT, 2, parts_of(2), None)
        sharing.arrives(arrival)
        await partial.write(CUT.span(2)[0], CONTENT[slice(*CUT.span(2))])
        sharing.note(2, None, parts_of(2))
        with partial.reader() as file:
            _taking(sharing)._ended(coming)
            assert [one async for one in arrival.passed_on(file)]


async def test_a_piece_of_another_size_is_no_lie_while_only_the_crowd_said_how_long_the_file_is(tmp_path: Path) -> None:
    async with node(tmp_path / "a") as it:
        partial = await it.wants(CONTENT, size_known=False)
        sharing = sharing_of(partial)
        sharing.learn_size(len(CONTENT) - 1)
        assert sharing.cut is not None
        first, second = (_Coming(cast(Any, None), 1 << 19, 0, sharing.cut, None) for _ in range(2))
        head = Head(200, 256 * 1024, True, None, 0, {PIECE_INDEX: "19"})
        _taking(sharing)._watch(first, head, memoryview(b""))
        partial.set_size(len(CONTENT) - 1)
        with pytest.raises(RemoteProtocolError):
            _taking(sharing)._watch(second, head, memoryview(b""))


async def test_who_waits_when_a_file_becomes_whole_is_served_as_slots_come_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_ms = round(HANG_S * 1000)
    monkeypatch.setattr("p2pcdn.swarm.wire.messages.WAIT_MS_MAX", wait_ms)
    async with node(tmp_path / "a") as it:
        partial = await it.wants(CONTENT)
        sharing = sharing_of(partial)
        it.swarm._provider.outgoing.share(sharing)
        path, _, query = AskPiece(sharing.id, bitfield.encode(1, CUT.pieces), wait_ms, True).target().partition("?")
        answers: list[Response] = []

        async def child(number: int) -> None:
            answers.append(await ask(it.swarm, path, query=query, peer=f"192.0.2.{number}:1"))

        async with trio.open_nursery() as nursery:
            for number in range(7):
                nursery.start_soon(child, number)
            await trio.testing.wait_all_tasks_blocked(0.01)
            await partial.write(0, CONTENT)
            await partial.finish()
            sharing.adopt(manifest_of(FILE, CONTENT))
            sharing.note(0, None, parts_of(0), sharing.manifest)
            for served in range(7):
                with trio.fail_after(HANG_S):
                    await until(lambda served=served: len(answers) > served)
                release = answers[served].release
                assert answers[served].status == 200
                assert release is not None
                release()


async def test_who_waits_for_a_slot_that_another_file_had_is_served_when_it_comes_free(tmp_path: Path) -> None:
    others = [content_of(10 + number, MIB) for number in range(SLOTS // SLOTS_PER_FILE)]
    async with node(tmp_path / "a") as it:
        given = []
        for number, other in enumerate(others):
            await it.keep(other)
            for child in range(SLOTS_PER_FILE):
                given.append(await ask_piece(it.swarm, other, 0, peer=f"192.0.2.{10 * number + child}:1"))
        assert [one.status for one in given] == [200] * SLOTS
        partial = await it.wants(CONTENT)
        sharing = sharing_of(partial)
        it.swarm._provider.outgoing.share(sharing)
        await partial.write(0, CONTENT)
        sharing.adopt(manifest_of(FILE, CONTENT))
        sharing.note(0, None, parts_of(0), sharing.manifest)
        path, _, query = AskPiece(sharing.id, bitfield.encode(1, CUT.pieces), 1000, True).target().partition("?")
        answers: list[Response] = []

        async def waits() -> None:
            answers.append(await ask(it.swarm, path, query=query, peer="192.0.2.99:1"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits)
            await trio.testing.wait_all_tasks_blocked(0.01)
            release = given[0].release
            assert release is not None
            release()
            with trio.fail_after(HANG_S):
                await until(lambda: answers)
        assert answers[0].status == 200


async def test_one_host_cannot_keep_others_from_waiting(tmp_path: Path) -> None:
    async with node(tmp_path / "a") as it:
        sharing = sharing_of(await it.wants(CONTENT))
        it.swarm._provider.outgoing.share(sharing)
        path, _, query = AskPiece(sharing.id, bitfield.encode(1, CUT.pieces), 1000, True).target().partition("?")
        async with trio.open_nursery() as nursery:
            for _ in range(WAITING_PER_FILE):
                nursery.start_soon(partial_of(ask, it.swarm, path, query=query, peer="192.0.2.66:1"))
            nursery.start_soon(partial_of(ask, it.swarm, path, query=query, peer="192.0.2.1:1"))
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert sharing.waiters.of_host("192.0.2.1") == 1
            nursery.cancel_scope.cancel()
        assert not len(sharing.waiters)


async def test_the_time_in_our_own_queue_does_not_hide_that_a_peer_refused_at_once(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    refused: list[bool] = []

    class Sources:
        def __contains__(self, peer: object) -> bool:
            return True

        def had_nothing(self, peer: object, *, holds_some: bool, refused_to_wait: bool) -> None:
            refused.append(refused_to_wait)

        is_quiet = port_of = staticmethod(lambda peer: 0)
        is_reachable = staticmethod(lambda peer: True)
        blamed = staticmethod(lambda peer, passing_on: nullcontext())

    @asynccontextmanager
    async def slot(address: object) -> AsyncIterator[None]:
        await trio.sleep(1.0)
        yield

    @asynccontextmanager
    async def refuses(*asked: object, **how: object) -> AsyncIterator[Answer]:
        yield Answer(409, memoryview(b""), True)

    async with open_store(tmp_path) as store:
        sharing = sharing_of(await store.grow(FILE, len(CONTENT), PUBLIC))
        tools = cast(Any, SimpleNamespace(exchange=SimpleNamespace(slot=slot, ask=refuses)))
        nothing = cast(Any, None)
        taking = Taking(sharing, cast(Any, Sources()), nothing, nothing, tools)
        await taking.take(Peer(Address("192.0.2.1", 1), "configured"), 1, 400)
    assert refused == [True]


def _taking(sharing: Sharing) -> Taking:
    nothing = cast(Any, SimpleNamespace())
    return Taking(sharing, nothing, nothing, nothing, nothing)


async def test_bytes_that_came_under_another_size_do_not_stay_in_the_place_of_right_ones(tmp_path: Path) -> None:
    async with node(tmp_path / "a") as it:
        partial = await it.wants(CONTENT, size_known=False)
        sharing = sharing_of(partial)
        sharing.learn_size(len(CONTENT) - MIB)
        await partial.write(0, bytes(MIB), provisional=True)
        partial.set_size(len(CONTENT))
        sharing.learn_size(len(CONTENT))
        assert not sharing.here
        await sharing.forget_misled()
        await partial.write(0, CONTENT, provisional=True)
        assert (await partial.finish()).size_bytes == len(CONTENT)


async def test_who_waits_behind_an_upload_limit_is_served_when_it_allows_more(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with node(tmp_path / "a") as it:
        provider, partial = it.swarm._provider, await it.wants(CONTENT)
        it.swarm.mind(Manners(upload_limit_bytes_s=MIB))
        sharing = sharing_of(partial)
        provider.outgoing.share(sharing)
        path, _, query = AskPiece(sharing.id, bitfield.encode(1, CUT.pieces), 2000, True).target().partition("?")
        answers: list[Response] = []

        async def waits() -> None:
            answers.append(await ask(it.swarm, path, query=query, peer="192.0.2.99:1"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits)
            await trio.sleep(0.01)
            provider._slots.spend(MIB)
            await partial.write(0, CONTENT[: MIB // 4])
            sharing.adopt(manifest_of(FILE, CONTENT))
            sharing.note(0, None, parts_of(0), sharing.manifest)
        assert answers[0].status == 200


def test_who_claims_to_lack_most_is_not_always_served_first() -> None:
    waiters, greedy = Waiters(), Waiter("", knows=True, host="192.0.2.66")
    greedy.want = (1 << 100) - 1
    others = [Waiter("", knows=True, host=f"192.0.2.{number}") for number in (1, 2)]
    others[0].want, others[1].want = 0b11, 0b1
    for one in (greedy, *others):
        waiters.join(one)
    assert waiters.first(lambda one: 1, lambda host: 0) is greedy
    assert waiters.first(lambda one: 1, lambda host: 0) is others[0], "the last one that was served comes later"
    assert waiters.first(lambda one: 1, lambda host: 2 - (host == others[1].host)) is others[1]
    assert waiters.first(lambda one: int(one is greedy), lambda host: 3) is greedy
    assert waiters.first(lambda one: 0, lambda host: 0) is None


async def test_one_that_breaks_off_again_and_again_is_left_though_it_gives_between(tmp_path: Path) -> None:
    async with node(tmp_path / "a") as it:
        sources = Sources(sharing_of(await it.wants(CONTENT)), it.swarm._tools, lambda peer, lied: None)
        sick, sound = (Peer(Address(f"192.0.2.{number}", 1), "configured") for number in (1, 2))
        sources.add(sick)
        sources.add(sound)
        for index in range(10 * BROKEN_OFF_MAX):
            sources.broke_off(sick, "it broke off")
            sources.gave(sick, index, 0.01)
            if index % PIECES_PER_BREAK == 0:
                sources.broke_off(sound, "its own giver died")
            sources.gave(sound, index, 0.01)
        assert sick not in sources
        assert sound in sources
