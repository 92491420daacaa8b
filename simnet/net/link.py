"""One direction of a wire, or a medium that hosts share: who sends takes turns, and who receives is booked."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from simnet.turns.kernel import Kernel

GIGABIT = 125_000_000.0
# 1 ms at 1 Gbit/s, an eighth of a piece.
CHUNK_BYTES = 128 * 1024
# On slow wires a chunk takes no longer than this, as long as it is a packet at least.
CHUNK_TIME_MAX_S = 0.01
CHUNK_BYTES_MIN = 1500


class Sender(Protocol):
    """What takes its turn at a link. queued: whether it waits there."""

    queued: bool

    def depart(self, link: Link) -> float | None:
        """Its turn: sends a chunk and says how long the link is busy with it, or None where nothing can go."""
        ...


class Link:
    """One direction of a wire, or a medium that all share. rate: bytes a second; may be changed at any time."""

    __slots__ = (
        "active", "busy_until", "bytes_carried", "held", "kernel", "name", "paused", "queue", "rate", "shared",
    )  # fmt: skip

    def __init__(self, kernel: Kernel, name: str, rate: float, *, shared: bool = False) -> None:
        """shared: by both directions of several hosts; then what comes in takes its turn with what goes out."""
        self.kernel = kernel
        self.name = name
        self.rate = rate
        self.shared = shared
        self.busy_until = 0.0
        self.bytes_carried = 0.0
        self.queue: deque[Sender] = deque()
        self.active = False
        self.paused = False
        self.held: list[Callable[[], None]] = []

    def chunk_bytes(self) -> float:
        return min(CHUNK_BYTES, max(CHUNK_BYTES_MIN, self.rate * CHUNK_TIME_MAX_S))

    def enqueue(self, flow: Sender) -> None:
        """It has something to send, and takes its turn."""
        flow.queued = True
        self.queue.append(flow)
        if not self.active and not self.paused:
            self.active = True
            if self.busy_until > self.kernel.now:
                self.kernel.at(self.busy_until, self._turn)
            else:
                self._turn()

    def book(self, first: float, last: float, wire_bytes: float) -> float:
        """When bytes that come between these times are through."""
        begins = self.busy_until if self.busy_until > first else first
        done = self.busy_until = begins + wire_bytes / self.rate
        self.bytes_carried += wire_bytes
        return done if done > last else last

    def slip(self, first: float, wire_bytes: float) -> float:
        """The same for something small, which does not wait for what is large."""
        took_s = wire_bytes / self.rate
        self.busy_until = max(self.busy_until, self.kernel.now) + took_s
        self.bytes_carried += wire_bytes
        return first + took_s

    def clog(self) -> None:
        """Nothing moves any more; nothing is lost."""
        self.paused = True

    def unclog(self) -> None:
        self.paused = False
        held, self.held = self.held, []
        for go_on in held:
            go_on()
        if self.queue and not self.active:
            self.active = True
            self.kernel.at(self.kernel.now, self._turn)

    def _turn(self) -> None:
        now = self.kernel.now
        if self.paused:
            self.active = False
            return
        if self.busy_until > now:
            self.kernel.at(self.busy_until, self._turn)
            return
        queue = self.queue
        while queue:
            flow = queue.popleft()
            flow.queued = False
            time_s = flow.depart(self)
            if time_s is not None:
                self.busy_until = now + time_s
                if queue:
                    self.kernel.at(self.busy_until, self._turn)
                else:
                    self.active = False
                return
        self.active = False
