"""Nodes of this room's tests: a real store, the real server on loopback, a swarm; and peers that follow a script."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial as bind
from pathlib import Path

import trio
import trio.testing

from p2pcdn.counters import Counters
from p2pcdn.digest import Sha256
from p2pcdn.http1 import Request, Response, serve
from p2pcdn.store import Blob, Origin, Partial, Store, StoreLimits
from p2pcdn.swarm import Patience, Swarm
from p2pcdn.swarm.pieces.manifest import cut_of, manifest_of
from p2pcdn.swarm.wire import bitfield
from p2pcdn.swarm.wire.messages import PUBLIC_KEY, AskPiece, Hello, blob_id, read_target
from p2pcdn.world import Discovery, Share, Sighting
from p2pcdn_daemon.doors.clock import WallClock
from p2pcdn_daemon.doors.disk import RealDisk
from p2pcdn_daemon.doors.network import TcpNetwork
from p2pcdn_daemon.doors.threads import TrioThreads

MIB = 1024 * 1024
PUBLIC = Origin("thing-1.0-py3-none-any.whl", "thing", "0123456789abcdef", "lan")
# A watchdog that bites soon, for that is what is tested; but a busy machine may stop for half a second by itself.
SHORT = Patience(no_progress_s=1.0, dial_time_s=1.0)
# Everything here takes milliseconds; beyond this it hangs.
HANG_S = 20.0


async def until(true: Callable[[], object]) -> None:
    """Gives the others their turn until it is so."""
    with trio.fail_after(HANG_S):
        while not true():
            await trio.testing.wait_all_tasks_blocked(0.001)


@dataclass
class TestNode:
    """One node: what it holds, its swarm, and where neighbours ask it."""

    __test__ = False

    store: Store
    swarm: Swarm
    counters: Counters
    port: int = 0
    asked: list[str] = field(default_factory=list)

    async def keep(self, content: bytes, origin: Origin = PUBLIC) -> Blob:
        partial = await self.store.grow(Sha256.of(content), len(content), origin)
        await partial.write(0, content)
        return await partial.finish()

    async def wants(self, content: bytes, *, size_known: bool = True, origin: Origin = PUBLIC) -> Partial:
        return await self.store.grow(Sha256.of(content), len(content) if size_known else None, origin)

    def sighting(self) -> Sighting:
        return Sighting("127.0.0.1", self.port)


@asynccontextmanager
async def node(
    directory: Path,
    *,
    peers: Sequence[Sighting] = (),
    discoveries: Sequence[Discovery] = (),
    patience: Patience = SHORT,
    seed: int | None = None,
    store_size_bytes: int = 1 << 40,
    shares: Mapping[str, Share] | None = None,
) -> AsyncIterator[TestNode]:
    """A running node; its configured peers have been greeted, or have failed to answer."""
    seed = sum(directory.name.encode()) if seed is None else seed  # each node draws a name of its own
    threads = TrioThreads()
    store = await Store.open(
        directory,
        disk=RealDisk(),
        threads=threads,
        clock=WallClock(),
        random=random.Random(seed),
        limits=StoreLimits(store_size_bytes, None, 1 << 30, 0),
    )
    counters = Counters()
    swarm = Swarm(
        store=store,
        network=TcpNetwork(),
        discoveries=discoveries,
        clock=WallClock(),
        threads=threads,
        random=random.Random(seed + 100),
        counters=counters,
        static_peers=peers,
        version="0.1",
        shares=shares or {},
        patience=patience,
    )
    it = TestNode(store, swarm, counters)
    try:
        async with trio.open_nursery() as nursery:

            def answer(request: Request) -> Response | Awaitable[Response]:
                it.asked.append(request.path)
                return swarm.answer(request)

            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            it.port = listeners[0].socket.getsockname()[1]
            await nursery.start(bind(swarm.run, peer_port=it.port))
            await nursery.start(bind(serve, listeners, answer, cross_site=True))
            await until(lambda: all(peer.last_seen_s is not None or peer.wrong for peer in swarm.peers()))
            yield it
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await store.close()


@dataclass
class Fake:
    """A peer by script: it says hello, and `script` gives the raw bytes for every other path; None says nothing."""

    port: int
    script: Callable[[str], bytes | None]
    asked: list[str] = field(default_factory=list)

    def sighting(self) -> Sighting:
        return Sighting("127.0.0.1", self.port)


@asynccontextmanager
async def fake(
    script: Callable[[str], bytes | None], *, boot: str = "ab" * 16, answers_after_s: float = 0.0
) -> AsyncIterator[Fake]:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    it = Fake(listeners[0].socket.getsockname()[1], script)

    async def speak(stream: trio.SocketStream) -> None:
        seen = b""
        try:
            async for chunk in stream:
                seen += chunk
                while b"\r\n\r\n" in seen:
                    head, _, seen = seen.partition(b"\r\n\r\n")
                    path = head.split(b" ")[1].decode()
                    it.asked.append(path)
                    if path.startswith(("/v1/crowd/", "/v1/peers")):
                        answer: bytes | None = NOT_FOUND
                    else:
                        answer = ok(Hello("liar", boot, "0").encode()) if "/hello" in path else it.script(path)
                    await trio.sleep(answers_after_s)
                    if answer is None:
                        await trio.sleep_forever()
                    elif answer == b"":
                        return
                    else:
                        await stream.send_all(answer)
        except trio.BrokenResourceError:
            return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bind(trio.serve_listeners, speak, listeners))
        yield it
        nursery.cancel_scope.cancel()


def ok(body: bytes, head: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)


NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"


def piece_path(content: bytes, *wanted: int) -> tuple[str, str]:
    """The path and the query of a question for pieces of a whole file, asked by one who knows its manifest."""
    cut = cut_of(len(content))
    want = bitfield.encode(sum(1 << index for index in wanted), max(cut.pieces, *wanted, 1))
    path, _, query = AskPiece(blob_id(PUBLIC_KEY, Sha256.of(content)), want, 0, True).target().partition("?")
    return path, query


def honest(content: bytes, *, named: bytes | None = None) -> Callable[[str], bytes]:
    """A script that gives `content`, for the file `named` where that is another one."""
    sha256 = Sha256.of(content if named is None else named)
    manifest = manifest_of(sha256, content)
    id_ = blob_id(PUBLIC_KEY, sha256)

    def script(path: str) -> bytes:
        if path == f"/v1/blob/{id_}/manifest":
            return ok(manifest.encode())
        if path.startswith(f"/v1/blob/{id_}/piece?"):
            ask = read_target(*path.split("?"))
            assert isinstance(ask, AskPiece)
            index = bitfield.lowest(bitfield.decode(ask.want, manifest.pieces))
            start, end = manifest.cut.span(index)
            return ok(content[start:end], b"piece: %d\r\nproof: manifest %b\r\n" % (index, manifest.name.encode()))
        return NOT_FOUND

    return script


def content_of(seed: int, size_bytes: int) -> bytes:
    return random.Random(seed).randbytes(size_bytes)
