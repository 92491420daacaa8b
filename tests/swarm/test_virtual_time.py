"""Whole swarms without sockets, on virtual time: how long a silent neighbour costs, to the second."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial as bind
from pathlib import Path

import pytest
import trio
import trio.testing

from p2pcdn.counters import Counters
from p2pcdn.digest import Sha256
from p2pcdn.errors import Unavailable
from p2pcdn.http1 import Handler, Request, Response, serve_connection
from p2pcdn.store import Store
from p2pcdn.swarm import Swarm
from p2pcdn.swarm.filling.download import LOOK_EVERY_S
from p2pcdn.swarm.filling.hope import TURN_TOLD_S
from p2pcdn.swarm.filling.reading import Sink
from p2pcdn.swarm.neighbours.conversation import NO_PROGRESS_S
from p2pcdn.swarm.neighbours.exchange import DIAL_TIME_S
from p2pcdn.swarm.pieces.manifest import cut_of
from p2pcdn.swarm.wire import bitfield
from p2pcdn.swarm.wire.advice import Advice, AskCrowd
from p2pcdn.swarm.wire.messages import HOLDS, PIECE_INDEX, AskPiece, read_target
from p2pcdn.world import Sighting
from tests.swarm.nodes import MIB, PUBLIC, content_of
from tests.worlds import InlineThreads, VirtualClock, open_store

CONTENT = content_of(1, 10 * MIB)


class Wires:
    """A network in memory: who listens at which host, and who has fallen silent there."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.listening: dict[str, Swarm] = {}
        self.deaf: set[str] = set()  # nobody answers the dial
        self.silent: set[str] = set()  # takes connections and says nothing
        self.dialled: list[str] = []

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        self.dialled.append(host)
        if host in self.deaf:
            await trio.sleep_forever()
        if host not in self.listening:
            raise ConnectionRefusedError(111, "Connection refused")
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self._serve, host, theirs)
        return ours

    async def _serve(self, host: str, stream: trio.abc.Stream) -> None:
        if host in self.silent:
            await trio.sleep_forever()
        await serve_connection(stream, self.listening[host].answer, cross_site=True)


def swarm_of(store: Store, wires: Wires, seed: int, *hosts: str) -> Swarm:
    return Swarm(
        store=store,
        network=wires,
        discoveries=(),
        clock=VirtualClock(),
        threads=InlineThreads(),
        random=random.Random(seed),
        counters=Counters(),
        static_peers=[Sighting(host, 7273) for host in hosts],
        version="1",
    )


