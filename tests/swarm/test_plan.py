"""The trees of one crowd, as members come, fail, complain and go: always trees, and no hand is left free in vain."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from p2pcdn.swarm.advising.plan import CLASSES, COMPLAINTS_MAX, HANDS, Plan, Seat


def depth(seat: Seat, klass: int) -> int | None:
    """Steps to a source; None where there is none above. Fails on a circle."""
    steps, one = 0, seat
    while not one.source:
        above = one.parents[klass]
        if above is None:
            return None
        steps, one = steps + 1, above
        assert steps < 10_000, "a circle"
    return steps


def test_a_thousand_are_reached_in_a_few_steps_and_everybody_gives_as_much_as_it_takes() -> None:
    plan = Plan()
    reader = plan.join(gives=True, source=True)
    seats = [plan.join(gives=True, source=False) for _ in range(999)]
    for klass in range(CLASSES):
        depths = [depth(seat, klass) for seat in seats]
        assert None not in depths
        assert max(one for one in depths if one is not None) <= 8
        assert len(reader.children[klass]) == 1
    assert all(sum(map(len, seat.children)) <= HANDS for seat in seats)


def test_when_one_in_ten_gives_nothing_good_all_classes_miss_the_same() -> None:
    plan = Plan()
    plan.join(gives=True, source=True)
    seats = [plan.join(gives=True, source=False) for _ in range(99)]
    for liar in seats[::10]:
        for children in list(liar.children):
            for child in list(children):
                plan.complains(child, liar)
        assert not any(liar.hands)
        assert not any(liar.children)
    homeless = [sum(seat.parents[klass] is None for seat in seats) for klass in range(CLASSES)]
    assert max(homeless) - min(homeless) <= 1


def test_when_one_in_ten_comes_last_nobody_else_is_without_a_parent() -> None:
    plan = Plan()
    plan.join(gives=True, source=True)
    seats = [plan.join(gives=True, source=False) for _ in range(99)]
    liars = seats[::10]
    for liar in liars:
        plan.comes_last(liar)
    assert all(None not in seat.parents for seat in seats if seat not in liars)
    assert not any(parent for liar in liars for parent in liar.parents)


def test_where_a_third_only_take_all_classes_miss_the_same() -> None:
    plan = Plan()
    plan.join(gives=True, source=True)
    seats = [plan.join(gives=number % 3 > 0, source=False) for number in range(90)]
    homeless = [sum(seat.parents[klass] is None for seat in seats) for klass in range(CLASSES)]
    assert max(homeless) - min(homeless) <= 1


def test_when_a_parent_goes_its_children_have_another_one_at_once() -> None:
    plan = Plan()
    plan.join(gives=True, source=True)
    seats = [plan.join(gives=True, source=False) for _ in range(30)]
    gone = next(seat for seat in seats if seat.children[0])
    orphans = list(gone.children[0])
    plan.leave(gone)
    assert all(orphan.parents[0] is not None for orphan in orphans)


def test_who_has_read_for_all_passes_on_again_what_it_gets() -> None:
    """Where an upstream is slow to begin, one after the other reads in vain: nobody would be left to give."""
    plan = Plan()
    seats = [plan.join(gives=True, source=False) for _ in range(16)]
    for seat in seats:
        plan.becomes_source(seat)
        plan.is_no_source(seat)
    plan.becomes_source(seats[0])
    assert all(depth(seat, klass) is not None for seat in seats for klass in range(CLASSES))


def test_a_complaint_about_the_only_source_leaves_every_class_a_root() -> None:
    plan = Plan()
    reader = plan.join(gives=True, source=True)
    seats = [plan.join(gives=True, source=False) for _ in range(30)]
    for klass in range(CLASSES):
        child = next(iter(reader.children[klass]))
        assert plan.complains(child, reader)
        assert reader not in child.parents
    lost = [sum(depth(seat, klass) is None for seat in seats) for klass in range(CLASSES)]
    assert max(lost) <= 1


def test_whoever_says_that_it_has_it_all_does_not_cost_the_reader_its_last_hands() -> None:
    plan = Plan()
    reader = plan.join(gives=True, source=False)
    plan.becomes_source(reader, reads=True)
    plan.join(gives=True, source=True)
    seats = [plan.join(gives=True, source=False) for _ in range(30)]
    for _ in range(3):
        for seat in seats:
            plan.complains(seat, reader)
    assert all(reader.hands)


def test_who_is_put_on_a_wire_passes_on_and_who_is_taken_off_it_does_not_any_more() -> None:
    plan = Plan()
    plan.join(gives=True, source=True)
    seats = [plan.join(gives=number < 10, source=False) for number in range(20)]
    plan.wants_to_give(seats[15], gives=True)
    assert sum(seats[15].hands) == HANDS
    plan.wants_to_give(seats[3], gives=False)
    assert not any(seats[3].hands)
    assert not any(seats[3].children)


def test_a_large_room_in_which_nobody_gives_costs_its_tracker_little() -> None:
    """Steps are counted, not time: seeking a hand for everybody whenever one comes takes a step for each pair."""
    plan, steps = Plan(), 0
    search = plan._by_depth

    def counted(klass: int) -> Iterator[Seat]:
        nonlocal steps
        steps += 1
        return search(klass)

    plan._by_depth = counted  # type: ignore[method-assign]
    plan.join(gives=True, source=True)
    for _ in range(100):
        plan.join(gives=False, source=False)
    assert steps < 100 * CLASSES * 3
    steps = 0
    plan.join(gives=True, source=False)
    assert steps < 30


class Crowds(RuleBasedStateMachine):
    """Anything may happen to a crowd, in any order."""

    @initialize()
    def begin(self) -> None:
        self.plan = Plan()
        self.seats: list[Seat] = []

    @precondition(lambda self: self.seats)
    @rule(data=st.data(), gives=st.booleans())
    def wants_to_give(self, data: st.DataObject, gives: bool) -> None:
        self.plan.wants_to_give(data.draw(st.sampled_from(self.seats)), gives=gives)

    @rule(gives=st.booleans(), source=st.sampled_from([False, False, False, True]))
    def joins(self, gives: bool, source: bool) -> None:
        self.seats.append(self.plan.join(gives=gives, source=source))

    @precondition(lambda self: self.seats)
    @rule(dice=st.randoms(use_true_random=False))
    def leaves(self, dice: object) -> None:
        self.plan.leave(self.seats.pop(dice.randrange(len(self.seats))))  # type: ignore[attr-defined]

    @precondition(lambda self: self.seats)
    @rule(dice=st.randoms(use_true_random=False), what=st.sampled_from(["source", "whole", "no source"]))
    def changes(self, dice: object, what: str) -> None:
        seat = dice.choice(self.seats)  # type: ignore[attr-defined]
        if what == "no source":
            self.plan.is_no_source(seat)
        elif what == "whole":
            self.plan.is_whole(seat)
        else:
            self.plan.becomes_source(seat)

    @precondition(lambda self: self.seats)
    @rule(dice=st.randoms(use_true_random=False))
    def complains(self, dice: object) -> None:
        seat = dice.choice(self.seats)  # type: ignore[attr-defined]
        of = next((one for one in seat.parents if one is not None), None) or dice.choice(self.seats)  # type: ignore[attr-defined]
        if of is not seat:
            self.plan.complains(seat, of)

    @precondition(lambda self: self.seats)
    @rule(data=st.data())
    def comes_last(self, data: st.DataObject) -> None:
        self.plan.comes_last(data.draw(st.sampled_from(self.seats)))

    @invariant()
    def who_comes_last_has_no_parent_and_gives_only_as_a_source(self) -> None:
        for seat in self.seats:
            if seat.last:
                assert seat.parents == [None] * CLASSES
                assert seat.source or not any(seat.hands)

    @invariant()
    def both_ends_of_an_edge_know_of_it(self) -> None:
        for seat in self.seats:
            for klass in range(CLASSES):
                parent = seat.parents[klass]
                assert parent is None or (parent in self.seats and seat in parent.children[klass])
                assert all(child.parents[klass] is seat for child in seat.children[klass])

    @invariant()
    def nobody_gives_more_than_its_hands_or_to_whom_it_wronged(self) -> None:
        for seat in self.seats:
            assert sum(seat.hands) <= HANDS
            assert all(len(seat.children[klass]) <= seat.hands[klass] for klass in range(CLASSES))
            assert len(seat.refused) <= COMPLAINTS_MAX
            assert not seat.refused & {parent for parent in seat.parents if parent is not None}

    @invariant()
    def a_source_asks_nobody_and_nobody_asks_in_a_circle(self) -> None:
        for seat in self.seats:
            assert not seat.source or seat.parents == [None] * CLASSES
            for klass in range(CLASSES):
                depth(seat, klass)

    @invariant()
    def no_hand_is_free_while_somebody_seeks_one(self) -> None:
        for klass in range(CLASSES):
            for seeker in self.seats:
                if seeker.source or seeker.last or seeker.parents[klass] is not None:
                    continue
                for seat in self.seats:
                    if len(seat.children[klass]) < seat.hands[klass] and seat is not seeker:
                        assert seat in seeker.refused or self._is_below(seat, seeker, klass)

    @staticmethod
    def _is_below(seat: Seat, above: Seat, klass: int) -> bool:
        one: Seat | None = seat
        while one is not None and one is not above:
            one = one.parents[klass]
        return one is above


TestCrowds = Crowds.TestCase
TestCrowds.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
