"""What every `p2pcdn.world.Threads` keeps: run by the real threads and by the ones of a simulated world."""

from __future__ import annotations

import pytest
import trio

from p2pcdn.world import Threads


async def check_threads(threads: Threads) -> None:
    """Raises AssertionError where the threads break the contract."""
    assert await threads.run(divmod, 7, 2) == (3, 1)
    assert await threads.run(int, "ff", base=16) == 255
    with pytest.raises(ZeroDivisionError):
        await threads.run(divmod, 7, 0)

    ended: list[int] = []
    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(threads.run, ended.append, number)
    assert sorted(ended) == list(range(50))
