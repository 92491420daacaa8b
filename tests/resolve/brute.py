"""The slow, plain truth: every choice of versions is tried, highest first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product

from packaging.requirements import Requirement as _Requirement
from packaging.version import Version

Requirement = cache(_Requirement)
# {"a": {"1": ["b>=2"]}, "a[x]": {"1": ["c"]}}: what a version requires, and what its extra adds.
Packages = Mapping[str, Mapping[str, list[str]]]


def solutions(packages: Packages, root: list[str]) -> Iterator[dict[str, str]]:
    """Each smallest set of pins that satisfies everybody. No markers but those of extras, no pre-releases."""
    names = sorted(name for name in packages if "[" not in name)
    for choice in product(*[[None, *sorted(packages[name], key=Version, reverse=True)] for name in names]):
        pins = {name: version for name, version in zip(names, choice, strict=True) if version is not None}
        if is_solution(packages, root, pins):
            yield pins


def is_solution(packages: Packages, root: list[str], pins: dict[str, str]) -> bool:
    """Whether everything that is required is there in a version that fits, and nothing else is."""
    needed: set[str] = set()
    ahead = list(root)
    while ahead:
        one = Requirement(ahead.pop())
        version = pins.get(one.name)
        if version is None or version not in one.specifier:
            return False
        for package in (one.name, *(f"{one.name}[{extra}]" for extra in one.extras)):
            if package not in needed:
                needed.add(package)
                ahead += packages.get(package, {}).get(version, [])
    return {name.partition("[")[0] for name in needed} == pins.keys()
