"""Runs: what is read together once many versions of a project were tried in vain."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcdn.resolve import Knowledge, NoSolution, Source, Wanted, confirm, run
from tests.resolve.brute import Packages, is_solution, solutions
from tests.resolve.test_solver_truth import packages, roots
from tests.resolve.universe import LINUX_311, Universe, keys_of, pins

WHEEL = ("py3-none-any",)


@pytest.fixture(autouse=True, scope="module")
def _from_the_first_version_on() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "TRIED_BEFORE", 0)
        yield


def of_wheels(packages: Packages) -> Universe:
    """An sdist is read by nobody but who tries it, so a small universe has no runs without wheels."""
    found = Universe()
    for name, versions in packages.items():
        for version, requires in versions.items():
            found.add(name, version, *requires, tags=WHEEL)
    return found


@settings(max_examples=400, deadline=None)
@given(packages, roots)
def test_a_solution_is_found_exactly_where_there_is_one(packages: Packages, root: list[str]) -> None:
    if any(True for _ in solutions(packages, root)):
        assert is_solution(packages, root, pins(of_wheels(packages).solve(root)))
    else:
        with pytest.raises(NoSolution):
            of_wheels(packages).solve(root)


@settings(max_examples=200, deadline=None)
@given(packages, roots, st.randoms(use_true_random=False))
def test_what_happens_to_be_known_changes_nothing(packages: Packages, root: list[str], dice: random.Random) -> None:
    world = of_wheels(packages)
    chance = Knowledge()
    chance.learn(world.tables.values(), [one for one in world.metadata.values() if dice.random() < 0.5])

    def outcome(*, likely: bool, knowledge: Knowledge | None = None) -> object:
        try:
            return world.solve(root, likely=likely, knowledge=knowledge)
        except NoSolution as none:
            return none.sentences

    assert outcome(likely=False) == outcome(likely=True) == outcome(likely=False, knowledge=chance)


@settings(max_examples=150, deadline=None)
@given(packages, roots)
def test_whoever_confirms_reads_the_same_runs(packages: Packages, root: list[str]) -> None:
    world, wanted = of_wheels(packages), Wanted(tuple(root))
    try:
        found = world.solve(root)
    except NoSolution:
        return
    knowledge = Knowledge()
    knowledge.learn(world.tables.values(), world.metadata.values())
    versions = [Source(project, version) for project, version in pins(found).items()]
    asked = keys_of(source for need in world.asked for source in need.metadata)
    assert confirm(versions, asked, wanted, LINUX_311, knowledge) == found


def test_a_long_history_is_read_in_a_few_questions() -> None:
    old = {f"1.{number}": ["c>=2"] for number in range(1, 300)}
    world = of_wheels(
        {"a": {f"1.{number}": [f"b==1.{number}"] for number in range(300)}, "b": {"1.0": [], **old}, "c": {"1": []}}
    )
    assert pins(world.solve(["a", "c<2"])) == {"a": "1.0", "b": "1.0", "c": "1"}
    assert len(world.asked) < 25


def test_what_only_a_decision_rules_out_comes_back_without_it_and_with_all_that_it_requires() -> None:
    history = {f"1.{number}": ["d>=2"] for number in range(5, 9)} | {f"1.{number}": ["c<3"] for number in range(4)}
    packages = {
        "x": {"1": [], "2": ["c>=3"]},
        "a": history | {"1.4": ["c<2"]},
        "c": {"1": [], "2": [], "3": []},
        "d": {"1": [], "2": []},
    }
    found = pins(of_wheels(packages).solve(["x", "a", "d<2"]))
    assert found == {"x": "1", "a": "1.4", "c": "1", "d": "1"}


def test_a_long_history_that_leads_nowhere_is_told_in_a_few_sentences() -> None:
    many = {f"1.{number}": [f"b==1.{number}"] for number in range(60)}
    world = of_wheels({"a": many, "b": {version: ["c>=2"] for version in many}, "c": {"1": [], "2": []}})
    with pytest.raises(NoSolution) as none:
        world.solve(["a", "c<2"])
    assert none.value.sentences == (
        "You require c<2.",
        "You require a.",
        "b depends on c>=2.",
        "a depends on some versions of b.",
        "So your requirements cannot all be met.",
    )


def test_what_would_have_to_be_built_is_not_read_on_suspicion() -> None:
    world = Universe()
    for number in range(9):
        world.add("a", f"1.{number}", *(["b>=2"] if number else []), tags=() if number < 3 else WHEEL)
    world.add("b", "1")
    assert pins(world.solve(["a", "b<2"])) == {"a": "1.0", "b": "1"}
    together = [source.version for need in world.asked if len(need.metadata) > 1 for source in need.metadata[1:]]
    assert together
    assert not {"1.0", "1.1", "1.2"}.intersection(together)
