"""The door Threads of one life of a machine: work runs inline, and takes its virtual time before and after."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import trio

from p2pcdn.store.place import Claim
from simnet.disks.disk_faults import PowerCut
from simnet.turns.kernel import pause

P = ParamSpec("P")
T = TypeVar("T")


class SimThreads:
    """Between the work and its answer the power may go: then it happened, and nobody was told.

    lives: whether the life goes on to which these threads belong; one that is over gets nothing. delay_s: the least and
    the most that either wait takes; None for none.
    """

    def __init__(self, lives: Callable[[], bool], dice: random.Random, *, delay_s: tuple[float, float] | None) -> None:
        self._lives = lives
        self._dice = dice
        self._delay_s = delay_s

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._wait()
        value = function(*args, **kwargs)
        try:
            await self._wait()
        except PowerCut:
            if isinstance(value, Claim):
                value.release()  # flock(2): a lock goes with the process that held it, and ours goes on
            raise
        return value

    async def _wait(self) -> None:
        if self._delay_s is not None:
            # As a thread of the product: it runs to its end even when the caller is cancelled.
            await pause(self._dice.uniform(*self._delay_s))
        if not self._lives():
            raise PowerCut
