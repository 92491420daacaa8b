"""A node behind a node of the same room (a warm seed): who reads for the room must not be made to wait for it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from p2pcdn.counters import Counters
from p2pcdn.fetch import FOR_ROOM, Fetch, OriginReader
from p2pcdn.store import Partial
from p2pcdn.swarm.filling.reading import ReadOrigin
from tests.fetch.test_fetch import CONTENT, wanted
from tests.worlds import Answer, ScriptedUpstream, open_store


class Room:
    """A room in which somebody else reads the origin and never brings anything; or, with our turn, this node."""

    def __init__(self, *, our_turn: bool) -> None:
        self._our_turn = our_turn

    async def fill(self, partial: Partial, read_origin: ReadOrigin | None = None, **known: object) -> None:
        if not self._our_turn:
            await trio.sleep_forever()
        assert read_origin is not None
        await read_origin(0, None, partial.write)

    def distrust(self, partial: Partial) -> None:
        raise AssertionError("nobody lied")


@asynccontextmanager
async def fetching(directory: Path, *, our_turn: bool) -> AsyncIterator[tuple[Fetch, ScriptedUpstream]]:
    upstream = ScriptedUpstream(lambda url, headers: Answer(CONTENT))
    counters = Counters()

    async def kept(*_: object) -> None:
        return

    async with open_store(directory) as store, trio.open_nursery() as nursery:
        fetch = Fetch(
            store=store,
            swarm=Room(our_turn=our_turn),  # type: ignore[arg-type]
            origin=OriginReader(upstream, counters, random.Random(1)),
            counters=counters,
            nursery=nursery,
            offline=False,
            on_kept=kept,
        )
        yield fetch, upstream
        nursery.cancel_scope.cancel()


async def whole(fetch: Fetch, *, for_room: bool) -> None:
    growing = await fetch.open(wanted(), for_room=for_room)
    assert isinstance(growing, Partial)
    while growing.blob is None:
        await growing.readable(growing.frontier())


async def test_who_reads_for_its_room_gets_the_file_from_the_upstream_at_once(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with fetching(tmp_path, our_turn=False) as (fetch, upstream):
        with trio.fail_after(1):
            await whole(fetch, for_room=True)
        assert len(upstream.asked) == 1


async def test_a_download_that_waits_for_the_room_is_freed_by_who_reads_for_it(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with fetching(tmp_path, our_turn=False) as (fetch, upstream), trio.open_nursery() as clients:
        clients.start_soon(lambda: whole(fetch, for_room=False))
        await trio.sleep(1)
        assert upstream.asked == []
        with trio.fail_after(1):
            await whole(fetch, for_room=True)


async def test_an_upstream_is_told_that_it_is_asked_for_a_room_and_only_then(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    name, value = FOR_ROOM
    async with fetching(tmp_path / "a", our_turn=True) as (fetch, upstream):
        await whole(fetch, for_room=False)
        assert [headers.get(name) for _, headers in upstream.asked] == [value]
    async with fetching(tmp_path / "b", our_turn=False) as (fetch, upstream):
        await whole(fetch, for_room=True)
        assert [headers.get(name) for _, headers in upstream.asked] == [None]
