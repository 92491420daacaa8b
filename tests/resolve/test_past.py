"""A search that another target has made already is not made again; one that would go another way is."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcdn.resolve import Knowledge, NoSolution, Solution, Target, Wanted
from tests.resolve.test_solver_truth import NAMES, SPECIFIERS, VERSIONS
from tests.resolve.universe import LINUX_311, Universe

MARKERS = ("", "; sys_platform == 'win32'", "; python_version < '3.12'", "; platform_machine == 'arm64'")
PYTHONS = ("", "", ">=3.12", "<3.12")
TAGS = ((), (), ("py3-none-any",), ("cp311-cp311-manylinux_2_17_x86_64",), ("cp311-cp311-win_amd64",))


def target(tags: tuple[str, ...], **variables: str) -> Target:
    return replace(Target.of({**dict(LINUX_311.environment), **variables}, tags))


LINUX, WINDOWS = ("cp311-cp311-manylinux_2_17_x86_64", "py3-none-any"), ("cp311-cp311-win_amd64", "py3-none-any")
TARGETS = [
    target(LINUX),
    target(LINUX, platform_release="6.2"),
    target(LINUX, platform_machine="arm64"),
    target(LINUX, python_version="3.12", python_full_version="3.12.1"),
    target(WINDOWS, sys_platform="win32"),
    target(WINDOWS, sys_platform="win32", platform_release="11"),
]

requirement = st.builds("{}{}{}".format, st.sampled_from(NAMES), st.sampled_from(SPECIFIERS), st.sampled_from(MARKERS))
release = st.tuples(st.lists(requirement, max_size=3), st.sampled_from(PYTHONS), st.sampled_from(TAGS))
worlds = st.fixed_dictionaries(dict.fromkeys(NAMES, st.dictionaries(st.sampled_from(VERSIONS), release, min_size=1)))


def world_of(releases: dict[str, dict[str, tuple[list[str], str, tuple[str, ...]]]]) -> Universe:
    found = Universe()
    for name, versions in releases.items():
        for version, (requires, python, tags) in versions.items():
            found.add(name, version, *requires, requires_python=python, tags=tags, sdist=not tags)
    return found


def outcome(world: Universe, wanted: Wanted, one: Target, knowledge: Knowledge | None) -> Solution | None:
    try:
        return world.solve(wanted, one, knowledge=knowledge)
    except NoSolution:
        return None


@settings(max_examples=300, deadline=None)
@given(worlds, st.lists(requirement, min_size=1, max_size=3), st.permutations(TARGETS))
def test_with_a_past_every_target_gets_what_it_would_get_without(
    releases: dict[str, dict[str, tuple[list[str], str, tuple[str, ...]]]], root: list[str], targets: list[Target]
) -> None:
    world, shared = world_of(releases), Knowledge()
    preferences: dict[tuple[str, str], None] = {}
    for one in targets:
        wanted = Wanted(tuple(root), preferences=tuple(preferences))
        found = outcome(world, wanted, one, shared)
        assert found == outcome(world, wanted, one, None)
        preferences |= dict.fromkeys((pin.project, pin.version) for pin in found.pins) if found is not None else {}


def test_a_target_that_differs_in_nothing_that_was_asked_needs_no_search() -> None:
    world, shared = Universe(), Knowledge()
    world.add("a", "1", "b; sys_platform == 'linux'", "c; sys_platform == 'win32'")
    world.add("b", "1")
    world.add("c", "1")
    wanted = Wanted(("a",))
    assert shared.past.solution(wanted, LINUX_311) is None
    found = world.solve(wanted, LINUX_311, knowledge=shared)
    assert shared.past.solution(wanted, target(LINUX, platform_release="6.2")) is found
    assert shared.past.solution(wanted, target(WINDOWS, sys_platform="win32")) is None
    assert shared.past.solution(replace(wanted, prefer="lowest"), LINUX_311) is None


def test_preferences_count_only_where_somebody_looks() -> None:
    world, shared = Universe(), Knowledge()
    world.add("a", "1")
    world.add("a", "2")
    found = world.solve(Wanted(("a",)), knowledge=shared)
    assert shared.past.solution(Wanted(("a",), preferences=(("a", "2"), ("a", "1"))), LINUX_311) is found
    assert shared.past.solution(Wanted(("a",), preferences=(("b", "1"),)), LINUX_311) is found
    assert shared.past.solution(Wanted(("a",), preferences=(("a", "1"),)), LINUX_311) is None
