"""The trees of one crowd, as members come, fail, complain and go: always trees, and no hand is left free in vain."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from p2pcdn.swarm.plan import CLASSES, COMPLAINTS_MAX, HANDS, Plan, Seat


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


def test_when_a_parent_goes_its_children_have_another_one_at_once() -> None:
    plan = Plan()
    plan.join(gives=True, source=True)
    seats = [plan.join(gives=True, source=False) for _ in range(30)]
    gone = next(seat for seat in seats if seat.children[0])
    orphans = list(gone.children[0])
    plan.leave(gone)
    assert all(orphan.parents[0] is not None for orphan in orphans)


class Crowds(RuleBasedStateMachine):
    """Anything may happen to a crowd, in any order."""

    @initialize()
    def begin(self) -> None:
        self.plan = Plan()
        self.seats: list[Seat] = []

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
            self.plan.is_no_source(seat, gives=dice.random() < 0.5)  # type: ignore[attr-defined]
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
                if seeker.source or seeker.parents[klass] is not None:
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
