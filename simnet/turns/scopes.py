"""Trio's cancel scopes in the usual case: nobody is cancelled. They were a tenth of what a simulated node costs.

Each function takes trio's own, and leaves to it what is unusual.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import TracebackType

from trio._core._run import GLOBAL_RUN_CONTEXT, CancelScope, CancelStatus

from simnet.turns.kernel import Kernel

Enter = Callable[[CancelScope], CancelScope]
Leave = Callable[[CancelScope, type[BaseException] | None, BaseException | None, TracebackType | None], bool]
Close = Callable[[CancelScope, BaseException | None], BaseException | None]


def entering(kernel: Kernel, enter: Enter) -> Enter:
    """`CancelScope.__enter__`. Unusual: a scope within nothing, a cancelled one, one that is used twice."""

    def enter_scope(self: CancelScope) -> CancelScope:
        deadline = min(self._deadline, kernel.now + self._relative_deadline)
        task = GLOBAL_RUN_CONTEXT.task
        parent: CancelStatus | None = task._cancel_status
        if parent is None or parent.effectively_cancelled or self._has_been_entered:
            return enter(self)
        if self._cancel_called or deadline <= kernel.now:
            return enter(self)
        status = CancelStatus(self)
        status._parent = parent
        parent._children.add(status)
        parent._tasks.remove(task)
        status._tasks.add(task)
        task._cancel_status = self._cancel_status = status
        self._has_been_entered = True
        self._deadline, self._relative_deadline = deadline, math.inf
        _register(self, deadline)
        return self

    return enter_scope


def leaving(leave: Leave) -> Leave:
    """`CancelScope.__exit__`."""

    def leave_scope(
        self: CancelScope, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return (error is None and _is_left(self)) or leave(self, kind, error, trace)

    return leave_scope


def closing(close: Close) -> Close:
    """`CancelScope._close`, which a nursery calls."""

    def close_scope(self: CancelScope, exc: BaseException | None) -> BaseException | None:
        return None if exc is None and _is_left(self) else close(self, exc)

    return close_scope


def _is_left(scope: CancelScope) -> bool:
    """Leaves it. False in an unusual case: a cancellation, tasks or scopes that are still within."""
    status, task = scope._cancel_status, GLOBAL_RUN_CONTEXT.task
    if scope._cancel_called or status is None or task._cancel_status is not status:
        return False
    parent = status._parent
    if parent is None or status._children or len(status._tasks) != 1:
        return False
    status._tasks.remove(task)
    parent._tasks.add(task)
    task._cancel_status = parent
    parent._children.remove(status)
    status._parent = scope._cancel_status = None
    _register(scope, math.inf)
    return True


def registering(scope: CancelScope) -> _Registration:
    """`CancelScope._might_change_registered_deadline`, which trio writes as a generator."""
    return _Registration(scope)


class _Registration:
    __slots__ = ("_scope",)

    def __init__(self, scope: CancelScope) -> None:
        self._scope = scope

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        scope = self._scope
        _register(scope, math.inf if scope._cancel_status is None or scope._cancel_called else scope._deadline)


def _register(scope: CancelScope, deadline: float) -> None:
    before = scope._registered_deadline
    if before != deadline:
        scope._registered_deadline = deadline
        deadlines = GLOBAL_RUN_CONTEXT.runner.deadlines
        if before != math.inf:
            deadlines.remove(before, scope)
        if deadline != math.inf:
            deadlines.add(deadline, scope)
