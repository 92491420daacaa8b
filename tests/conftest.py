"""How tests run: all of them on two cores, `async def` tests in trio, those with `autojump_clock` on virtual time."""

from __future__ import annotations

import fcntl
import inspect
import os
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, settings

# The suite says the same twice, and asserts no time: what takes a millisecond may take a second on a busy machine.
# To look further, run `python -m fuzz`, or a test with `--hypothesis-profile=default`.
settings.register_profile(
    "house", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("house")

# More at once would wait for each other: many tests start several nodes and installers of their own.
WORKERS_MAX = 2


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """The whole suite is shared out by file; whoever names what to run sees it at once, in one process."""
    whole = list(config.args) == list(config.getini("testpaths"))
    return min(WORKERS_MAX, os.cpu_count() or 1) if whole else 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest files come first, so that none is left for one core at the end, and those that want both come last.

    A test that wants the machine would wait for the one that runs, and hold up the next, in the middle of everything.
    """
    if not hasattr(config, "workerinput"):
        return
    tests = Counter(item.path for item in items)
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    alone = Counter(item.path for item in items if item.get_closest_marker("alone"))
    items.sort(key=lambda item: (alone[item.path], -slow[item.path], -tests[item.path], str(item.path)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[bool]:
    """Tests marked `alone` have the machine for themselves: eight hosts and their installers fill two cores."""
    with Path(__file__).open() as machine:
        fcntl.flock(machine, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
        try:
            return (yield)
        finally:
            fcntl.flock(machine, fcntl.LOCK_UN)


@pytest.fixture
def autojump_clock() -> trio.testing.MockClock:
    """A clock that jumps to the next deadline whenever every task waits. Threads must not be used with it."""
    return trio.testing.MockClock(autojump_threshold=0)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    test = pyfuncitem.obj
    if inspect.iscoroutinefunction(test):
        clock = pyfuncitem.funcargs.get("autojump_clock")
        pyfuncitem.obj = partial(_run, test, clock)
    return (yield)


def _run(test, clock, **arguments):  # type: ignore[no-untyped-def]
    # strict_exception_groups=False would hide which task failed; a lone error is unwrapped here instead.
    try:
        trio.run(partial(test, **arguments), clock=clock)
    except BaseExceptionGroup as group:
        lone: BaseException = group
        while isinstance(lone, BaseExceptionGroup) and len(lone.exceptions) == 1:
            lone = lone.exceptions[0]
        raise lone from None
