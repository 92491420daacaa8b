"""How long a download goes on hoping: for what is proven as long as it comes, for words not at all."""

from __future__ import annotations

from p2pcdn.swarm.filling.hope import SILENT_CROWD_S, TURN_TOLD_S, Hope
from p2pcdn.swarm.wire.advice import Advice

PATIENCE_S = 3.0
ONE_LEASE_S = PATIENCE_S + TURN_TOLD_S


def naming(*readers: int) -> Advice:
    return Advice(parents=("192.0.2.1:7273",) * 3, makers=tuple((bytes([number] * 32), "") for number in readers))


def lost_at(hope: Hope, *, can_read: bool = True) -> float:
    """The first quarter of a second at which it is."""
    return next(at / 4 for at in range(1000) if hope.is_lost(at / 4, PATIENCE_S, can_read=can_read))


def test_a_tracker_that_names_the_same_reader_after_its_lease_is_believed_no_longer() -> None:
    hope = Hope(0.0)
    for second in range(60):
        hope.note_advice(second, naming(1))
    assert ONE_LEASE_S < lost_at(hope) <= ONE_LEASE_S + 0.25


def test_a_reader_that_follows_another_is_given_twice_the_time_but_not_for_ever() -> None:
    hope = Hope(0.0)
    hope.note_advice(0.0, naming(1))
    hope.note_advice(3.1, naming(1, 2))
    assert 3 * PATIENCE_S + TURN_TOLD_S < lost_at(hope) <= 3 * PATIENCE_S + TURN_TOLD_S + 0.25
    for number in range(3, 9):
        hope.note_advice(number, naming(1, 2, number))
    assert SILENT_CROWD_S < lost_at(hope) <= SILENT_CROWD_S + 0.25


def test_what_others_have_is_to_come_within_the_watchdogs_time() -> None:
    hope = Hope(0.0)
    hope.note_lack(0.0, lacks=True)
    assert PATIENCE_S < lost_at(hope) <= PATIENCE_S + 0.25
    hope.note_lack(1.0, lacks=False)
    assert lost_at(hope) > PATIENCE_S + 0.25


def test_where_the_tracker_names_nobody_to_ask_nobody_is_waited_for_longer() -> None:
    hope = Hope(0.0)
    hope.note_advice(0.0, Advice())
    assert PATIENCE_S < lost_at(hope) <= PATIENCE_S + 0.25


def test_each_right_part_gives_the_whole_time_anew_and_other_bytes_once() -> None:
    hope = Hope(0.0)
    hope.note_lack(0.0, lacks=True)
    for second in range(20):
        hope.note_heard(second, PATIENCE_S)
    assert 2 * PATIENCE_S < lost_at(hope) <= 2 * PATIENCE_S + 0.25
    hope.note_right(20.0)
    assert hope.silent_s(21.0) == 1.0
    assert hope.note_came(22.0, 100) == 2.0
    assert hope.note_came(23.0, 100) == 0.0
    assert hope.silent_s(23.0) == 1.0


def test_after_somebody_was_doubted_the_others_have_the_whole_time() -> None:
    hope = Hope(0.0)
    hope.note_advice(0.0, naming(1))
    hope.begins_anew(5.0)
    hope.note_advice(5.0, naming(2))
    assert lost_at(hope) > 5.0 + ONE_LEASE_S


def test_who_cannot_read_the_origin_gives_up_after_the_watchdogs_time() -> None:
    assert PATIENCE_S < lost_at(Hope(0.0), can_read=False) <= PATIENCE_S + 0.25
