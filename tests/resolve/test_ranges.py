"""Specifiers as terms: the same versions that packaging finds, and in words that mean them again."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.specifiers import InvalidSpecifier, Specifier, SpecifierSet
from packaging.version import Version

from p2pcdn.resolve import term
from p2pcdn.resolve.ranges import Versions, rank

# Around one release, so that what is hard (pre, post, dev, local, zeros at the end) meets often.
releases = st.sampled_from(["0.9", "1", "1.0", "1.0.0", "1.0.1", "1.1", "1.1.0", "1.10", "2", "2.0.1", "1!1.0"])
suffixes = st.sampled_from(["", "a1", "b2", "rc1", ".post1", ".dev1", "a1.dev2", ".post1.dev3", "rc1.post2", ".post2"])
locals_ = st.sampled_from(["", "", "", "+local.1", "+ubuntu"])
numbers = st.builds("{}{}{}".format, releases, suffixes, locals_)
public = st.builds("{}{}".format, releases, suffixes)
specifiers = st.one_of(
    st.builds("{}{}".format, st.sampled_from(["<", "<=", ">", ">=", "~="]), public),
    st.builds("{}{}".format, st.sampled_from(["==", "!=", "==="]), numbers),
    st.builds("{}{}.*".format, st.sampled_from(["==", "!="]), releases),
)


def valid(text: str) -> bool:
    try:
        Specifier(text)
    except InvalidSpecifier:
        return False
    return True


@settings(max_examples=600, deadline=None)
@given(st.sets(numbers, min_size=1, max_size=12), st.lists(specifiers.filter(valid), max_size=3))
def test_the_versions_that_specifiers_allow_are_those_that_packaging_finds(texts: set[str], several: list[str]) -> None:
    ordered = sorted({Version(text) for text in texts})
    versions = Versions(ordered)
    wanted = SpecifierSet(",".join(several))
    expected = {index for index, one in enumerate(ordered) if wanted.contains(one, prereleases=True)}
    found = versions.matching(",".join(several))
    assert set(term.upwards(found & versions.all)) == expected
    assert term.is_positive(found)


@given(st.lists(numbers, min_size=2, max_size=12))
def test_ranks_stand_as_their_versions_do(texts: list[str]) -> None:
    ordered = sorted(map(Version, [*texts, "9", "10", "20240101", "0.0"]))
    assert [*map(rank, ordered)] == sorted(map(rank, ordered))


@given(st.sets(st.integers(0, 300)))
def test_runs_cover_a_term_and_nothing_else(indexes: set[int]) -> None:
    bits = sum(term.version(index) for index in indexes)
    runs = list(term.runs(bits))
    assert [index for start, stop in runs for index in range(start, stop)] == sorted(indexes)
    assert all(stop < start for (_, stop), (start, _) in pairwise(runs)), "two runs touch"


@given(st.sets(st.integers(0, 300)))
def test_a_term_is_walked_up_and_down(indexes: set[int]) -> None:
    bits = sum(term.version(index) for index in indexes)
    assert list(term.upwards(bits)) == sorted(indexes)
    assert list(term.downwards(bits)) == sorted(indexes, reverse=True)


def test_a_negative_term_holds_of_versions_that_nobody_has_seen_yet() -> None:
    not_the_first = ~term.version(0)
    assert not term.is_positive(not_the_first)
    assert not_the_first & term.version(10_000)
    assert term.is_positive(term.PRESENT)
