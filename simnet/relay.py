"""Bytes from outside that wait at an access point for their turn in its air."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from simnet.network import Link

if TYPE_CHECKING:
    from simnet.flow import Flow


class Relay:
    """A connection's bytes from outside that wait at the access point: in the air they take their turn like others."""

    __slots__ = ("coming", "flow", "queued", "waiting")

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.queued = False
        self.coming = 0  # chunks that are on their way here, or wait
        self.waiting: deque[tuple[int, int, int]] = deque()  # hop, raw, wire

    def expect(self, at: float, hop: int, raw: int, wire: int) -> None:
        """A chunk is here at that time."""
        self.coming += 1
        self.flow.kernel.at(max(at, self.flow.kernel.now), self._came, hop, raw, wire)

    def _came(self, hop: int, raw: int, wire: int) -> None:
        self.waiting.append((hop, raw, wire))
        if not self.queued:
            self.flow.hops[hop].enqueue(self)

    def depart(self, link: Link) -> float | None:
        hop, raw, wire = self.waiting.popleft()
        self.coming -= 1
        time_s = wire / link.rate
        link.bytes_carried += wire
        now = self.flow.kernel.now
        self.flow.travel(hop + 1, now, now + time_s, raw, wire)
        if self.waiting:
            link.queue.append(self)
            self.queued = True
        return time_s
