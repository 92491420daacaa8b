"""Pre-releases and yanked versions on small universes: what is chosen was permitted, and finals that fit are found."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version

from p2pcdn.resolve import NoSolution
from tests.resolve.brute import Packages, Requirement, solutions
from tests.resolve.universe import Universe, pins, universe

NAMES = ("a", "b", "c")
SPECIFIERS = ("", "", "==1", "==2", "==3b1", ">=2", ">=2b1", "<2", ">1", "<=3b1", "!=2", "==2b1", "<3")
YANKED = "2"

requirements = st.lists(st.builds("{}{}".format, st.sampled_from(NAMES), st.sampled_from(SPECIFIERS)), max_size=2)
versions = st.dictionaries(st.sampled_from(["1", "2b1", "2", "3b1"]), requirements, min_size=1)
packages = st.fixed_dictionaries(dict.fromkeys(NAMES, versions))
roots = st.lists(st.builds("{}{}".format, st.sampled_from(NAMES), st.sampled_from(SPECIFIERS)), min_size=1, max_size=3)


@settings(max_examples=400, deadline=None)
@given(packages, roots, st.sampled_from([*NAMES, None]))
def test_what_is_chosen_was_permitted_and_a_solution_of_finals_is_found(
    packages: Packages, root: list[str], yanked: str | None
) -> None:
    finals = {name: {v: r for v, r in mine.items() if not _shut(name, v, yanked)} for name, mine in packages.items()}
    there_is_one = any(True for _ in solutions(finals, root))
    try:
        found = pins(_world(packages, yanked).solve(root))
    except NoSolution:
        assert not there_is_one
        return
    asked = [Requirement(text) for text in (*root, *(t for name in found for t in packages[name][found[name]]))]
    for name, version in found.items():
        mine = [one for one in asked if one.name == name]
        assert all(one.specifier.contains(version, prereleases=True) for one in mine)
        if name == yanked and version == YANKED:
            assert any(str(one.specifier) == f"=={YANKED}" for one in mine)
        if Version(version).is_prerelease:
            named = any(one.specifier.prereleases for one in mine)
            fitting = [v for v in finals[name] if all(v in one.specifier for one in mine)]
            assert named or not fitting, (name, version)


def _shut(name: str, version: str, yanked: str | None) -> bool:
    return Version(version).is_prerelease or (name == yanked and version == YANKED)


def _world(packages: Packages, yanked: str | None) -> Universe:
    world = universe(packages)
    if yanked is not None:
        table = world.tables[yanked]
        releases = [replace(one, yanked="a reason") if one.version == YANKED else one for one in table.releases]
        world.tables[yanked] = replace(table, releases=tuple(releases))
    return world
