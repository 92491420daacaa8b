"""Pieces that are on their way are asked of nobody else, until their giver lies, breaks off, or takes too long."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial as bind
from pathlib import Path

import trio
import trio.testing

from p2pcdn.digest import Sha256
from p2pcdn.group import Device, Identity
from p2pcdn.http1 import Request, Response
from p2pcdn.store import Partial
from p2pcdn.swarm import Swarm
from p2pcdn.swarm.neighbours.conversation import NO_PROGRESS_S
from p2pcdn.swarm.pieces.manifest import cut_of, part_hashes, piece_hash, prove_piece
from p2pcdn.swarm.wire import bitfield
from p2pcdn.swarm.wire.advice import Advice
from p2pcdn.swarm.wire.messages import PARTS, PIECE_INDEX, PROOF, PUBLIC_KEY, AskPiece, Hello, blob_id, read_target
from tests.swarm.nodes import MIB, PUBLIC, content_of
from tests.swarm.test_virtual_time import Wires, swarm_of
from tests.worlds import open_store

CUT = cut_of(8 * MIB)
HASH_SIZE_BYTES = 32


class Giver:
    """A peer by script: it is the tracker, and a reader that has signed and gives every piece, in its own way."""

    def __init__(self, name: str) -> None:
        self.boot = name * 32
        self.identity = Identity(Device.from_seed(name.encode() * 32))
        self.advice = Advice()
        self.content = b""
        self.gives: Callable[[AskPiece, int], Response | Awaitable[Response]] = lambda ask, index: self.right(index)

    def answer(self, request: Request) -> Response | Awaitable[Response]:
        if request.path == "/v1/hello":
            return Response(200, (), Hello("giver", self.boot, "1").encode())
        if request.path.startswith("/v1/crowd/"):
            return Response(200, (), self.advice.encode())
        if not request.path.endswith("/piece"):
            return Response(404)
        ask = read_target(request.path, request.query)
        assert isinstance(ask, AskPiece)
        return self.gives(ask, bitfield.lowest(bitfield.decode(ask.want, CUT.pieces)))

    def right(self, index: int) -> Response:
        content = self.content[slice(*CUT.span(index))]
        return Response(200, self.head(index, part_hashes(Sha256.of(self.content), CUT, index, content)), content)

    def head(self, index: int, parts: bytes) -> list[tuple[str, str]]:
        proof = prove_piece(self.identity, piece_hash(Sha256.of(self.content), CUT, index, parts))
        return [(PIECE_INDEX, str(index)), (PROOF, proof.encode()), (PARTS, parts.hex())]


@asynccontextmanager
async def room(directory: Path) -> AsyncIterator[tuple[Giver, Giver, Swarm, Partial]]:
    """Two that give; a node that cannot read the origin, and the file that it wants. The first is the parent of class
    0, the second of the others."""
    first, second = Giver("a"), Giver("b")
    advice = Advice(
        parents=("a:7273", "b:7273", "b:7273"),
        makers=((first.identity.device.public, "a:7273"), (second.identity.device.public, "b:7273")),
        size_bytes=CUT.size_bytes,
        reach=CUT.pieces,
    )
    async with open_store(directory) as store, trio.open_nursery() as nursery:
        wires = Wires(nursery)
        wires.listening |= {"a": first, "b": second}  # type: ignore[dict-item]
        taker = swarm_of(store, wires, 2, "a", "b")
        await nursery.start(bind(taker.run, peer_port=7273))
        await trio.sleep(1)
        contents = (content_of(seed, CUT.size_bytes) for seed in range(9))
        content = next(content for content in contents if not _is_tracker(taker, content))
        for giver in (first, second):
            giver.content, giver.advice = content, advice
        yield first, second, taker, await store.grow(Sha256.of(content), len(content), PUBLIC)
        nursery.cancel_scope.cancel()


def _is_tracker(taker: Swarm, content: bytes) -> bool:
    """Whether it asks itself whom to ask for this file."""
    return taker._ranks(blob_id(PUBLIC_KEY, Sha256.of(content)))[0] is None


async def test_a_piece_whose_giver_names_too_many_parts_is_asked_of_another(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with room(tmp_path) as (first, _, taker, partial):

        def lies(ask: AskPiece, index: int) -> Response:
            start, end = CUT.span(index)
            return Response(200, first.head(index, bytes(9 * HASH_SIZE_BYTES)), bytes(end - start))

        first.gives = lies
        began = trio.current_time()
        await taker.fill(partial)
        assert trio.current_time() - began < NO_PROGRESS_S
        assert (await partial.finish()).sha256 == Sha256.of(first.content)


async def test_a_piece_that_stops_on_its_way_to_a_helper_is_asked_of_another(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with room(tmp_path) as (first, second, taker, partial):
        stopped: list[int] = []

        async def late(index: int) -> Response:
            await trio.sleep(0.1)
            return first.right(index)

        async def stopping(index: int) -> AsyncIterator[bytes]:
            yield first.content[slice(*CUT.span(index))][:-1]
            await trio.sleep_forever()

        def slow(ask: AskPiece, index: int) -> Response | Awaitable[Response]:
            """Whoever helps is not asked to wait for us; the first one waits all the same."""
            if ask.wait_ms or stopped:
                return late(index)
            stopped.append(index)
            start, end = CUT.span(index)
            return Response(200, first.right(index).headers, stopping(index), size_bytes=end - start)

        first.gives = slow
        second.gives = lambda ask, index: second.right(index) if ask.wait_ms else slow(ask, index)
        began = trio.current_time()
        await taker.fill(partial)
        assert stopped, "nobody helped"
        assert trio.current_time() - began < NO_PROGRESS_S


async def test_who_gave_all_of_a_piece_is_not_left_as_silent_while_our_disk_is_slow(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with room(tmp_path) as (first, second, taker, partial), trio.open_nursery() as nursery:
        async with partial._turn_to_write():
            nursery.start_soon(taker.fill, partial)
            await trio.sleep(0.1)
            first.advice = second.advice = replace(first.advice, parents=("b:7273",) * 3)
            await trio.sleep(2)
        await trio.sleep(1)
        assert [one.wrong for one in taker.peers()] == [None, None]
