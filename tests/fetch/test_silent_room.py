"""A node without an upstream whose only neighbour does not answer in time: that is no "no". On virtual time."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from p2pcdn.counters import Counters
from p2pcdn.digest import Sha256
from p2pcdn.errors import Unavailable
from p2pcdn.fetch import Fetch, Metadata, OriginReader
from p2pcdn.fetch.filling import SILENCE_WAIT_S
from p2pcdn.store import Blob
from p2pcdn.swarm.neighbours.conversation import NO_PROGRESS_S
from tests.fetch.test_fetch import wanted
from tests.swarm.nodes import PUBLIC, content_of
from tests.swarm.test_virtual_time import CONTENT, Wires, two
from tests.worlds import Answer, ScriptedUpstream

pytestmark = pytest.mark.usefixtures("autojump_clock")

# pip hangs up after so long without a byte.
PIPS_PATIENCE_S = 15.0


class Student:
    """An offline node. began: when it began to want something."""

    def __init__(self, fetch: Fetch, metadata: Metadata, wires: Wires) -> None:
        self.fetch = fetch
        self.metadata = metadata
        self.wires = wires
        self.took_s = 0.0

    async def wants(self, content: bytes = CONTENT) -> bytes:
        began = trio.current_time()
        try:
            held = await self.fetch.open(wanted(content))
            blob = held if isinstance(held, Blob) else await held.wait_finished()
            return await blob.read()
        finally:
            self.took_s = trio.current_time() - began

    async def wants_metadata(self, content: bytes) -> bytes:
        wheel = wanted()
        return await self.metadata.of(replace(wheel, file=replace(wheel.file, core_metadata=Sha256.of(content))))

    def falls_silent(self, how: str, *, for_s: float) -> None:
        """From now on its neighbour takes connections and says nothing, or does not even take them."""
        trio.lowlevel.spawn_system_task(self._silence, getattr(self.wires, how), for_s)

    async def _silence(self, who: set[str], for_s: float) -> None:
        who.add("a")
        await trio.sleep(for_s)
        who.discard("a")


@asynccontextmanager
async def student_of(tmp_path: Path) -> AsyncIterator[Student]:
    async def kept(*_: object) -> None:
        return

    async with two(tmp_path) as (wires, swarm, store), trio.open_nursery() as nursery:
        counters = Counters()
        origin = OriginReader(ScriptedUpstream(lambda url, asked: Answer()), counters, random.Random(1), offline=True)
        fetch = Fetch(
            store=store, swarm=swarm, origin=origin, counters=counters, nursery=nursery, offline=True, on_kept=kept
        )
        metadata = Metadata(
            store=store,
            swarm=swarm,
            origin=origin,
            nursery=nursery,
            offline=True,
            whole=fetch.whole,
            on_change=lambda project: None,
        )
        await swarm._exchange.close()  # or it would be asked over a connection that began before
        yield Student(fetch, metadata, wires)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("how", ["silent", "deaf"])
async def test_a_neighbour_that_answers_again_in_time_gives_the_file(tmp_path: Path, how: str) -> None:
    async with student_of(tmp_path) as student:
        student.falls_silent(how, for_s=NO_PROGRESS_S + 1)
        await trio.lowlevel.checkpoint()
        assert await student.wants() == CONTENT
        assert NO_PROGRESS_S < student.took_s < PIPS_PATIENCE_S


async def test_a_neighbour_that_was_found_silent_by_another_question_is_waited_for(tmp_path: Path) -> None:
    async with student_of(tmp_path) as student:
        student.falls_silent("silent", for_s=NO_PROGRESS_S + 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(student.wants)
            await trio.sleep(NO_PROGRESS_S + 0.5)  # it rests now
            assert await student.wants() == CONTENT


@pytest.mark.parametrize("how", ["silent", "deaf"])
async def test_a_neighbour_that_stays_silent_is_not_said_to_lack_the_file(tmp_path: Path, how: str) -> None:
    async with student_of(tmp_path) as student:
        student.falls_silent(how, for_s=100)
        await trio.lowlevel.checkpoint()
        with pytest.raises(Unavailable, match="a neighbour that may hold it did not answer in time") as told:
            await student.wants()
        assert told.value.retry_after_s < SILENCE_WAIT_S, "a client asks again soon"
        assert student.took_s < PIPS_PATIENCE_S


async def test_who_says_no_is_believed_at_once_and_so_is_a_door_that_is_shut(tmp_path: Path) -> None:
    async with student_of(tmp_path) as student:
        with pytest.raises(Unavailable, match="neither it nor a neighbour holds all of"):
            await student.wants(content_of(2, 10))
        assert student.took_s < 1
        del student.wires.listening["a"]
        with pytest.raises(Unavailable, match="neither it nor a neighbour holds all of"):
            await student.wants()
        assert student.took_s < 1


async def test_who_has_been_silent_for_long_is_not_waited_for(tmp_path: Path) -> None:
    async with student_of(tmp_path) as student:
        student.falls_silent("deaf", for_s=1000)
        with pytest.raises(Unavailable, match="did not answer in time"):
            await student.wants()
        await trio.sleep(SILENCE_WAIT_S)
        with pytest.raises(Unavailable, match="neither it nor a neighbour holds all of"):
            await student.wants()
        assert student.took_s < NO_PROGRESS_S


@pytest.mark.parametrize("for_s", [NO_PROGRESS_S + 1, 100.0])
async def test_metadata_is_waited_for_as_files_are(tmp_path: Path, for_s: float) -> None:
    """Its page was given a moment ago, and names it: an installer asks for it first."""
    content = b"Metadata-Version: 2.1\nName: big\nVersion: 1\n"
    async with student_of(tmp_path) as student:
        await student.wires.listening["a"]._store.keep_small(content, PUBLIC, expected=None)
        await student.wires.listening["a"]._store.set_origin(Sha256.of(content), PUBLIC)
        student.falls_silent("silent", for_s=for_s)
        await trio.lowlevel.checkpoint()
        began = trio.current_time()
        if for_s < SILENCE_WAIT_S:
            assert await student.wants_metadata(content) == content
        else:
            with pytest.raises(Unavailable, match="did not answer in time") as told:
                await student.wants_metadata(content)
            assert told.value.retry_after_s < SILENCE_WAIT_S
        assert trio.current_time() - began < PIPS_PATIENCE_S
