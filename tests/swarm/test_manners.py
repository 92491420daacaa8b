"""The limit on what a node gives: never more than it says, and never less than it could."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcdn.swarm.giving.manners import BURST_S, SLOTS, Allowance, Manners

PIECE = 1 << 20


def test_a_machine_of_which_nothing_is_known_gives_freely() -> None:
    assert Manners() == Manners(upload_limit_bytes_s=None, slots=SLOTS, prefers_to_give=True)


@pytest.mark.parametrize("bytes_s", [None, 0])
def test_without_a_limit_nobody_waits(bytes_s: int | None) -> None:
    allowance = Allowance(bytes_s)
    assert [allowance.wait_s(10**12, now) for now in (0.0, 0.0, 1.0)] == [0.0, 0.0, 0.0]
    assert allowance.backlog_s(0.0) == 0.0


def test_what_was_not_given_for_an_hour_is_not_made_up_for() -> None:
    allowance = Allowance(PIECE)
    allowance.wait_s(PIECE, 0.0)
    waits = [allowance.wait_s(PIECE, 3600.0) for _ in range(3)]
    assert waits == [0.0, 1.0 - BURST_S, 2.0 - BURST_S]


def test_the_backlog_tells_what_the_next_byte_would_wait_and_takes_nothing() -> None:
    allowance = Allowance(PIECE)
    for _ in range(3):
        allowance.wait_s(PIECE, 100.0)
    assert allowance.backlog_s(100.0) == allowance.backlog_s(100.0) == 3.0 - BURST_S
    assert allowance.backlog_s(101.0) == 2.0 - BURST_S
    assert allowance.backlog_s(1000.0) == 0.0


@given(
    bytes_s=st.integers(1, 10**9),
    asked=st.lists(st.tuples(st.floats(0, 60), st.integers(0, 4 * PIECE)), min_size=1, max_size=60),
)
def test_no_span_of_time_sees_more_than_the_limit_and_one_answer(bytes_s: int, asked: list[tuple[float, int]]) -> None:
    allowance = Allowance(bytes_s)
    now, begun = 0.0, []
    for pause_s, size_bytes in asked:
        now += pause_s
        begun.append((now + allowance.wait_s(size_bytes, now), size_bytes))
    for first in range(len(begun)):
        total = 0
        for at, size_bytes in begun[first:]:
            # What began before the last of a span counts; the last one is the answer that is more.
            assert total <= bytes_s * (at - begun[first][0] + BURST_S) * (1 + 1e-6) + 1
            total += size_bytes


@given(bytes_s=st.integers(1000, 10**9), count=st.integers(1, 50))
def test_a_neighbour_that_always_asks_gets_all_of_the_limit(bytes_s: int, count: int) -> None:
    allowance = Allowance(bytes_s)
    now = 0.0
    for _ in range(count):
        now += allowance.wait_s(PIECE, now)
    assert now <= PIECE * (count - 1) / bytes_s + 1e-6


def test_with_refusals_in_place_of_waits_the_limit_holds_as_well() -> None:
    allowance = Allowance(4 * PIECE)
    given = 0
    for tick in range(10_000):
        now = tick / 1000
        if not allowance.backlog_s(now):
            assert allowance.wait_s(PIECE, now) == 0.0
            given += PIECE
    assert 4 * PIECE * 9.5 <= given <= 4 * PIECE * (10 + BURST_S) + PIECE
