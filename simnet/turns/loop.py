"""Trio's loop as a simulated world needs it: turns in an order that a seed decides, and nothing that a real one adds.

What it replaces is private to trio; `patches.py` puts it in place for one run. Nothing here changes what a task sees,
but the order in which tasks that wake together have their turns.
"""

from __future__ import annotations

import random
import types
from collections.abc import Awaitable, Callable, Generator
from heapq import heappush
from typing import Any

import trio
from outcome import Error, Outcome, Value
from trio._core._run import _NO_SEND, GLOBAL_RUN_CONTEXT, CancelScope, Deadlines, Runner, Task
from trio._core._traps import CancelShieldedCheckpoint, WaitTaskRescheduled

from simnet.turns.kernel import Kernel

Abort = Callable[[Any], trio.lowlevel.Abort]
Turns = Generator[float, Any, None]


class _Woken:
    """What a task is sent that was only woken: an outcome without anything, which all of them share."""

    def unwrap(self) -> None:
        pass


_WOKEN: Any = _Woken()


def loop(kernel: Kernel, dice: random.Random) -> Callable[..., Turns]:
    """`unrolled_run`: it yields where the system has to be asked for what came from outside (Ctrl-C, a finalizer)."""

    @trio.lowlevel.enable_ki_protection
    def turns(runner: Runner, async_fn: Callable[..., Awaitable[object]], args: tuple[object, ...]) -> Turns:
        try:
            runner.instruments = {}  # type: ignore[assignment]  # it is looked into at each step, and nobody uses it
            runner.entry_queue.wakeup.wakeup_on_signals()
            runner.init_task = runner.spawn_impl(runner.init, (async_fn, args), None, "<init>", system_task=True)
            calls = runner.entry_queue
            while runner.tasks:
                if calls.queue or calls.idempotent_queue:
                    runner.io_manager.process_events((yield 0.0))
                kernel.go_on(runner)
                _give_turns(kernel, runner, dice)
        except BaseException as error:
            raise trio.TrioInternalError("the simulated loop failed") from error
        finally:
            _close(runner)

    return turns


def _give_turns(kernel: Kernel, runner: Runner, dice: random.Random) -> None:
    """One to each task that can run; those that are woken meanwhile have theirs in the next round."""
    batch: list[Task] = list(runner.runq)
    runner.runq.clear()
    if kernel.sift is not None:
        batch = kernel.sift(batch)
    kernel.batch = batch
    if not batch:
        return
    if len(batch) > 1:
        batch.sort(key=_counter)
        dice.shuffle(batch)
    while batch:
        task = batch.pop()
        GLOBAL_RUN_CONTEXT.task = task
        resume, sent = task._next_send_fn, task._next_send
        task._next_send_fn = task._next_send = None
        said: Any = None
        over: Outcome[object]
        try:
            said = task.context.run(resume, sent)  # type: ignore[arg-type]
        except StopIteration as end:
            over = Value(end.value)
        except BaseException as error:
            over = Error(error.with_traceback(error.__traceback__ and error.__traceback__.tb_next))
        if said is None:  # not within `except`: an error would become the context of what comes of it
            runner.task_exited(task, over)
            del over
        else:
            _listen(runner, task, said)
    del GLOBAL_RUN_CONTEXT.task


def _counter(task: Task) -> int:
    return task._counter


def _listen(runner: Runner, task: Task, said: Any) -> None:
    """What a task says when it gives up its turn: that it wants another one, or how its wait is ended early."""
    task._schedule_points += 1
    if said is CancelShieldedCheckpoint:
        runner.reschedule(task)
        return
    task._cancel_points += 1
    task._abort_func = said.abort_func if type(said) is WaitTaskRescheduled else said
    if runner.ki_pending and task is runner.main_task:
        task._attempt_delivery_of_pending_ki()
    if task._cancel_status.effectively_cancelled:
        task._attempt_delivery_of_any_pending_cancel()


def _close(runner: Runner) -> None:
    """As trio does it."""
    runner.close()
    GLOBAL_RUN_CONTEXT.__dict__.clear()
    if runner.ki_pending:
        runner.main_task_outcome = Error(KeyboardInterrupt())


@types.coroutine
def wait_task_rescheduled(abort: Abort) -> Generator[Abort, Any, Any]:
    """The trap of this loop."""
    return (yield abort).unwrap()


def reschedule_of(runner: Runner, task: Task, next_send: Any = _WOKEN) -> None:
    """`Runner.reschedule`."""
    assert task._next_send_fn is None
    task._next_send_fn = task.coro.send
    task._next_send = _WOKEN if next_send is _NO_SEND else next_send
    task._abort_func = task.custom_sleep_data = None
    runner.runq.append(task)


def reschedule(task: Task, next_send: Any = _WOKEN) -> None:
    """`trio.lowlevel.reschedule`."""
    reschedule_of(task._runner, task, next_send)


def checkpoint_of(kernel: Kernel, checkpoint: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """`cancel_shielded_checkpoint`, which gives others a turn, where there are others."""

    async def cancel_shielded_checkpoint() -> None:
        if not kernel.is_alone():
            await checkpoint()

    return cancel_shielded_checkpoint


def deadlines_in_order() -> Callable[[Deadlines, float, CancelScope], None]:
    """`Deadlines.add` that breaks ties by the order of setting them. Trio does by id(), the address in memory."""
    order = 0

    def add(self: Deadlines, deadline: float, cancel_scope: CancelScope) -> None:
        nonlocal order
        order += 1
        heappush(self._heap, (deadline, order, cancel_scope))
        self._active += 1

    return add
