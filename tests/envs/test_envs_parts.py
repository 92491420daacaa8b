"""A plan cut into parts: each can be done while the others are, whatever comes first."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcdn.envs import parts
from p2pcdn.envs.parts import cut
from p2pcdn.envs.plan import Links

NAMES = st.lists(st.sampled_from("abc"), min_size=0, max_size=4).map("/".join)


def links_of(targets: list[str]) -> list[Links]:
    return [Links(0, "tree", "", f"{target}/" if target else "", ["one", "two"]) for target in targets]


def parents_first(targets: list[str]) -> list[str]:
    found = {target for one in targets for target in itertools.accumulate(one.split("/"), "{}/{}".format) if one}
    return sorted(found)


@given(targets=st.lists(NAMES, max_size=20), others=st.lists(NAMES, max_size=5), files_a_part=st.integers(1, 9))
def test_each_part_stands_on_its_own_once_the_first_directories_are_there(
    targets: list[str], others: list[str], files_a_part: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "FILES_A_PART", files_a_part)
        directories, links = parents_first([*targets, *others]), links_of(targets)
        first, cut_parts = cut(directories, links)
    assert sorted([*first, *(path for part in cut_parts for path in part.directories)]) == directories
    assert _files([one for part in cut_parts for one in part.links]) == _files(links)
    assert all(sum(len(one.names) for one in part.links) < 2 * files_a_part for part in cut_parts)
    for part in cut_parts:
        there = {""}
        for path in [*first, *part.directories]:
            assert path.rpartition("/")[0] in there
            there.add(path)
        assert all(one.target[:-1] in there for one in part.links)


def _files(links: list[Links]) -> list[str]:
    return [one.target + name for one in links for name in one.names]


def test_few_files_are_one_part() -> None:
    first, cut_parts = cut(["a", "a/b"], links_of(["a", "a/b"]))
    assert (first, [part.directories for part in cut_parts]) == ([], [["a", "a/b"]])


def test_nothing_is_no_part() -> None:
    assert cut(["a"], []) == (["a"], [])
