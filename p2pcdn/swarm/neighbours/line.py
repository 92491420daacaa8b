"""What a node has with one peer: its idle connections, and how many questions to it may be under way."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import trio

from p2pcdn.errors import Unavailable
from p2pcdn.swarm.neighbours.link import Link

# Pieces under way from one peer, for all files: as many as it has slots, so that it need not refuse.
SLOTS_PER_PEER = 3
# Other questions under way to one peer: small, and answered from memory.
QUESTIONS_PER_PEER = 4


@dataclass(slots=True)
class Line:
    """What we have with one peer."""

    slots: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(SLOTS_PER_PEER))
    questions: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(QUESTIONS_PER_PEER))
    idle: list[Link] = field(default_factory=list)
    idle_sealed: list[Link] = field(default_factory=list)
    users: int = 0
    heard_at: float = -math.inf  # when a part of a piece came
    meeting: trio.Lock | None = None
    failed_meetings: int = 0
    not_met: Unavailable = field(default_factory=lambda: Unavailable(""))

    def links(self, *, sealed: bool) -> list[Link]:
        return self.idle_sealed if sealed else self.idle


class Turn:
    """One of so many questions under way to a peer. Nobody waits where there is room."""

    __slots__ = ("_limit", "_line")

    def __init__(self, line: Line, limit: trio.CapacityLimiter) -> None:
        self._line = line
        self._limit = limit

    async def __aenter__(self) -> None:
        self._line.users += 1
        try:
            self._limit.acquire_nowait()
        except trio.WouldBlock:
            try:
                await self._limit.acquire()
            except BaseException:
                self._line.users -= 1
                raise

    async def __aexit__(self, *_: object) -> None:
        self._limit.release()
        self._line.users -= 1
