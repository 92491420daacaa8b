"""Virtual time: the clock that trio is given, the heap of everything that will happen, and the trace of what did.

When every task waits, the loop calls `Kernel.go_on`. There the events that are due are run, as plain calls, until one
of them wakes a task: what happens on the wire costs no switch of tasks, and no task waits for the wire in vain.
"""

from __future__ import annotations

import gc
import hashlib
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import IO, Any

import trio
from trio._core._run import GLOBAL_RUN_CONTEXT, Runner

# Trio's time when a run begins. Not 0, which is "never" to some.
BEGIN_S = 1000.0
# The wall clock when a run begins, seconds since 1970.
EPOCH_S = 1_800_000_000.0

TIDY_EVERY_EVENTS = 400_000


@dataclass
class WallClock:
    """One machine's own clock. ahead_s: how far it is from the true time; a fault may change it at any time."""

    kernel: Kernel
    ahead_s: float = 0.0

    def now(self) -> float:
        return self.kernel.wall_clock() + self.ahead_s


async def pause(seconds: float) -> None:
    """Virtual time in which nobody can be disturbed, as in a system call. On another clock of trio's, too."""
    clock = trio.lowlevel.current_clock()
    if not isinstance(clock, VirtualClock):
        with trio.CancelScope(shield=True, deadline=trio.current_time() + seconds):
            await trio.sleep_forever()
        return
    kernel = clock.kernel
    if not kernel.passes(seconds):
        kernel.after(seconds, trio.lowlevel.reschedule, trio.lowlevel.current_task())
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)


@dataclass(frozen=True)
class VirtualClock(trio.abc.Clock):
    """The kernel's time as trio asks for it."""

    kernel: Kernel

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return self.kernel.now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return 0.0  # nobody sleeps


# [time, order, function or None when it was called off, arguments]
Event = list[Any]


class Kernel:
    """One run's time. `at` may be called by tasks and by events; all of it in trio's thread."""

    def __init__(self, trace_file: IO[str] | None = None) -> None:
        self.now = BEGIN_S
        self.clock = VirtualClock(self)
        self.events = 0
        self.tidied_at = 0
        self.on_deadlock: Callable[[], None] = lambda: None
        # The tasks that have a turn in this round still. Nobody knows, as long as the loop is not ours.
        self.batch: Sequence[object] = (None,)
        # Leaves out of a round those tasks whose process gets no turn now (busy.py).
        self.sift: Callable[[list[Any]], list[Any]] | None = None
        self._heap: list[Event] = []
        self._soon: deque[Event] = deque()  # of this instant, in their order
        self._order = 0
        self._digest = hashlib.blake2b(digest_size=16)
        self._lines: list[str] = []
        self._stamp, self._stamped_at = "", -math.inf
        self._file = trace_file

    def go_on(self, runner: Runner) -> None:
        """Deadlines that are due expire; where nobody can run, things happen until somebody can."""
        runq, deadlines, heap, soon = runner.runq, runner.deadlines, self._heap, self._soon
        if deadlines._heap and deadlines._heap[0][0] <= self.now:
            deadlines.expire(self.now)
        if self.events - self.tidied_at > TIDY_EVERY_EVENTS and not runq:
            # Here, and not when Python likes: what a collection finalizes comes at the same place in every run.
            self.tidied_at = self.events
            gc.collect(1)
        while not runq:
            deadline = deadlines.next_deadline()
            if soon:
                self._run_all_of_now()
            elif heap and heap[0][0] <= deadline:
                self.now = max(self.now, heap[0][0])
                self._run_all_of_now()
            elif deadline < math.inf:
                self.now = max(self.now, deadline)
                deadlines.expire(self.now)
            else:
                self.on_deadlock()
                return

    def _run_all_of_now(self) -> None:
        """All of one instant before any task: those that wake together take their turns together."""
        now, heap, soon = self.now, self._heap, self._soon
        while True:
            if heap and heap[0][0] <= now and not (soon and soon[0] < heap[0]):
                event = heappop(heap)
            elif soon:
                event = soon.popleft()
            else:
                return
            if event[2] is not None:
                self.events += 1
                event[2](*event[3])

    # --- what the simulated world asks

    def wall_clock(self) -> float:
        """The true time, seconds since 1970."""
        return EPOCH_S + self.now - BEGIN_S

    def at(self, time: float, function: Callable[..., object], *arguments: object) -> Event:
        """Calls it at that time, or as soon as all tasks wait where the time is now. `call_off` takes it back."""
        self._order += 1
        event: Event = [time, self._order, function, arguments]
        heappush(self._heap, event)
        return event

    def soon(self, function: Callable[..., object], *arguments: object) -> None:
        """Calls it as soon as all tasks wait."""
        self._order += 1
        self._soon.append([self.now, self._order, function, arguments])

    def after(self, seconds: float, function: Callable[..., object], *arguments: object) -> Event:
        return self.at(self.now + seconds, function, *arguments)

    @staticmethod
    def call_off(event: Event) -> None:
        event[2] = None

    def is_alone(self) -> bool:
        """Whether the running task is the only one that can run now: a checkpoint would give nobody a turn."""
        runner = GLOBAL_RUN_CONTEXT.runner
        return not self.batch and not runner.runq and runner.deadlines.next_deadline() > self.now

    def passes(self, seconds: float) -> bool:
        """Whether nothing happens in so much time but that the running task waits. Then it has passed, without a switch
        of tasks, and half of all waiting is such: a disk that works while everybody else waits for it."""
        until, heap = self.now + seconds, self._heap
        while heap and heap[0][2] is None:
            heappop(heap)
        runner = GLOBAL_RUN_CONTEXT.runner
        if (
            self.batch
            or self._soon
            or runner.runq
            or (heap and heap[0][0] <= until)
            or runner.deadlines.next_deadline() <= until
        ):
            return False
        self.now = until
        return True

    async def sleep(self, seconds: float) -> None:
        """As trio.sleep, at a third of its cost."""
        task = trio.lowlevel.current_task()
        if not task._cancel_status.effectively_cancelled and self.passes(seconds):
            return
        event = self.after(seconds, trio.lowlevel.reschedule, task)

        def abort(_: object) -> trio.lowlevel.Abort:
            event[2] = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    # --- the trace

    def trace(self, line: str) -> None:
        """Notes that something happened now; the digest of all notes is what two runs of a seed have in common."""
        if self._stamped_at != self.now:
            self._stamp, self._stamped_at = f"{self.now:.9f} ", self.now
        self._lines.append(f"{self._stamp}{line}\n")
        if len(self._lines) >= 2048:
            self._flush()

    def digest(self) -> str:
        """Of everything so far, 32 hexadecimal digits."""
        self._flush()
        return self._digest.hexdigest()

    def _flush(self) -> None:
        text = "".join(self._lines)
        self._lines.clear()
        self._digest.update(text.encode())
        if self._file is not None:
            self._file.write(text)
