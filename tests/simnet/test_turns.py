"""Turns of tasks in a simulated world: none where nobody else has one, and cancel scopes that end as trio's do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from trio.testing import MockClock

from simnet.simulation import Simulation
from simnet.turns.kernel import BEGIN_S, pause


def turns() -> int:
    """How often the running task gave up its turn."""
    return trio.lowlevel.current_task()._schedule_points


def test_time_passes_without_a_turn_where_nothing_else_happens() -> None:
    simulation = Simulation(1)

    async def story() -> None:
        before = turns()
        await pause(0.25)
        await simulation.kernel.sleep(0.5)
        await trio.lowlevel.checkpoint()
        assert turns() == before
        assert simulation.kernel.now == BEGIN_S + 0.75

    simulation.run(story)


def test_what_happens_in_a_wait_happens_in_its_middle() -> None:
    simulation = Simulation(1)
    seen: list[tuple[str, float]] = []

    def note(what: str) -> None:
        seen.append((what, simulation.kernel.now - BEGIN_S))

    async def other() -> None:
        await trio.sleep(0.125)
        note("a task")

    async def story() -> None:
        simulation.kernel.after(0.25, note, "an event")
        called_off = simulation.kernel.after(0.3, note, "nothing")
        simulation.kernel.call_off(called_off)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            await pause(0.5)
            note("the wait")

    simulation.run(story)
    assert seen == [("a task", 0.125), ("an event", 0.25), ("the wait", 0.5)]


def test_who_is_not_alone_lets_others_have_their_turn() -> None:
    simulation = Simulation(1)

    async def story() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.checkpoint)
            before = turns()
            await trio.lowlevel.checkpoint()
            assert turns() == before + 1

    simulation.run(story)


def test_a_wait_that_is_cancelled_already_does_not_take_its_time() -> None:
    simulation = Simulation(1)

    async def story() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await simulation.kernel.sleep(5)
        assert scope.cancelled_caught
        assert simulation.kernel.now == BEGIN_S

    simulation.run(story)


# --- scopes


def test_scopes_end_as_they_do_on_trios_own_loop() -> None:
    simulation = Simulation(1)
    ours: list[object] = []
    simulation.run(lambda: _scopes(ours.append))
    trios: list[object] = []
    trio.run(_scopes, trios.append, clock=MockClock(autojump_threshold=0))
    assert ours == trios
    assert len(ours) == len(SCOPES)


async def _scopes(tell: Callable[[object], None]) -> None:
    for scope in SCOPES:
        began = trio.current_time()
        try:
            told: object = await scope()
        except (trio.Cancelled, RuntimeError, ExceptionGroup) as error:
            told = type(error).__name__
        tell((scope.__name__, told, round(trio.current_time() - began, 6)))


async def ends_by_itself() -> object:
    with trio.move_on_after(5) as scope:
        await trio.sleep(1)
    return scope.cancelled_caught


async def expires() -> object:
    with trio.move_on_after(1) as scope:
        await trio.sleep(5)
    return scope.cancelled_caught, scope.cancel_called


async def is_moved() -> object:
    with trio.move_on_after(1) as scope:
        scope.deadline += 2
        await trio.sleep(2)
        scope.deadline = trio.current_time() + 0.5
        await trio.sleep_forever()
    return scope.cancelled_caught


async def is_over_before_it_begins() -> object:
    with trio.move_on_after(0) as scope:
        await trio.lowlevel.checkpoint()
    return scope.cancelled_caught


async def is_cancelled_before_it_begins() -> object:
    scope = trio.CancelScope()
    scope.cancel()
    with scope:
        await trio.sleep(1)
    return scope.cancelled_caught


async def is_within_a_cancelled_one() -> object:
    with trio.CancelScope() as outer:
        outer.cancel()
        with trio.CancelScope() as inner:
            await trio.sleep(1)
    return outer.cancelled_caught, inner.cancelled_caught


async def is_shielded_from_the_outer_one() -> object:
    with trio.move_on_after(1) as outer:
        with trio.CancelScope(shield=True) as inner:
            await trio.sleep(3)
        await trio.sleep(1)
    return outer.cancelled_caught, inner.cancelled_caught


async def the_outer_one_expires() -> object:
    with trio.move_on_after(1) as outer, trio.move_on_after(2) as inner:
        await trio.sleep_forever()
    return outer.cancelled_caught, inner.cancelled_caught


async def is_used_twice() -> object:
    scope = trio.CancelScope()
    with scope:
        pass
    with scope:
        return "twice"


async def a_child_fails() -> object:
    async def fails() -> None:
        await trio.sleep(1)
        raise ValueError

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fails)
        with trio.move_on_after(3):
            await trio.sleep_forever()
    return None


async def a_child_is_started_into_another_scope() -> object:
    async def starts(*, task_status: trio.TaskStatus[None]) -> None:
        with trio.move_on_after(2):
            task_status.started()
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(1) as scope:
            await nursery.start(starts)
        return scope.cancelled_caught


SCOPES: tuple[Callable[[], Awaitable[object]], ...] = (
    ends_by_itself,
    expires,
    is_moved,
    is_over_before_it_begins,
    is_cancelled_before_it_begins,
    is_within_a_cancelled_one,
    is_shielded_from_the_outer_one,
    the_outer_one_expires,
    is_used_twice,
    a_child_fails,
    a_child_is_started_into_another_scope,
)  # fmt: skip
