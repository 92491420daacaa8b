"""Work of the store that outlives the call that began it: hashing behind a writer, writing used-times."""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Awaitable, Callable

import trio

_log = logging.getLogger("p2pcdn.store")


class Background:
    """Tasks beside all others. None runs for ever; `wait` returns when none does.

    They are system tasks, because `Store.open` has no nursery to point to, and a hash must go on when the request that
    wrote the bytes is cancelled. The context of the caller goes with them: in a simulation it says which node this is.
    """

    def __init__(self) -> None:
        self._running = 0
        self._idle = trio.Event()
        self._idle.set()

    def start(self, task: Callable[[], Awaitable[None]]) -> None:
        self._running += 1
        self._idle = trio.Event() if self._idle.is_set() else self._idle
        trio.lowlevel.spawn_system_task(self._run, task, context=contextvars.copy_context())

    async def _run(self, task: Callable[[], Awaitable[None]]) -> None:
        try:
            await task()
        except Exception:
            # A system task that raises would end the whole process.
            _log.exception("A task of the store failed.")
        finally:
            self._running -= 1
            if self._running == 0:
                self._idle.set()

    async def wait(self) -> None:
        while self._running:
            await self._idle.wait()
