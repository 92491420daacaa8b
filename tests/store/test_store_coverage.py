"""What is there of a growing file, and who vouches for it, beside a model that knows each byte."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from p2pcdn.store.coverage import Coverage

SIZE_BYTES = 24

spans = st.tuples(st.integers(0, SIZE_BYTES), st.integers(0, SIZE_BYTES)).map(lambda pair: (min(pair), max(pair)))
steps = st.lists(st.tuples(st.sampled_from(["upstream", "peer", "member", "lost", "shown"]), spans), max_size=30)


class Bytes:
    """The model: of each kind the set of its bytes."""

    def __init__(self) -> None:
        self.present: set[int] = set()
        self.firm: set[int] = set()
        self.open: set[int] = set()
        self.shown: set[int] = set()


def _take(step: str, start: int, end: int, coverage: Coverage, model: Bytes) -> None:
    octets = set(range(start, end))
    if step == "lost":
        coverage.remove(start, end)
        for kind in (model.present, model.firm, model.open):
            kind -= octets
    elif step == "shown":
        coverage.show(start, end)
        model.shown |= octets - model.firm
    else:
        coverage.add(start, end, provisional=step != "upstream", vouched=step == "member")
        model.present |= octets
        model.firm |= octets if step == "upstream" else set()
        model.open |= octets if step != "peer" else set()


@given(steps)
def test_each_byte_is_what_was_said_of_it(taken: list[tuple[str, tuple[int, int]]]) -> None:
    coverage, model = Coverage(), Bytes()
    for step, (start, end) in taken:
        _take(step, start, end, coverage, model)
        assert _octets(coverage.present) == model.present
        assert _octets(coverage.firm) == model.firm
        assert _octets(coverage.open) == model.open
        assert _octets(coverage.provisional()) == model.present - model.firm
        assert coverage.is_provisional() == bool(model.present - model.firm)
        assert coverage.has_shown_unproven() == bool(model.shown - model.firm)
        assert _octets(coverage.wanted(0, SIZE_BYTES, provisional=True)) == set(range(SIZE_BYTES)) - model.present
        assert _octets(coverage.wanted(0, SIZE_BYTES, provisional=False)) == set(range(SIZE_BYTES)) - model.firm


def test_what_a_journal_vouches_for_readers_may_have_at_once() -> None:
    coverage = Coverage(present=iter([(0, 8), (12, 16)]), firm=iter([(0, 8)]))

    assert list(coverage.open) == [(0, 8)]
    assert coverage.provisional() == [(12, 16)]


def _octets(spans: Iterable[tuple[int, int]]) -> set[int]:
    return {octet for start, end in spans for octet in range(start, end)}
