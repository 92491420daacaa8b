"""The room beside the wire: when it is too slow, on made-up progress; and when the reading beside it is given up."""

from __future__ import annotations

import pytest

from p2pcdn.swarm.filling.race import TRIAL_S, WINDOW_FACTOR, WINDOW_S, Race

MIB = 1024 * 1024
WIRE = 100.0 * MIB


def watch(race: Race, rate: float, seconds: float, *, missing: float = 1000.0 * MIB, members: int = 1) -> bool:
    """A room that gives so much a second: whether it is found too slow within so many seconds."""
    for tick in range(round(seconds * 4) + 1):
        now = tick / 4
        came = round(rate * now)
        race.note(now, came, round(missing) - came, piece_s=0.01, members=members)
    return race.lost


@pytest.mark.parametrize(("rate", "lost"), [(WIRE, False), (WIRE * 0.6, False), (WIRE * 0.4, True), (0.0, True)])
def test_a_room_far_behind_the_wire_is_found_too_slow_and_one_that_keeps_up_is_not(rate: float, lost: bool) -> None:
    assert watch(Race(WIRE, on_air=False), rate, 5) is lost


def test_nothing_is_compared_with_a_wire_of_which_nothing_is_known() -> None:
    assert not watch(Race(None, on_air=False), 0.0, 60)


def test_a_room_has_time_to_begin() -> None:
    assert not watch(Race(WIRE, on_air=False), 0.0, WINDOW_S - 0.25)


def test_for_what_is_almost_here_nobody_races() -> None:
    assert not watch(Race(WIRE, on_air=False), 2.0 * MIB, 5, missing=6.0 * MIB)


def test_where_a_piece_takes_seconds_the_room_is_watched_for_longer() -> None:
    race = Race(WIRE, on_air=False)
    for tick in range(4 * int(WINDOW_FACTOR * 4)):
        race.note(tick / 4, 0, 1000 * MIB, piece_s=4.0, members=1)
    assert not race.lost


@pytest.mark.parametrize(("members", "lost"), [(20, False), (1, True)])
def test_on_shared_air_the_wire_is_everybodys_and_neighbours_take_it_twice(members: int, lost: bool) -> None:
    """Twenty on one access point: each gets a fortieth of the air, and that is all there is."""
    assert watch(Race(WIRE, on_air=True), WIRE / 40, 20, members=members) is lost


@pytest.mark.parametrize(("times_the_room", "goes_on"), [(1.5, False), (4.0, True)])
def test_a_reading_that_is_no_quicker_than_the_room_is_given_up_for_good(times_the_room: float, goes_on: bool) -> None:
    race, room = Race(WIRE, on_air=False), 2.0 * MIB
    assert watch(race, room, 5)
    for tick in range(round(TRIAL_S * 4) + 2):
        race.note_reading(5 + tick / 4, round(times_the_room * room * tick / 4))
    assert race.lost is goes_on
    if not goes_on:
        assert not watch(race, room, 60)
