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


async def test_what_a_socket_takes_and_has_is_sent_and_read_without_waiting() -> None:
    space, content = memoryview(bytearray(100)), bytes(64 * 1024 * 1024)
    async with linked() as (link, peer):
        assert link.read_now(space) is None
        assert link.send_now(b"a question") == b""
        assert await peer.receive_some(100) == b"a question"
        unsent = link.send_now(content)
        while len(rest := link.send_now(unsent)) < len(unsent):
            unsent = rest
        assert 0 < len(unsent) < len(content), "a full socket gives the rest back"
        await peer.send_all(b"answer")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert link.read_now(space) == 6
        await peer.aclose()


async def test_over_a_stream_that_is_no_socket_all_has_to_wait() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    link = Link(ours)
    assert link.send_now(b"a question") == b"a question"
    await theirs.send_all(b"answer")
    assert link.read_now(memoryview(bytearray(100))) is None
