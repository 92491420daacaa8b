"""The solver against the plain truth: every small universe that hypothesis thinks of."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcdn.resolve import Knowledge, NoSolution, Solution, Source, Wanted, confirm, verify
from tests.resolve.brute import Packages, is_solution, solutions
from tests.resolve.universe import LINUX_311, keys_of, pins, universe

NAMES = ("a", "b", "c", "d")
VERSIONS = ("1", "2", "3")
SPECIFIERS = ("", "==1", "==2", "==3", "<2", ">1", ">=2", "<=2", "!=2", "!=3", ">=2,<3", "==9")

requirements = st.lists(st.builds("{}{}".format, st.sampled_from(NAMES), st.sampled_from(SPECIFIERS)), max_size=3)
versions = st.dictionaries(st.sampled_from(VERSIONS), requirements, min_size=1)
packages = st.fixed_dictionaries(dict.fromkeys(NAMES, versions))
roots = st.lists(st.builds("{}{}".format, st.sampled_from(NAMES), st.sampled_from(SPECIFIERS)), min_size=1, max_size=3)


@settings(max_examples=400, deadline=None)
@given(packages, roots)
def test_it_finds_a_solution_exactly_where_there_is_one(packages: Packages, root: list[str]) -> None:
    if any(True for _ in solutions(packages, root)):
        assert is_solution(packages, root, pins(universe(packages).solve(root)))
    else:
        with pytest.raises(NoSolution) as none:
            universe(packages).solve(root)
        assert none.value.sentences[-1].endswith("your requirements cannot all be met.")


@settings(max_examples=150, deadline=None)
@given(packages, roots)
def test_what_is_solved_is_verified(packages: Packages, root: list[str]) -> None:
    world = universe(packages)
    try:
        solution = world.solve(root)
    except NoSolution:
        return
    tables, metadata = world.tables.values(), world.metadata.values()
    faults = verify(solution, Wanted(tuple(root)), LINUX_311, tables, metadata)
    # After going back, what it left aside still fits those that stayed.
    assert all("comes before" in fault for fault in faults)


@settings(max_examples=150, deadline=None)
@given(packages, roots)
def test_of_all_solutions_only_our_own_is_confirmed_whatever_else_is_named(packages: Packages, root: list[str]) -> None:
    world, wanted = universe(packages), Wanted(tuple(root))
    for pinned in solutions(packages, root):
        knowledge = Knowledge()
        knowledge.learn(world.tables.values(), world.metadata.values())
        versions = [Source(project, version) for project, version in pinned.items()]
        for looked_at in (versions, [*world.metadata]):
            found = confirm(versions, keys_of(looked_at), wanted, LINUX_311, knowledge)
            assert not isinstance(found, Solution) or found == world.solve(root)
            assert pinned != pins(world.solve(root)) or looked_at is versions or isinstance(found, Solution)


@settings(max_examples=150, deadline=None)
@given(packages, roots, st.randoms(use_true_random=False))
def test_the_order_in_which_things_are_learned_changes_nothing(
    packages: Packages, root: list[str], dice: random.Random
) -> None:
    world = universe(packages)

    def outcome(*, likely: bool) -> object:
        try:
            return world.solve(root, likely=likely)
        except NoSolution as none:
            return none.sentences

    assert outcome(likely=False) == outcome(likely=True)
