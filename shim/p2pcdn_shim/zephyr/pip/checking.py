"""Whether what is installed fits together: what is missing, what is there in another version, what is for elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product

from p2pcdn_shim.zephyr.pip.controls import normalize
from p2pcdn_shim.zephyr.pip.installed import Distribution
from p2pcdn_shim.zephyr.values import TYPE_CHECKING, Value

if TYPE_CHECKING:
    from packaging.requirements import Requirement
    from packaging.version import Version


class Package(Value):
    """A package as a check sees it: installed, or about to be."""

    name: str
    version: Version
    requires: tuple[Requirement, ...]


class Problem(Value):
    """needed: the project that `package` requires. held: the version that is there; None where it is missing."""

    package: Package
    requirement: Requirement
    needed: str
    held: Version | None

    def __str__(self) -> str:
        who = f"{self.package.name} {self.package.version}"
        if self.held is None:
            return f"{who} requires {self.needed}, which is not installed."
        return f"{who} has requirement {self.requirement}, but you have {self.needed} {self.held}."


def package_of(one: Distribution, markers: Mapping[str, str]) -> Package:
    """Raises ValueError for one whose metadata cannot be read."""
    from packaging.version import Version

    return Package(one.project, Version(one.version_text), tuple(one.requires(markers, strict=True)))


def packages_of(
    found: Iterable[Distribution], markers: Mapping[str, str], tell: Callable[[str], None]
) -> tuple[dict[str, Package], bool]:
    """By name; and whether some could not be read, which is told."""
    packages, broken = {}, False
    for one in found:
        try:
            packages[one.project] = package_of(one, markers)
        except ValueError as error:
            tell(f"Error parsing dependencies of {one.project}: {error}")
            broken = True
    return packages, broken


def problems(packages: Mapping[str, Package], only: Callable[[str], bool] | None = None) -> list[Problem]:
    """What is missing first, then what is there in another version. only: of which packages it is asked."""
    missing: list[Problem] = []
    conflicting: list[Problem] = []
    for name, package in packages.items():
        if only is not None and not only(name):
            continue
        for problem in sorted(_of_one(package, packages), key=str):
            (missing if problem.held is None else conflicting).append(problem)
    return missing + conflicting


def _of_one(package: Package, packages: Mapping[str, Package]) -> Iterator[Problem]:
    for requirement in dict.fromkeys(package.requires):
        needed = normalize(requirement.name)
        held = packages.get(needed)
        if held is None:
            yield Problem(package, requirement, needed, None)
        elif not requirement.specifier.contains(held.version, prereleases=True):
            yield Problem(package, requirement, needed, held.version)


def unsupported(found: Iterable[Distribution], tags: Sequence[str]) -> Iterator[Distribution]:
    """Those whose wheel was made for another platform or Python."""
    supported = frozenset(tags)
    for one in found:
        lines = [line for line in (one.read("WHEEL") or "").splitlines() if line.lower().startswith("tag:")]
        mine = {tag for line in lines for tag in expanded(line.partition(":")[2].strip())}
        if one.read("WHEEL") is not None and mine.isdisjoint(supported):
            yield one


def expanded(tag: str) -> Iterator[str]:
    """The tags of a compressed set (PEP 425)."""
    return map("-".join, product(*(part.split(".") for part in tag.split("-"))))
