"""The solver's process: ended when it ends itself, thinks too long or takes too much, and never the node's end."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from p2pcdn.envs.model import LockedFile
from p2pcdn.lock.facts import Makers
from p2pcdn.lock.feed import open_feed
from p2pcdn.lock.solvers import SolverFailed
from p2pcdn.lock.targets import PLATFORMS, Cell
from p2pcdn.resolve import Source, Wanted
from tests.bench.wheels import make_wheel
from tests.lock.rooms import Room, room

TARGET = Cell(PLATFORMS[0], 12).target
APP = make_wheel("app")
_BEGIN = "import sys; sys.path.insert(0, sys.argv[1]); "


async def resolve(here: Room, requirement: str = "app") -> None:
    async with open_feed(here.facts) as feed, here.solvers.session(feed) as session:
        await session.resolve(Wanted((requirement,)), TARGET)


@pytest.mark.parametrize(
    ("code", "sentence", "silence_s"),
    [
        ("raise SystemExit(7)", "exit code 7", 60.0),
        ("import os; os.kill(os.getpid(), 9)", "exit code -9", 60.0),
        (
            _BEGIN + "from p2pcdn.lock import worker; worker.serve = lambda *_: bytearray(2 << 30); worker.main()",
            "MiB",
            60.0,
        ),
        ("print('hello' * 1000, flush=True); import time; time.sleep(1000)", "makes no sense", 60.0),
        ("import time; time.sleep(1000)", "found no answer within", 0.5),
    ],
    ids=["ends", "is killed", "takes too much", "talks nonsense", "thinks for ever"],
)
async def test_a_solver_that_fails_becomes_a_sentence(
    tmp_path: Path, code: str, sentence: str, silence_s: float
) -> None:
    async with room(tmp_path, APP, code=code, silence_s=silence_s) as here:
        for _ in range(2):  # the next one gets another process
            with pytest.raises(SolverFailed, match=sentence):
                await resolve(here)


async def test_after_a_solver_was_killed_the_next_question_gets_another(tmp_path: Path) -> None:
    async with room(tmp_path, APP) as here:

        async def killed() -> None:
            async with open_feed(here.facts) as feed, here.solvers.session(feed) as session:
                assert session._child.process is not None
                session._child.process.kill()
                await session.resolve(Wanted(("app",)), TARGET)

        with pytest.raises(SolverFailed):
            await killed()
        await resolve(here)


async def test_a_solver_is_kept_for_the_next_question_and_knows_nothing_of_the_last(tmp_path: Path) -> None:
    async with room(tmp_path, APP) as here:
        await resolve(here)
        (child,) = here.solvers._idle
        here.index.files[:] = [make_wheel("app", "2.0")]
        here.clock.ahead_s += 3600
        async with open_feed(here.facts) as feed, here.solvers.session(feed) as session:
            assert session._child is child
            solution = await session.resolve(Wanted(("app",)), TARGET)
        assert solution.pins[0].version == "2.0"


async def test_two_urls_may_give_what_says_the_same_but_for_its_name(tmp_path: Path) -> None:
    urls = {name: f"https://host.example/{name}-1.0-py3-none-any.whl" for name in ("one", "two")}

    async def of_url(source: Source) -> tuple[bytes, LockedFile]:
        return f"Metadata-Version: 2.1\nName: {source.project}\nVersion: 1.0\n".encode(), LockedFile(
            "x", {}, source.url
        )

    async with (
        room(tmp_path) as here,
        open_feed(here.facts, Makers(of_url=of_url)) as feed,
        here.solvers.session(feed) as session,
    ):
        solution = await session.resolve(Wanted(tuple(f"{name} @ {url}" for name, url in urls.items())), TARGET)
        assert {pin.project: pin.url for pin in solution.pins} == urls


async def test_a_caller_who_leaves_in_the_middle_leaves_no_solver_behind(tmp_path: Path) -> None:
    async with room(tmp_path, APP) as here:
        here.index.delays_s["/app/"] = 1000.0
        with trio.move_on_after(0.5) as scope:
            await resolve(here)
        assert scope.cancelled_caught
        assert not here.solvers._idle
        here.index.delays_s.clear()
        here.index.files.append(make_wheel("other"))
        await resolve(here, "other")


async def test_no_more_solvers_than_places_run_at_once(tmp_path: Path) -> None:
    async with room(tmp_path, APP) as here:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(resolve, here)
        assert len(here.solvers._idle) <= 2
