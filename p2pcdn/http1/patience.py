"""How long one connection may take for what it does: one deadline, moved as seldom as will do."""

from __future__ import annotations

import math
from typing import Literal

import trio

from p2pcdn.http1.messages import Limits

Awaited = Literal["first head", "head", "next head", "body", "client", "face"]
# A deadline that stands within this part of the wish stays where it is: moving one costs as much as parsing a head.
SLACK = 1 / 64


class Patience:
    """The cancel scope of a connection, and what is awaited in it. Belongs to that connection's task."""

    def __init__(self, limits: Limits) -> None:
        self.scope = trio.CancelScope(deadline=trio.current_time() + limits.head_time_s)
        self.awaited: Awaited = "first head"
        self._limits = limits

    def head(self) -> None:
        """Waits for the rest of a head; the time runs from its first byte, however many follow."""
        if self.awaited != "head":
            self._wait("head", self._limits.head_time_s)

    def idle(self) -> None:
        """Waits for the next request; the first one has no longer than its head has."""
        if self.awaited != "first head":
            self._wait("next head", self._limits.idle_time_s)

    def body(self) -> None:
        """Waits for more of a request's body."""
        self._wait("body", self._limits.body_time_s)

    def write(self) -> None:
        """Waits until more can be sent."""
        self._wait("client", self._limits.write_time_s)

    def work(self) -> None:
        """Our own work; it has deadlines of its own."""
        self.awaited = "face"
        if self.scope.deadline != math.inf:
            self.scope.deadline = math.inf

    def _wait(self, awaited: Awaited, time_s: float) -> None:
        self.awaited = awaited
        wish = trio.current_time() + time_s
        if not 0 <= wish - self.scope.deadline <= time_s * SLACK:
            self.scope.deadline = wish
