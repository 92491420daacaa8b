"""Two solvers that others wrote, on universes too large to try everything: they agree with ours about solvability."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from p2pcdn.resolve import NoSolution
from tests.resolve.brute import Packages, is_solution
from tests.resolve.universe import pins, universe

SEEDS = range(120)
PROJECTS_MAX = 14
VERSIONS_MAX = 8


def dense(seed: int) -> tuple[Packages, list[str]]:
    """A universe of this seed, near the border where half of them have a solution."""
    dice = random.Random(seed)
    names = [f"p{number}" for number in range(dice.randint(4, PROJECTS_MAX))]
    packages = {
        name: {
            str(version): [_narrow(dice, other) for other in dice.sample(names, dice.randint(0, 3)) if other != name]
            for version in range(1, dice.randint(2, VERSIONS_MAX) + 1)
        }
        for name in names
    }
    return packages, [_narrow(dice, name) for name in dice.sample(names, 3)]


def _narrow(dice: random.Random, name: str) -> str:
    low = dice.randint(1, VERSIONS_MAX)
    return dice.choice(
        [name, f"{name}>={low}", f"{name}<={low}", f"{name}!={low}", f"{name}>={low},<{low + 3}", f"{name}=={low}"]
    )


def ours(packages: Packages, root: list[str]) -> dict[str, str] | None:
    try:
        found = pins(universe(packages).solve(root))
    except NoSolution:
        return None
    assert is_solution(packages, root, found)
    return found


@pytest.mark.parametrize("start", SEEDS[::20])
def test_resolvelib_finds_a_solution_exactly_where_we_do(start: int) -> None:
    pytest.importorskip("resolvelib", reason="resolvelib is not installed: pip install -e '.[test]'")
    for seed in SEEDS[start : start + 20]:
        packages, root = dense(seed)
        assert _by_resolvelib(packages, root) == (ours(packages, root) is not None), seed


@pytest.mark.parametrize("start", SEEDS[::20])
def test_nab_finds_a_solution_exactly_where_we_do(start: int) -> None:
    pytest.importorskip("nab_resolver", reason="nab-resolver is not installed: pip install -e '.[test]'")
    for seed in SEEDS[start : start + 20]:
        packages, root = dense(seed)
        assert _by_nab(packages, root) == (ours(packages, root) is not None), seed


def test_both_answers_are_among_the_seeds() -> None:
    solved = [ours(*dense(seed)) is not None for seed in SEEDS]
    assert 20 < sum(solved) < len(solved) - 20


def _by_resolvelib(packages: Packages, root: list[str]) -> bool:
    import resolvelib

    class Provider(resolvelib.AbstractProvider):  # type: ignore[type-arg]  # it is not typed here
        def identify(self, requirement_or_candidate: Any) -> str:
            one = requirement_or_candidate
            return one.name if isinstance(one, Requirement) else one[0]

        def get_preference(self, identifier: str, *_: Any, **__: Any) -> str:
            return identifier

        def find_matches(self, identifier: str, requirements: Any, incompatibilities: Any) -> Iterable[Any]:
            bad = {candidate[1] for candidate in incompatibilities[identifier]}
            several = list(requirements[identifier])
            return [
                (identifier, version)
                for version in sorted(packages[identifier], key=Version, reverse=True)
                if version not in bad and all(version in one.specifier for one in several)
            ]

        def is_satisfied_by(self, requirement: Any, candidate: Any) -> bool:
            return candidate[1] in requirement.specifier

        def get_dependencies(self, candidate: Any) -> Iterable[Any]:
            return [Requirement(text) for text in packages[candidate[0]][candidate[1]]]

    solver = resolvelib.Resolver(Provider(), resolvelib.BaseReporter())
    try:
        solver.resolve([Requirement(text) for text in root], max_rounds=100_000)
    except resolvelib.ResolutionImpossible:
        return False
    except RecursionError:
        # It has one, and loses itself in a circle of packages that fell out of it on the way.
        return True
    return True


def _by_nab(packages: Packages, root: list[str]) -> bool:
    from nab_resolver.errors import ResolutionError
    from nab_resolver.ranges import Range
    from nab_resolver.resolver import BaseProvider, Resolver

    versions = {name: sorted(map(Version, packages[name]), reverse=True) for name in packages}

    def ranges(texts: Iterable[str]) -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        for one in map(Requirement, texts):
            mine = Range.from_versions(_allowed(versions[one.name], one.specifier))
            found[one.name] = found[one.name] & mine if one.name in found else mine
        return found

    class Provider(BaseProvider):  # type: ignore[type-arg]  # it is not typed here
        def choose_version(self, package: str, version_range: Any) -> Version | None:
            return next((one for one in versions[package] if one in version_range), None)

        def has_satisfying_version(self, package: str, version_range: Any) -> bool:
            return self.choose_version(package, version_range) is not None

        def get_dependencies(self, package: str, version: Version) -> Mapping[str, Any]:
            return ranges(packages[package][str(version)])

        def prioritize(self, package: str, *_: Any) -> Any:
            return package

        def widen_decision(self, package: str, version: Version, *_: Any) -> Any:
            return Range.singleton(version)

    try:
        Resolver(Provider()).resolve(ranges(root))
    except ResolutionError:
        return False
    return True


def _allowed(versions: Iterable[Version], specifier: SpecifierSet) -> Iterator[Version]:
    return (version for version in versions if version in specifier)
