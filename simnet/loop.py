"""Trio's loop as a simulated world needs it: in an order that a seed decides, and without what only a real one uses.

What it replaces is private to trio; `patches.py` puts it in place for one run. Nothing here changes what a task sees,
but the order in which tasks that wake together have their turns.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from heapq import heappush
from typing import Any

from trio._core._run import GLOBAL_RUN_CONTEXT, CancelScope, Deadlines

from simnet.kernel import Kernel


class Dice(random.Random):
    """What trio shuffles the tasks of a batch with, most often one or two. The kernel learns who has a turn."""

    def __init__(self, seed: str, kernel: Kernel) -> None:
        super().__init__(seed)
        self._kernel = kernel

    def shuffle(self, batch: Any) -> None:
        self._kernel.batch = batch
        if len(batch) > 1:
            super().shuffle(batch)


def checkpoint_of(kernel: Kernel, checkpoint: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """`cancel_shielded_checkpoint`, which gives others a turn, where there are others."""

    async def cancel_shielded_checkpoint() -> None:
        if not kernel.is_alone():
            await checkpoint()

    return cancel_shielded_checkpoint


def deadlines_in_order() -> Callable[[Deadlines, float, CancelScope], None]:
    """`Deadlines.add` that breaks ties by the order of setting them. Trio does by id(), the address in memory."""
    order = 0

    def add(self: Deadlines, deadline: float, cancel_scope: CancelScope) -> None:
        nonlocal order
        order += 1
        heappush(self._heap, (deadline, order, cancel_scope))
        self._active += 1

    return add


def polls_when_called(get_events: Callable[[Any, float], Any]) -> Callable[[Any, float], Any]:
    """The system is asked only when somebody called from outside of the loop (Ctrl-C, a finalizer): no descriptor of a
    simulated world can be ready."""

    def events(self: Any, timeout: float) -> Any:
        calls = GLOBAL_RUN_CONTEXT.runner.entry_queue
        return get_events(self, timeout) if calls.queue or calls.idempotent_queue else ()

    return events
