"""One blob from a neighbour over loopback, verified: our exchange beside httpx, in alternating rounds.

    python benchmarks/bench_peers.py [--megabytes 256] [--rounds 5]

A round moves the blob five ways from one provider (a process of its own): the peers' exchange and httpx, both with
three requests under way and each piece checked against the manifest, bytes then dropped; `bare`, the least that this
machine asks for the same: two blocking sockets, sendfile at one end, one buffer and the same check at the other; the
whole of what a node does, `fill` into the store and `finish` with sha256, BLAKE3 and fsync; and `bare kept`, the least
for that: `bare`, each piece also written to a new file, hashed as a node's store hashes it, and the file synced. Prints
medians and the ratios to httpx.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial as bind
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "daemon")]

import httpx  # noqa: E402
import trio  # noqa: E402
from blake3 import blake3  # noqa: E402

from p2pcdn.counters import Counters  # noqa: E402
from p2pcdn.digest import Sha256, TwoHashes  # noqa: E402
from p2pcdn.http1 import serve  # noqa: E402
from p2pcdn.store import Origin, Store, StoreLimits  # noqa: E402
from p2pcdn.swarm import Patience, Swarm  # noqa: E402
from p2pcdn.swarm.neighbours.exchange import Exchange  # noqa: E402
from p2pcdn.swarm.neighbours.peer import Address  # noqa: E402
from p2pcdn.swarm.pieces.manifest import Manifest, manifest_of  # noqa: E402
from p2pcdn.swarm.wire import bitfield  # noqa: E402
from p2pcdn.swarm.wire.messages import PUBLIC_KEY, AskPiece, blob_id  # noqa: E402
from p2pcdn.world import Sighting  # noqa: E402
from p2pcdn_daemon.doors.clock import WallClock  # noqa: E402
from p2pcdn_daemon.doors.disk import RealDisk  # noqa: E402
from p2pcdn_daemon.doors.network import TcpNetwork  # noqa: E402
from p2pcdn_daemon.doors.threads import TrioThreads  # noqa: E402
from p2pcdn_daemon.serve.allocator import keep_little  # noqa: E402

ORIGIN = Origin("big-1.0-py3-none-any.whl", "big", "0123456789abcdef", "lan")
WORKERS = 3
# What the bare provider is asked for: where a slice begins and ends.
SPAN = struct.Struct("!QQ")
Way = Callable[[], Awaitable[None]]


class Ports(NamedTuple):
    """Of the provider: the peer face's, and that of its bare socket."""

    peers: int
    bare: int


def content_of(size_bytes: int) -> bytes:
    return random.Random(7).randbytes(1 << 20) * (size_bytes >> 20)


async def open_store(directory: Path) -> Store:
    return await Store.open(
        directory,
        disk=RealDisk(),
        threads=TrioThreads(),
        clock=WallClock(),
        random=random.SystemRandom(),
        limits=StoreLimits(1 << 42, None, 1 << 30, 0),
    )


def swarm_of(store: Store, peers: list[Sighting]) -> Swarm:
    return Swarm(
        store=store,
        network=TcpNetwork(),
        discoveries=(),
        clock=WallClock(),
        threads=TrioThreads(),
        random=random.SystemRandom(),
        counters=Counters(),
        static_peers=peers,
        version="bench",
    )


# --- the provider, in a process of its own


async def provide(directory: Path, size_bytes: int) -> None:
    content = content_of(size_bytes)
    store = await open_store(directory)
    held = await store.grow(Sha256.of(content), size_bytes, ORIGIN)
    await held.write(0, content)
    await held.finish()
    del content
    swarm = swarm_of(store, [])
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        await nursery.start(bind(swarm.run, peer_port=0))
        await nursery.start(bind(serve, listeners, swarm.answer, cross_site=True))
        bare = socket.create_server(("127.0.0.1", 0))
        blob = store.blob(held.sha256) if held.sha256 is not None else None
        assert blob is not None
        threading.Thread(target=give_bare, args=(bare, (await blob.open()).fileno()), daemon=True).start()
        print(listeners[0].socket.getsockname()[1], bare.getsockname()[1], flush=True)
        # Each line asks for the CPU seconds until now.
        while await trio.to_thread.run_sync(sys.stdin.readline):
            print(cpu_s(), flush=True)
        nursery.cancel_scope.cancel()
    await store.close()


def give_bare(listening: socket.socket, source: int) -> None:
    """Sends the slices of the file that it is asked for: where each begins and ends, in sixteen bytes."""
    while True:
        connection, _ = listening.accept()
        with connection:
            while question := connection.recv(SPAN.size, socket.MSG_WAITALL):
                offset, end = SPAN.unpack(question)
                while offset < end:
                    offset += os.sendfile(connection.fileno(), source, offset, end - offset)


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# --- the five ways


async def by_bare(ports: Ports, manifest: Manifest) -> None:
    take_bare(ports, manifest, lambda start, piece: None)


async def by_bare_kept(ports: Ports, manifest: Manifest) -> None:
    hashes = TwoHashes()
    with tempfile.TemporaryFile(dir=ROOT) as file:

        def keep(start: int, piece: memoryview) -> None:
            os.pwrite(file.fileno(), piece, start)
            hashes.update(piece)
            blake3(piece).digest()  # what the journal of a growing file knows a piece by

        take_bare(ports, manifest, keep)
        assert hashes.sha256() == manifest.sha256
        hashes.blob_name()
        os.fsync(file.fileno())


