"""Where idle connections wait together: one epoll for all, so that a small answer costs no switch of tasks.

A task that waits for its own socket costs a system call to wait and a turn of the scheduler to wake, which is more than
reading, answering and writing a small request. So a connection that has nothing to do leaves its socket here. When
bytes come, they are read and answered from here; its task is woken only for what has to wait.
"""

from __future__ import annotations

import select
from collections.abc import Callable

import trio

# Connections that are served before other tasks have their turn; each takes some 15 microseconds.
TURN_CONNECTIONS = 64


class Lobby:
    """One for each server; Linux only (`possible`). Used from trio's thread."""

    possible = hasattr(select, "epoll")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._guests: dict[int, Callable[[], None]] = {}

    async def run(self) -> None:
        """Serves the guests until it is cancelled."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                for fd, _ in self._epoll.poll(0, TURN_CONNECTIONS):
                    if guest := self._guests.get(fd):
                        guest()
        finally:
            self._epoll.close()

    async def wait(self, fd: int, serve: Callable[[], bool]) -> None:
        """Calls serve() whenever fd is readable, until it returns True. It must not raise."""
        done = trio.Event()

        def guest() -> None:
            if serve():
                self._forget(fd)
                done.set()

        self._guests[fd] = guest
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLRDHUP)
        try:
            await done.wait()
        finally:
            self._forget(fd)

    def _forget(self, fd: int) -> None:
        if self._guests.pop(fd, None) and not self._epoll.closed:
            self._epoll.unregister(fd)
