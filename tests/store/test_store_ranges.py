"""Ranges agree with a plain set of numbers."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcdn.store.ranges import Ranges

SPANS = st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda pair: (min(pair), max(pair)))


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.booleans(), SPANS), max_size=12), SPANS)
def test_ranges_are_a_set_of_numbers(steps: list[tuple[bool, tuple[int, int]]], asked: tuple[int, int]) -> None:
    ranges, model = Ranges(), set[int]()
    for adds, (start, end) in steps:
        if adds:
            ranges.add(start, end)
            model.update(range(start, end))
        else:
            ranges.remove(start, end)
            model.difference_update(range(start, end))
    numbers = set(range(*asked))
    assert {n for span in ranges for n in range(*span)} == model
    assert all(a < b for a, b in ranges)
    assert all(before[1] < after[0] for before, after in pairwise(ranges))
    assert {n for span in ranges.missing(*asked) for n in range(*span)} == numbers - model
    assert {n for span in ranges.within(*asked) for n in range(*span)} == numbers & model
    assert ranges.covers(*asked) == (numbers <= model)
    assert ranges.size_bytes() == len(model)
    assert ranges.end() == max(model, default=-1) + 1
    end = asked[0]
    while end in model:
        end += 1
    assert ranges.end_from(asked[0]) == end