def take_bare(ports: Ports, manifest: Manifest, take: Callable[[int, memoryview], None]) -> None:
    buffer = memoryview(bytearray(manifest.cut.piece_size_bytes))
    with socket.create_connection(("127.0.0.1", ports.bare)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for index in range(manifest.pieces):
            start, end = manifest.cut.span(index)
            connection.sendall(SPAN.pack(start, end))
            size_bytes = connection.recv_into(buffer, end - start, socket.MSG_WAITALL)
            assert manifest.matches(index, buffer[:size_bytes])
            take(start, buffer[:size_bytes])


async def by_exchange(ports: Ports, manifest: Manifest) -> None:
    exchange = Exchange(TcpNetwork(), Patience())
    address, id_, left = (
        Address("127.0.0.1", ports.peers),
        blob_id(PUBLIC_KEY, manifest.sha256),
        iter(range(manifest.pieces)),
    )

    async def work() -> None:
        for index in left:
            start, end = manifest.cut.span(index)
            async with exchange.ask(address, piece(id_, index, manifest), end - start) as answer:
                assert manifest.matches(index, answer.body)

    await crowd(work)
    await exchange.close()


def piece(id_: str, index: int, manifest: Manifest) -> AskPiece:
    return AskPiece(id_, bitfield.encode(1 << index, manifest.pieces), 0, True)


async def by_httpx(ports: Ports, manifest: Manifest) -> None:
    id_, left = blob_id(PUBLIC_KEY, manifest.sha256), iter(range(manifest.pieces))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports.peers}", trust_env=False) as client:

        async def work() -> None:
            for index in left:
                answer = await client.get(piece(id_, index, manifest).target())
                assert manifest.matches(index, answer.content)

        await crowd(work)


async def by_node(ports: Ports, manifest: Manifest) -> None:
    with tempfile.TemporaryDirectory(dir=ROOT) as directory:
        store = await open_store(Path(directory) / "store")
        swarm = swarm_of(store, [Sighting("127.0.0.1", ports.peers)])
        async with trio.open_nursery() as nursery:
            await nursery.start(bind(swarm.run, peer_port=1))
            growing = await store.grow(manifest.sha256, manifest.size_bytes, ORIGIN)
            await swarm.fill(growing)
            await growing.finish()
            nursery.cancel_scope.cancel()
        await store.close()


async def crowd(work: Way) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(WORKERS):
            nursery.start_soon(work)


WAYS = {"exchange": by_exchange, "bare": by_bare, "httpx": by_httpx, "node": by_node, "bare kept": by_bare_kept}


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--megabytes", type=int, default=256)
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--provide", type=Path, help=argparse.SUPPRESS)
    asked = words.parse_args()
    keep_little()  # as a node does
    size_bytes = asked.megabytes << 20
    if asked.provide:
        trio.run(provide, asked.provide, size_bytes)
        return
    content = content_of(size_bytes)
    manifest = manifest_of(Sha256.of(content), content)
    del content
    with tempfile.TemporaryDirectory(dir=ROOT) as directory:
        compare(manifest, Path(directory) / "store", asked.megabytes, asked.rounds)


def compare(manifest: Manifest, directory: Path, megabytes: int, rounds: int) -> None:
    command = [sys.executable, __file__, "--provide", str(directory), "--megabytes", str(megabytes)]
    provider = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert provider.stdin is not None
    assert provider.stdout is not None
    ports = Ports(*map(int, provider.stdout.readline().split()))

    def provider_cpu_s() -> float:
        assert provider.stdin is not None
        assert provider.stdout is not None
        provider.stdin.write("\n")
        provider.stdin.flush()
        return float(provider.stdout.readline())

    gigabytes = manifest.size_bytes / 1e9
    seen: dict[str, list[tuple[float, float, float]]] = {name: [] for name in WAYS}
    for round_ in range(rounds + 1):
        # Back and forth, for who comes after one that kept its bytes writes to memory that the system has at hand.
        for name, way in list(WAYS.items())[:: -1 if round_ % 2 else 1]:
            theirs, ours, began = provider_cpu_s(), cpu_s(), time.perf_counter()
            trio.run(way, ports, manifest)
            took = time.perf_counter() - began
            figures = (
                manifest.size_bytes / 1e6 / took,
                (cpu_s() - ours) / gigabytes,
                (provider_cpu_s() - theirs) / gigabytes,
            )
            if round_:  # the first one warms up, and makes the manifest
                seen[name].append(figures)
    provider.stdin.close()
    provider.wait()
    medians = {name: [statistics.median(one) for one in zip(*figures, strict=True)] for name, figures in seen.items()}
    print(f"{megabytes} MiB in {manifest.pieces} pieces, {rounds} rounds, {os.cpu_count()} cores; medians")
    print(f"{'':10}{'MB/s':>8}{'CPU s/GB client':>18}{'provider':>10}{'MB/s : httpx':>15}{'client CPU : httpx':>20}")
    for name, (rate, client, server) in medians.items():
        quicker, dearer = rate / medians["httpx"][0], client / medians["httpx"][1]
        print(f"{name:10}{rate:8.0f}{client:18.2f}{server:10.2f}{quicker:15.2f}{dearer:20.2f}")
    rates = {name: 1 / (client + server) for name, (_, client, server) in medians.items()}
    print("verified bytes per CPU second, both sides: ", end="")
    print(f"{rates['exchange']:.2f} GB, by bare sockets {rates['bare']:.2f} GB")


if __name__ == "__main__":
    main()
