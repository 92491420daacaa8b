"""The real threads: the contract, their bound, and that a cancelled caller tears nothing."""

from __future__ import annotations

import threading

import trio

from p2pcdn_daemon.doors.threads import TrioThreads
from tests.contract.threads import check_threads


async def test_the_real_threads_keep_the_contract() -> None:
    await check_threads(TrioThreads())


async def test_no_more_run_at_once_than_the_bound_allows() -> None:
    threads = TrioThreads(2)
    barrier = threading.Barrier(2)
    running, most = 0, 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        barrier.wait(10)
        with lock:
            running -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(threads.run, work)
    assert most == 2


async def test_work_that_began_ends_although_its_caller_is_cancelled() -> None:
    threads = TrioThreads()
    began, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        go_on.wait(10)
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(threads.run, work)
        await trio.to_thread.run_sync(began.wait, 10)
        nursery.cancel_scope.cancel()
        go_on.set()
    assert ended.is_set()
