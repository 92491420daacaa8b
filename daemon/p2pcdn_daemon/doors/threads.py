"""Where a real node does the work that would stop its loop: a bounded number of threads of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import trio

P = ParamSpec("P")
T = TypeVar("T")

# Hashing and compression want one thread a core; the catalog's writer and a look-up or two mostly wait meanwhile.
THREADS_MAX = (os.cpu_count() or 1) + 4


class TrioThreads:
    """The `p2pcdn.world.Threads` of the real world.

    Its limiter is its own: a crowd of look-ups in trio's default threads (names, sockets) cannot hold up the store.
    """

    def __init__(self, threads_max: int = THREADS_MAX) -> None:
        self._limiter = trio.CapacityLimiter(threads_max)

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs it to its end even when the caller is cancelled, so that a transaction is never torn."""
        # A cancelled caller hears of it after the call has ended, and not before it has begun: a call that waits for a
        # free thread is dropped whole.
        call = partial(function, *args, **kwargs)
        return await trio.to_thread.run_sync(call, abandon_on_cancel=False, limiter=self._limiter)
