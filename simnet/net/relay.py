"""Bytes from outside that wait at an access point for their turn in its air."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from simnet.net.link import Link
from simnet.turns.kernel import Kernel

# Crosses the links from that one on: hop, when its first and its last byte come, raw, wire.
Travel = Callable[[int, float, float, int, int], None]


class Relay:
    """A connection's bytes from outside that wait at the access point: in the air they take their turn like others."""

    __slots__ = ("_kernel", "_travel", "coming", "queued", "waiting")

    def __init__(self, kernel: Kernel, travel: Travel) -> None:
        self._kernel = kernel
        self._travel = travel
        self.queued = False
        self.coming = 0  # chunks that are on their way here, or wait
        self.waiting: deque[tuple[int, int, int]] = deque()  # hop, raw, wire

    def expect(self, at: float, link: Link, hop: int, raw: int, wire: int) -> None:
        """A chunk is here at that time, before that link."""
        self.coming += 1
        self._kernel.at(max(at, self._kernel.now), self._came, link, hop, raw, wire)

    def _came(self, link: Link, hop: int, raw: int, wire: int) -> None:
        self.waiting.append((hop, raw, wire))
        if not self.queued:
            link.enqueue(self)

    def depart(self, link: Link) -> float | None:
        hop, raw, wire = self.waiting.popleft()
        self.coming -= 1
        time_s = wire / link.rate
        link.bytes_carried += wire
        now = self._kernel.now
        self._travel(hop + 1, now, now + time_s, raw, wire)
        if self.waiting:
            link.queue.append(self)
            self.queued = True
        return time_s
