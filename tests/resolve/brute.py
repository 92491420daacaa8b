"""The slow, plain truth: every choice of versions is tried, highest first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product

from packaging.requirements import Requirement as _Requirement
from packaging.version import Version

Requirement = cache(_Requirement)
Packages = Mapping[str, Mapping[str, list[str]]]


def solutions(packages: Packages, root: list[str]) -> Iterator[dict[str, str]]:
    """Each smallest set of pins that satisfies everybody. No extras, markers or pre-releases."""
    names = sorted(packages)
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
        if one.name not in needed:
            needed.add(one.name)
            ahead += packages[one.name][version]
    # Those that were met before they were reached are checked again, by everybody who needs them.
    everybody = [*root, *(text for name in needed for text in packages[name][pins[name]])]
    return needed == pins.keys() and all(pins.get(r.name, "0") in r.specifier for r in map(Requirement, everybody))
