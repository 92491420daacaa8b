"""Work on many things by several threads: all of it, each once, and nobody goes on when one has failed."""

from __future__ import annotations

import _thread
import threading

import pytest

from p2pcdn_shim.zephyr.machine import side_by_side as tested
from p2pcdn_shim.zephyr.machine.side_by_side import side_by_side


@pytest.fixture(params=[1, 2, 4])
def cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(tested, "_cores", lambda: request.param)
    return int(request.param)


def test_each_thing_is_worked_on_once(cores: int) -> None:
    done: list[int] = []
    side_by_side(done.append, range(1000))
    assert sorted(done) == list(range(1000))


def test_as_many_threads_work_as_there_are_cores(cores: int) -> None:
    everybody_is_here = _thread.allocate_lock()
    everybody_is_here.acquire()
    here: set[int] = set()

    def work(_: int) -> None:
        here.add(_thread.get_ident())
        if len(here) == cores and everybody_is_here.locked():
            everybody_is_here.release()
        with everybody_is_here:  # who is alone waits for ever
            pass

    side_by_side(work, range(cores))
    assert len(here) == cores


def test_an_error_is_raised_when_nobody_is_at_work_any_more(cores: int) -> None:
    at_work: set[int] = set()
    done: list[int] = []

    def work(thing: int) -> None:
        at_work.add(thing)
        try:
            if thing == 10:
                raise OSError(28, "No space left on device")
            done.append(thing)
        finally:
            at_work.discard(thing)

    with pytest.raises(OSError, match="No space left"):
        side_by_side(work, range(100_000))
    assert not at_work
    assert len(done) < 100_000 - 1


def test_an_interruption_ends_the_others_too(cores: int) -> None:
    done: list[int] = []
    main, interrupted = _thread.get_ident(), threading.Event()

    def work(thing: int) -> None:
        if thing > 10 and _thread.get_ident() == main:
            interrupted.set()
            raise KeyboardInterrupt
        if thing > 10:
            interrupted.wait(60)  # else the others may have done all before it gets its turn
        done.append(thing)

    with pytest.raises(KeyboardInterrupt):
        side_by_side(work, range(100_000))
    seen = len(done)
    assert seen < 100_000 - 1
    assert len(done) == seen


def test_a_system_without_threads_to_spare_gets_the_work_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(tested, "_cores", lambda: 4)
    monkeypatch.setattr(_thread, "start_new_thread", no_thread)
    done: list[int] = []
    side_by_side(done.append, range(10))
    assert done == list(range(10))
