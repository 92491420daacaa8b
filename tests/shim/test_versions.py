"""Versions against ranges: our small comparison says what packaging says, and leaves to it what it does not know."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from p2pcdn_shim.zephyr.interpreters.versions import is_specifier, satisfies

numbers = st.integers(0, 14)
releases = st.tuples(st.just(3), numbers, numbers).map(lambda parts: ".".join(map(str, parts)))
partial = st.lists(numbers, min_size=1, max_size=3).map(lambda parts: ".".join(map(str, parts)))
operators = st.sampled_from(["==", "!=", ">=", "<=", ">", "<", "~="])
clauses = st.builds("{}{}{}".format, operators, partial, st.sampled_from(["", ".*", " "]))


@settings(derandomize=True, deadline=None, database=None)
@given(releases, st.lists(clauses, max_size=3).map(",".join))
def test_a_range_holds_what_packaging_says(version: str, specifier: str) -> None:
    try:
        expected = SpecifierSet(specifier).contains(version, prereleases=True)
    except InvalidSpecifier:
        with pytest.raises(ValueError):
            satisfies(version, specifier)
    else:
        assert satisfies(version, specifier) == expected


@pytest.mark.parametrize(
    ("version", "specifier", "fits"),
    [
        ("3.14.0rc1", ">=3.14", False), ("3.14.0rc1", "==3.14.*", True), ("3.12.1", "", True), ("3.12.1", " ", True),
        ("3.12.1", "===3.12.1", True), ("3.12.1", ">=3.12.1.post1", False), ("3.10.0", ">3.9", True),
    ],
)  # fmt: skip
def test_the_unusual_is_left_to_packaging(version: str, specifier: str, fits: bool) -> None:
    assert satisfies(version, specifier) is fits


def test_what_begins_with_an_operator_asks_for_a_range() -> None:
    assert is_specifier(">=3.9")
    assert is_specifier(" ~=3.9")
    assert not is_specifier("3.9")
