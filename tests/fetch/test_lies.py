"""A member of the group lied, and clients have read it: what becomes of the old attempt and of the new one."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from p2pcdn.counters import Counters
from p2pcdn.errors import DigestMismatch, P2pcdnError
from p2pcdn.fetch import Fetch, OriginReader
from p2pcdn.store import Partial
from p2pcdn.swarm.filling.reading import ReadOrigin
from tests.fetch.test_fetch import CONTENT, wanted
from tests.worlds import Answer, ScriptedUpstream, open_store

WRONG = bytes(len(CONTENT))


class Members:
    """A room that gives one of these after the other on a member's word; a client reads it before its end."""

    def __init__(self, given: Sequence[bytes | P2pcdnError]) -> None:
        self._given = list(given)
        self.filled: list[Partial] = []
        self.again = trio.Event()

    async def fill(self, partial: Partial, read_origin: ReadOrigin | None = None, **known: object) -> None:
        self.filled.append(partial)
        if len(self.filled) == 2:
            self.again.set()
        content = self._given.pop(0)
        if isinstance(content, P2pcdnError):
            raise content
        await partial.write(0, content, provisional=True, vouched=True)
        await partial.readable(0)

    def distrust(self, partial: Partial) -> None:
        return


@asynccontextmanager
async def fetching(directory: Path, given: Sequence[bytes | P2pcdnError]) -> AsyncIterator[tuple[Fetch, Members]]:
    counters, members = Counters(), Members(given)

    async def kept(*_: object) -> None:
        return

    async with open_store(directory) as store, trio.open_nursery() as nursery:
        fetch = Fetch(
            store=store,
            swarm=members,  # type: ignore[arg-type]
            origin=OriginReader(ScriptedUpstream(lambda url, headers: Answer(status=404)), counters, random.Random(1)),
            counters=counters,
            nursery=nursery,
            offline=False,
            on_kept=kept,
        )
        yield fetch, members
        nursery.cancel_scope.cancel()


async def second_attempt(fetch: Fetch, members: Members) -> Partial:
    """The one that takes the place of the one that began, and that a client has read lies of."""
    first = await fetch.open(wanted())
    assert isinstance(first, Partial)
    with pytest.raises(DigestMismatch):
        await first.wait_finished()
    await members.again.wait()
    assert members.filled[0] is first
    assert members.filled[1].attempt != first.attempt
    return members.filled[1]


async def test_who_read_a_lie_cannot_go_on_in_the_right_file(tmp_path: Path) -> None:
    async with fetching(tmp_path, [WRONG, CONTENT]) as (fetch, members):
        second = await second_attempt(fetch, members)
        await second.wait_finished()
        await trio.testing.wait_all_tasks_blocked()
        assert fetch.attempt_of(wanted()) == second.attempt


@pytest.mark.parametrize("then", [WRONG, P2pcdnError("The store is tired.")], ids=["a second lie", "a failure"])
async def test_whoever_waits_for_the_second_attempt_hears_that_it_failed(
    tmp_path: Path, then: bytes | P2pcdnError
) -> None:
    async with fetching(tmp_path, [WRONG, then, CONTENT]) as (fetch, members):
        second = await second_attempt(fetch, members)
        with trio.fail_after(5), pytest.raises(P2pcdnError):
            await second.wait_finished()
        third = await fetch.open(wanted())
        assert isinstance(third, Partial)
        assert third.attempt != second.attempt, "and it can be asked for again"
        await third.wait_finished()
