"""One connection to a peer: who waits for many bytes is woken for many, or by the end, and loses none that came."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.testing

from p2pcdn.swarm.neighbours.link import Link


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Link, trio.SocketStream]]:
    """A link over loopback, and the peer's end of it."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        link = Link(await trio.open_tcp_stream(*listener.socket.getsockname()))
        peer = await listener.accept()
        async with peer:
            yield link, peer
            await link.close()


async def test_what_is_there_is_read_whatever_is_wanted() -> None:
    space = memoryview(bytearray(100))
    async with linked() as (link, peer):
        await peer.send_all(b"here")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert await link.receive(space, 50) == 4
        assert space[:4] == b"here"


async def test_less_than_is_wanted_wakes_nobody_and_is_found_by_looking() -> None:
    space = memoryview(bytearray(100))
    async with linked() as (link, peer):
        with trio.move_on_after(0.1) as waiting:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(link.receive, space, 50)
                await trio.testing.wait_all_tasks_blocked()
                await peer.send_all(bytes(49))
        assert waiting.cancelled_caught
        assert await link.receive_now(space) == 49
        assert await link.receive_now(space) is None


async def test_it_wakes_for_all_that_is_wanted_and_for_the_end() -> None:
    space, came = memoryview(bytearray(100)), []

    async def read(wanted_bytes: int) -> None:
        came.append(await link.receive(space, wanted_bytes))

    async with linked() as (link, peer):
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read, 50)
                await trio.testing.wait_all_tasks_blocked()
                await peer.send_all(bytes(50))
            assert sum(came) == 50
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read, 50)
                await trio.testing.wait_all_tasks_blocked()
                await peer.send_eof()
            assert came[-1] == 0


async def test_after_many_one_byte_is_enough_again() -> None:
    space = memoryview(bytearray(100))
    async with linked() as (link, peer):
        with trio.move_on_after(0.01):
            await link.receive(space, 50)
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(link.receive, space)
                await trio.testing.wait_all_tasks_blocked()
                await peer.send_all(b"x")


async def test_a_stream_that_is_no_socket_gives_what_comes() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    link, space = Link(ours), memoryview(bytearray(100))
    assert not link.waits_for_many
    assert await link.receive_now(space) is None
    await theirs.send_all(b"x")
    assert await link.receive(space, 50) == 1
    await link.send(b"question")
    assert await theirs.receive_some() == b"question"