@asynccontextmanager
async def two(tmp_path: Path) -> AsyncIterator[tuple[Wires, Swarm, Store]]:
    """A node at host a that holds CONTENT, and one that knows it: the second's swarm and store."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    async with (
        open_store(tmp_path / "a") as first,
        open_store(tmp_path / "b") as second,
        trio.open_nursery() as nursery,
    ):
        wires = Wires(nursery)
        held = await first.grow(Sha256.of(CONTENT), len(CONTENT), PUBLIC)
        await held.write(0, CONTENT)
        await held.finish()
        giver = wires.listening["a"] = swarm_of(first, wires, 1)
        taker = swarm_of(second, wires, 2, "a")
        await nursery.start(bind(giver.run, peer_port=7273))
        await nursery.start(bind(taker.run, peer_port=7273))
        await trio.sleep(1)
        yield wires, taker, second
        nursery.cancel_scope.cancel()


async def test_a_file_crosses_streams_that_have_no_descriptor(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with two(tmp_path) as (_, taker, store):
        partial = await store.grow(Sha256.of(CONTENT), len(CONTENT), PUBLIC)
        await taker.fill(partial)
        await partial.finish()


@pytest.mark.parametrize(("how", "at_most_s"), [("silent", NO_PROGRESS_S), ("deaf", DIAL_TIME_S)])
async def test_a_neighbour_that_falls_silent_costs_its_watchdog_once_for_fifty_files(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, how: str, at_most_s: float
) -> None:
    async with two(tmp_path) as (wires, taker, store):
        getattr(wires, how).add("a")
        await taker._exchange.close()  # what was idle is gone, too

        async def want(seed: int) -> None:
            partial = await store.grow(Sha256.of(content_of(seed, 10)), 10, PUBLIC)
            with pytest.raises(Unavailable):
                await taker.fill(partial)

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for seed in range(50):
                nursery.start_soon(want, seed)
        assert trio.current_time() - began <= at_most_s + 0.01


@pytest.mark.parametrize("boasts", [False, True], ids=["it has nothing", "it has ever more, and never what is wanted"])
async def test_a_holder_that_only_says_that_it_has_nothing_costs_three_seconds(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, boasts: bool
) -> None:
    async with two(tmp_path) as (wires, taker, store):
        honest = wires.listening["a"].answer
        pieces, met_at = cut_of(len(CONTENT)).pieces, trio.current_time()

        def stingy(request: Request) -> Response | Awaitable[Response]:
            """One piece more each second."""
            if not request.path.endswith("/piece"):
                return honest(request)
            holds = bitfield.encode((2 << int(trio.current_time() - met_at) % pieces) - 1, pieces)
            return Response(409, ((HOLDS, holds),) if boasts else ())

        wires.listening["a"].answer = stingy
        await taker._exchange.close()  # or it would be asked over a connection that began before
        partial = await store.grow(Sha256.of(CONTENT), len(CONTENT), PUBLIC)

        async def read_origin(start: int, end: int | None, sink: Sink) -> None:
            await sink(start, CONTENT[start:end])

        began = trio.current_time()
        await taker.fill(partial, read_origin)
        assert NO_PROGRESS_S <= trio.current_time() - began <= NO_PROGRESS_S + 2 * LOOK_EVERY_S
        await partial.finish()


async def test_bytes_that_nothing_proves_yet_are_waited_for_once_as_long(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """It gives its pieces just quickly enough for the watchdog, and names no parts: all of it may be a lie."""
    async with two(tmp_path) as (wires, taker, store):
        honest = wires.listening["a"].answer

        async def dripping() -> AsyncIterator[bytes]:
            for _ in range(16):
                yield bytes(MIB // 16)
                await trio.sleep(NO_PROGRESS_S / 5)

        def slow(request: Request) -> Response | Awaitable[Response]:
            if not request.path.endswith("/piece"):
                return honest(request)
            ask = read_target(request.path, request.query)
            assert isinstance(ask, AskPiece)
            index = bitfield.lowest(bitfield.decode(ask.want, cut_of(len(CONTENT)).pieces))
            return Response(200, ((PIECE_INDEX, str(index)),), dripping(), size_bytes=MIB)

        wires.listening["a"].answer = slow
        await taker._exchange.close()
        partial = await store.grow(Sha256.of(CONTENT), len(CONTENT), PUBLIC)

        async def read_origin(start: int, end: int | None, sink: Sink) -> None:
            await sink(start, CONTENT[start:end])

        began = trio.current_time()
        await taker.fill(partial, read_origin)
        assert NO_PROGRESS_S < trio.current_time() - began <= 2 * NO_PROGRESS_S + 2 * LOOK_EVERY_S
        await partial.finish()


@pytest.mark.parametrize(
    ("reader", "at_most_s"),
    [(False, NO_PROGRESS_S), (True, NO_PROGRESS_S + TURN_TOLD_S)],
    ids=["nobody reads", "it reads itself"],
)
async def test_a_tracker_that_lets_nobody_read_costs_a_bounded_time(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, reader: bool, at_most_s: float
) -> None:
    """It says so of every file; of some it is the tracker, of the others we are."""
    said = Advice(parents=("",) * 3, makers=((bytes(32), ""),), again_ms=1000) if reader else Advice(again_ms=1000)
    async with two(tmp_path) as (wires, taker, store):

        def lying(request: Request) -> Response | Awaitable[Response]:
            if request.path.startswith("/v1/crowd/"):
                return Response(200, (), said.encode())
            return Response(409) if request.path.endswith("/piece") else Response(404)

        wires.listening["a"].answer = lying
        await taker._exchange.close()
        took: list[float] = []
        for seed in range(20, 26):
            content = content_of(seed, 2 * MIB)
            partial = await store.grow(Sha256.of(content), len(content), PUBLIC)

            async def read_origin(start: int, end: int | None, sink: Sink, content: bytes = content) -> None:
                await sink(start, content[start:end])

            began = trio.current_time()
            await taker.fill(partial, read_origin)
            took.append(trio.current_time() - began)
        assert max(took) <= at_most_s + 4 * LOOK_EVERY_S
        assert max(took) >= NO_PROGRESS_S, "it was the tracker of one of them"


async def test_who_tells_that_the_first_tracker_has_gone_is_sent_to_the_second(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_store(tmp_path) as store, trio.open_nursery() as nursery:
        wires = Wires(nursery)
        room = {host: swarm_of(store, wires, ord(host), *"abc".replace(host, "")) for host in "abc"}
        wires.listening |= room
        for swarm in room.values():
            await nursery.start(bind(swarm.run, peer_port=7273))
        await trio.sleep(1)
        ask = AskCrowd("ab" * 32, "0f" * 16, 7273, bytes(32))
        third = next(one for one in room.values() if one._ranks(ask.id)[2] is None)
        first, second = (str(peer.address) for peer in third._ranks(ask.id) if peer is not None)
        for left, elsewhere in (((), first), ((first,), second), ((first, second), "")):
            assert third._advise(replace(ask, left=left), "d:7273").elsewhere == elsewhere
        nursery.cancel_scope.cancel()


async def test_a_neighbour_that_comes_back_is_found_again(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with two(tmp_path) as (wires, taker, store):
        wires.silent.add("a")
        await taker._exchange.close()
        partial = await store.grow(Sha256.of(CONTENT), len(CONTENT), PUBLIC)
        with pytest.raises(Unavailable):
            await taker.fill(partial)
        wires.silent.clear()
        await trio.sleep(30)
        await taker.fill(partial)
        await partial.finish()


async def test_a_node_without_neighbours_dials_ever_less_often(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_store(tmp_path) as store, trio.open_nursery() as nursery:
        wires = Wires(nursery)
        await nursery.start(bind(swarm_of(store, wires, 3, "nobody").run, peer_port=1))
        await trio.sleep(2)
        assert len(wires.dialled) >= 3, "two machines that start together meet soon"
        await trio.sleep(3600)
        assert len(wires.dialled) < 250
        nursery.cancel_scope.cancel()


async def test_who_waits_for_another_to_give_a_small_file_is_not_taken_for_silent(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    content, names = b"small", ("a", "b", "c")
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        wires, swarms = Wires(nursery), dict[str, Swarm]()
        for number, name in enumerate(names):
            (tmp_path / name).mkdir()
            store = await stack.enter_async_context(open_store(tmp_path / name))
            if name != "c":
                await store.keep_small(content, PUBLIC, expected=Sha256.of(content))
            swarms[name] = wires.listening[name] = swarm_of(store, wires, number, *names[:2])
            await nursery.start(bind(swarms[name].run, peer_port=7273))
        await trio.sleep(1)
        asked: list[str] = []

        def mute(name: str, honest: Handler) -> Handler:
            """Whoever is asked to give it first says nothing; both say that they have it."""

            async def nothing() -> Response:
                await trio.sleep_forever()
                raise AssertionError

            def answer(request: Request) -> Response | Awaitable[Response]:
                if request.path.startswith("/v1/small/"):
                    asked.append(name)
                return nothing() if asked[:1] == [name] else honest(request)

            return answer

        for name in names[:2]:
            wires.listening[name].answer = mute(name, wires.listening[name].answer)
        await swarms["c"]._exchange.close()
        await swarms["c"].read(Sha256.of(content), 100)
        assert {str(peer.address)[0] for peer in swarms["c"]._peers if not peer.living} == set(asked[:1])
        assert await swarms["c"].read(Sha256.of(content), 100) == content
        nursery.cancel_scope.cancel()
