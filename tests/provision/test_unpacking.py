"""Wheels are unpacked in threads or in processes, with the same outcome, whatever becomes of a process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest
import trio
import trio.testing

from p2pcdn.envs.errors import BadWheel
from p2pcdn.envs.listing import Listing
from p2pcdn.provision.unpacking import ROW_MIN, UNPACKINGS_MAX, Unpackers
from p2pcdn_daemon.doors.processes import RealProcesses
from tests.bench.wheels import make_wheel
from tests.worlds import InlineThreads

P = ParamSpec("P")
T = TypeVar("T")
PATIENCE_S = 60.0


class CountingThreads(InlineThreads):
    runs = 0

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        self.runs += 1
        return await super().run(function, *args, **kwargs)


@asynccontextmanager
async def unpackers(**more: str) -> AsyncIterator[tuple[Unpackers, CountingThreads]]:
    threads = CountingThreads()
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            yield Unpackers(RealProcesses(), threads, nursery, **more), threads
            nursery.cancel_scope.cancel()


def wheel(directory: Path, content: bytes | None = None) -> tuple[Path, str]:
    made = make_wheel("a", size_bytes=3000)
    path = directory / "blob"
    path.write_bytes(made.content if content is None else content)
    return path, made.filename


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def unpack_a_row(them: Unpackers, directory: Path) -> None:
    """And wait for a process, which is started after so many."""
    for number in range(ROW_MIN):
        await them.unpack(*wheel(directory), directory / f"row{number}")
    while not them.idle:
        await trio.testing.wait_all_tasks_blocked(cushion=0.02)


async def test_many_in_a_row_are_unpacked_by_processes_and_become_the_same_trees(tmp_path: Path) -> None:
    async with unpackers() as (them, threads):
        first = await them.unpack(*wheel(tmp_path), tmp_path / "first")
        await unpack_a_row(them, tmp_path)
        in_threads = threads.runs
        later = await them.unpack(*wheel(tmp_path), tmp_path / "later")
        assert threads.runs == in_threads
    assert later == first
    for entry in Listing.decode(later.listing).entries:
        assert (tmp_path / "later" / entry.path).read_bytes() == (tmp_path / "first" / entry.path).read_bytes()


async def test_a_few_are_not_worth_a_process(tmp_path: Path) -> None:
    async with unpackers() as (them, threads):
        for number in range(ROW_MIN - 1):
            await them.unpack(*wheel(tmp_path), tmp_path / f"tree{number}")
        assert (threads.runs, them.idle, len(them.nursery.child_tasks)) == (ROW_MIN - 1, 0, 0)


async def test_a_process_says_what_is_wrong_and_goes_on(tmp_path: Path) -> None:
    async with unpackers() as (them, threads):
        await unpack_a_row(them, tmp_path)
        in_threads = threads.runs
        with pytest.raises(BadWheel, match="not a zip archive"):
            await them.unpack(*wheel(tmp_path, b"no wheel" * 100), tmp_path / "bad")
        with pytest.raises(FileNotFoundError):
            await them.unpack(*wheel(tmp_path), tmp_path / "no directory" / "tree")
        await them.unpack(*wheel(tmp_path), tmp_path / "good")
        assert threads.runs == in_threads
    assert [name for name in names(tmp_path) if not name.startswith("row")] == ["blob", "good"]


@pytest.mark.parametrize(
    "code", ["input(); print('{')", "input()", "input(); print('{\"listing_bytes\": 7}')", "input(); print([])"]
)
async def test_where_a_process_ends_or_makes_no_sense_a_thread_does_it(tmp_path: Path, code: str) -> None:
    async with unpackers(code=code) as (them, threads):
        await unpack_a_row(them, tmp_path)
        in_threads = threads.runs
        made = await them.unpack(*wheel(tmp_path), tmp_path / "tree")
        assert threads.runs == in_threads + 2  # what the process may have left is taken away before
    assert Listing.decode(made.listing).project == "a"


# What it had begun to write is there when it says so, and then it hangs.
HANGS = """
import json, os, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from p2pcdn.envs.unpack import scratch_of
scratch_of(Path(json.loads(input())[2])).mkdir()
sys.stderr.write("begun"), sys.stderr.flush()
{then}
"""


async def test_what_a_killed_process_had_begun_is_taken_away(tmp_path: Path) -> None:
    async with unpackers(code=HANGS.format(then="os.kill(os.getpid(), 9)")) as (them, _):
        await unpack_a_row(them, tmp_path)
        made = await them.unpack(*wheel(tmp_path), tmp_path / "tree")
    assert Listing.decode(made.listing).project == "a"
    assert [name for name in names(tmp_path) if not name.startswith("row")] == ["blob", "tree"]


async def test_who_is_cancelled_leaves_neither_a_process_nor_half_a_tree(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with unpackers(code=HANGS.format(then="time.sleep(1000)")) as (them, _):
        await unpack_a_row(them, tmp_path)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(them.unpack, *wheel(tmp_path), tmp_path / "tree")
            while "begun" not in caplog.text:
                await trio.testing.wait_all_tasks_blocked(cushion=0.02)
            nursery.cancel_scope.cancel()
        while len(them.nursery.child_tasks) > them.idle:
            await trio.testing.wait_all_tasks_blocked(cushion=0.02)
        assert [name for name in names(tmp_path) if not name.startswith("row")] == ["blob"]


async def test_no_more_than_so_many_processes_run_and_all_wheels_come_through(tmp_path: Path) -> None:
    async with unpackers() as (them, _), trio.open_nursery() as nursery:
        for number in range(8 * ROW_MIN):
            nursery.start_soon(them.unpack, *wheel(tmp_path), tmp_path / f"tree{number}")
    assert them.idle <= UNPACKINGS_MAX
    assert len(names(tmp_path)) == 1 + 8 * ROW_MIN
