"""Processes that get no turn for a while, as on a busy machine: packets come, deadlines pass, and they see neither."""

from __future__ import annotations

import random
from collections.abc import Callable

import trio
from trio._core._run import GLOBAL_RUN_CONTEXT, Task

from simnet.net.host import PROCESS
from simnet.turns.kernel import Kernel

# For how long one gets no turn, and how long it works in between, in the mean.
STOPPED_S, WORKS_S = (0.3, 1.5), 2.0


class Busy:
    """The stopped processes of one run. What can run of them has its turn when they go on."""

    def __init__(self, kernel: Kernel, dice: random.Random) -> None:
        self._kernel = kernel
        self._dice = dice
        self._stopped: dict[object, list[Task]] = {}

    async def now_and_then(self, process: object, lives: Callable[[], bool]) -> None:
        """Stops this process at random times, as long as it lives."""
        while lives():
            await trio.sleep(self._dice.expovariate(1 / WORKS_S))
            seconds = self._dice.uniform(*STOPPED_S)
            self.stop(process, seconds)
            await trio.sleep(seconds)

    def stop(self, process: object, seconds: float) -> None:
        if process not in self._stopped:
            self._stopped[process] = []
            self._kernel.sift = self._sift
            self._kernel.trace(f"stopped for {seconds:.3f} s")
            self._kernel.after(seconds, self._go_on, process)

    # --- below

    def _sift(self, batch: list[Task]) -> list[Task]:
        """Those that have a turn in this round."""
        turns: list[Task] = []
        for task in batch:
            self._stopped.get(task.context.get(PROCESS), turns).append(task)
        return turns

    def _go_on(self, process: object) -> None:
        GLOBAL_RUN_CONTEXT.runner.runq.extend(self._stopped.pop(process))
        if not self._stopped:
            self._kernel.sift = None
