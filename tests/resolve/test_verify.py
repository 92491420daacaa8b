"""A neighbour's solution: what is right passes, and every lie about it is found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from p2pcdn.resolve import Doubt, Edge, Keys, Knowledge, Need, Resolver, Solution, Source, Wanted, confirm, verify
from tests.resolve.brute import Packages
from tests.resolve.universe import LINUX_311, Universe, keys_of, universe

WANTED = Wanted(("a[x]>=1", "d"), constraints=("c<3",))


def world() -> Universe:
    found = universe(
        {
            "a": {"1": [], "2": ["b>=1"]},
            "a[x]": {"1": [], "2": ["c"]},
            "b": {"1": [], "2": []},
            "c": {"1": [], "2": [], "3": []},
            "d": {"1": ["b"], "2b1": ["b"]},
            "e": {"1": []},
        }
    )
    found.add("b", "3", yanked="no")
    found.add("b", "4", requires_python=">=3.12")
    return found


def faults(solution: Solution, wanted: Wanted = WANTED) -> tuple[str, ...]:
    here = world()
    return verify(solution, wanted, LINUX_311, here.tables.values(), here.metadata.values())


def with_version(project: str, version: str) -> Callable[[Solution], Solution]:
    def changed(one: Solution) -> Solution:
        pins = tuple(replace(pin, version=version) if pin.project == project else pin for pin in one.pins)
        return replace(one, pins=pins)

    return changed


def test_what_we_would_have_found_passes() -> None:
    assert faults(world().solve(WANTED)) == ()


LIES: dict[str, tuple[Callable[[Solution], Solution], str]] = {
    "an older version": (with_version("b", "1"), "b 2 fits, and comes before b 1."),
    "a yanked version": (with_version("b", "3"), "b 3 is a pre-release or yanked, and nobody asks for it."),
    "a version for another Python": (with_version("b", "4"), "b 4 needs Python >=3.12 (this is 3.11.7)."),
    "a version that there is not": (with_version("b", "9"), "There is no b 9."),
    "a version that a constraint forbids": (with_version("c", "3"), "c 3 is not what everybody requires."),
    "a pre-release": (with_version("d", "2b1"), "d 2b1 is a pre-release or yanked, and nobody asks for it."),
    "a pin less": (lambda one: replace(one, pins=one.pins[:1] + one.pins[2:]), "It lacks b."),
    "a pin more": (
        lambda one: replace(one, pins=(*one.pins, replace(one.pins[0], project="e", version="1"))),
        "It is not what these decisions come to.",
    ),
    "a pin twice": (lambda one: replace(one, pins=one.pins + one.pins[-1:]), "It is not what these decisions come to."),
    "another index": (
        lambda one: replace(one, pins=(replace(one.pins[0], index="evil"), *one.pins[1:])),
        "It is not what these decisions come to.",
    ),
    "an extra less": (
        lambda one: replace(one, pins=(replace(one.pins[0], extras=()), *one.pins[1:])),
        "It is not what these decisions come to.",
    ),
    "an edge more": (
        lambda one: replace(one, edges=(*one.edges, Edge("a", "", "e", "e"))),
        "It is not what these decisions come to.",
    ),
    "a warning": (lambda one: replace(one, warnings=("Call 0900.",)), "It is not what these decisions come to."),
    "nothing": (lambda one: Solution((), ()), "It lacks d."),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_found(name: str) -> None:
    lie, fault = LIES[name]
    assert fault in faults(lie(world().solve(WANTED)))


def test_a_solution_for_somebody_else_is_refused() -> None:
    solution = world().solve(WANTED)
    assert faults(solution, Wanted(("a[x]>=1", "d"))) == ("c 3 fits, and comes before c 2.",)
    assert faults(solution, Wanted(("a[x]>=1", "d", "e"), constraints=("c<3",))) == ("It lacks e.",)


def test_what_we_do_not_know_is_not_believed() -> None:
    here, solution = world(), world().solve(WANTED)
    tables = [table for table in here.tables.values() if table.project != "b"]
    assert verify(solution, WANTED, LINUX_311, tables, here.metadata.values()) == ("The table of b is not here.",)
    metadata = [one for one in here.metadata.values() if one.source.project != "b"]
    assert verify(solution, WANTED, LINUX_311, here.tables.values(), metadata) == ("The metadata of b 2 is not here.",)


def searched(here: Universe, wanted: Wanted) -> tuple[Solution, Resolver]:
    found = Resolver(wanted, LINUX_311)
    while isinstance(answer := found.step(), Need):
        found.learn(here.tables.values(), here.metadata.values())
    return answer, found


def confirmed(here: Universe, wanted: Wanted, versions: Iterable[Source], looked_at: Keys) -> bool:
    """Whether they are; then it is our own solution."""
    knowledge = Knowledge()
    knowledge.learn(here.tables.values(), here.metadata.values())
    found = confirm(versions, looked_at, wanted, LINUX_311, knowledge)
    assert isinstance(found, Doubt) or found == here.solve(wanted)
    return isinstance(found, Solution)


def test_versions_alone_come_to_the_whole_solution() -> None:
    here = world()
    solution, search = searched(here, WANTED)
    sources = [pin.source for pin in solution.pins]
    assert confirmed(here, WANTED, sources, search.looked_at)
    assert not confirmed(here, WANTED, [*sources, Source("e", "1")], search.looked_at)
    assert not confirmed(here, WANTED, sources[1:], search.looked_at)
    assert not confirmed(here, WANTED, sources, keys_of(sources[1:]))


def test_who_had_to_go_back_names_what_else_he_looked_at() -> None:
    here = universe({"a": {"1": [], "2": ["b>=2"]}, "b": {"1": [], "2": []}})
    wanted = Wanted(("b<2", "a"))
    solution, search = searched(here, wanted)
    sources = [pin.source for pin in solution.pins]
    assert search.looked_at == {"a": ["2", "1"], "b": ["1"]}
    assert confirmed(here, wanted, sources, search.looked_at)
    assert not confirmed(here, wanted, sources, keys_of(sources))


# Each solution of these is as new as it can be, as long as the rest of it stays.
ISLANDS = (
    ({"b": {"2": [], "1": ["d"]}, "d": {"1": ["b==1"]}}, ("b",), {"b": "1", "d": "1"}),
    ({"a": {"1": [], "2": ["b<2"]}, "b": {"1": [], "2": ["a<2"]}}, ("a", "b"), {"a": "1", "b": "2"}),
)


@pytest.mark.parametrize(("packages", "root", "island"), ISLANDS)
def test_nobody_can_choose_among_solutions_for_us(
    packages: Packages, root: tuple[str, ...], island: dict[str, str]
) -> None:
    here = universe(packages)
    named = [Source(project, version) for project, version in island.items()]
    assert not confirmed(here, Wanted(root), named, keys_of(named))
    assert not confirmed(here, Wanted(root), named, keys_of(here.metadata))
