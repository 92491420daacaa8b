"""A wire with latency, as a process of its own: python -m benchmarks.latency PORT HOST:PORT SECONDS

Carries every connection there, each byte of an answer so much later; a connection takes as long to be there as one to a
distant host.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

import trio

CHUNK_SIZE_BYTES = 256 * 1024
# Chunks under way on one connection: 20 ms of several hundred MB a second.
CHUNKS_UNDER_WAY_MAX = 64


@contextlib.contextmanager
def far_away(port: int, address: tuple[str, int], latency_s: float) -> Iterator[None]:
    """A wire from a port of this machine to `address`."""
    target = f"{address[0]}:{address[1]}"
    command = [sys.executable, "-m", "benchmarks.latency", str(port), target, str(latency_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.terminate()


async def main(own_port: int, target: str, latency_s: float) -> None:
    host, _, port = target.rpartition(":")

    async def serve(client: trio.SocketStream) -> None:
        # Whoever leaves in the middle ends its own connection, and no other.
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            await _carry(client, host, int(port), latency_s)

    listeners = await trio.open_tcp_listeners(own_port, host="127.0.0.1", backlog=512)
    print("ready", flush=True)
    await trio.serve_listeners(serve, listeners)


async def _carry(client: trio.SocketStream, host: str, port: int, latency_s: float) -> None:
    await trio.sleep(latency_s)
    async with client, await trio.open_tcp_stream(host, port) as server, trio.open_nursery() as nursery:
        send, receive = trio.open_memory_channel[tuple[float, bytes]](CHUNKS_UNDER_WAY_MAX)
        nursery.start_soon(_deliver, receive, client)
        nursery.start_soon(_ask, client, server)
        async with send:
            while chunk := await server.receive_some(CHUNK_SIZE_BYTES):
                await send.send((trio.current_time() + latency_s, bytes(chunk)))


async def _deliver(receive: trio.MemoryReceiveChannel[tuple[float, bytes]], client: trio.SocketStream) -> None:
    async for due_s, chunk in receive:
        await trio.sleep_until(due_s)
        await client.send_all(chunk)
    await client.send_eof()


async def _ask(client: trio.SocketStream, server: trio.SocketStream) -> None:
    while chunk := await client.receive_some(CHUNK_SIZE_BYTES):
        await server.send_all(chunk)
    await server.send_eof()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
