"""One lock of many solutions: each package once for a source, with a marker that says where and for whom. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeVar

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from p2pcdn.lock.targets import PLATFORMS, Cell, Platform
from p2pcdn.resolve import Edge, Solution

C = TypeVar("C", bound=Hashable)


@dataclass(frozen=True, slots=True, order=True)
class Root:
    """Who wants something: the project itself, one of its extras, or one of its dependency groups."""

    kind: Literal["project", "extra", "group"] = "project"
    name: str = ""

    @property
    def marker(self) -> str:
        return f"'{self.name}' in {'extras' if self.kind == 'extra' else 'dependency_groups'}"


PROJECT = Root()
# What is always wanted; any other condition is a set of roots, of which one must be asked for.
ALWAYS: frozenset[Root] = frozenset()


@dataclass(frozen=True, slots=True)
class Merged:
    """One package of a lock: a version, or a direct URL, of a project. marker: "" where it is always wanted.

    dependencies: (project, version) of what it requires, wherever; the version is empty where the name says enough.
    """

    project: str
    version: str
    index: str
    url: str
    marker: str
    dependencies: tuple[tuple[str, str], ...]


def merge(
    solutions: Mapping[C, Solution], roots: Mapping[Root, Sequence[str]], where: Callable[[frozenset[C]], str]
) -> tuple[Merged, ...]:
    """The packages of all solutions, sorted by project, then version.

    solutions: by target. roots: the requirements of each, as the resolver was given them. where: the marker that holds
    for these targets and no others, "" for all of them.
    """
    wanted: dict[_Place, dict[frozenset[Root], set[C]]] = defaultdict(lambda: defaultdict(set))
    children: dict[_Place, set[_Place]] = defaultdict(set)
    for cells, solution in _alike(solutions):
        pins = {pin.project: (pin.project, pin.version, pin.url, pin.index) for pin in solution.pins}
        for project, who in reached(solution, roots).items():
            wanted[pins[project]][ALWAYS if PROJECT in who else who].update(cells)
        for edge in solution.edges:
            if edge.parent in pins and edge.child in pins:
                children[pins[edge.parent]].add(pins[edge.child])
    often = Counter(project for project, *_ in wanted)
    return tuple(_merged(place, _marker(wanted[place], where), children[place], often) for place in sorted(wanted))


# A package without what differs from target to target though it is the same: project, version, URL, index.
_Place = tuple[str, str, str, str]


def _alike(solutions: Mapping[C, Solution]) -> Iterable[tuple[list[C], Solution]]:
    """Most targets of a matrix share the very solution of another one."""
    found: dict[int, tuple[list[C], Solution]] = {}
    for cell, solution in solutions.items():
        found.setdefault(id(solution), ([], solution))[0].append(cell)
    return found.values()


def _merged(place: _Place, marker: str, children: set[_Place], often: Mapping[str, int]) -> Merged:
    """often: in how many places each project is; the name alone says enough of one that is in one."""
    project, version, url, index = place
    needs = {(child, its if often[child] > 1 else "") for child, its, *_ in children}
    return Merged(project, version, index, url, marker, tuple(sorted(needs)))


# -- who wants what ---------------------------------------------------------------------------------------------------


def reached(solution: Solution, roots: Mapping[Root, Sequence[str]]) -> dict[str, frozenset[Root]]:
    """For each project of a solution the roots from which requirements lead to it."""
    by_parent: dict[tuple[str, str], list[Edge]] = defaultdict(list)
    for edge in solution.edges:
        by_parent[edge.parent, edge.extra].append(edge)
    users = {_folded(edge.requirement): edge for edge in by_parent["", ""]}
    found: dict[str, set[Root]] = defaultdict(set)
    for root, requirements in roots.items():
        for project in _walk((users[text] for text in map(_folded, requirements) if text in users), by_parent):
            found[project].add(root)
    for pin in solution.pins:
        # What an override or a constraint brought in other words than the user's: better too often than missing.
        found[pin.project] = found[pin.project] or {PROJECT}
    return {project: frozenset(who) for project, who in found.items()}


def _walk(first: Iterable[Edge], by_parent: Mapping[tuple[str, str], Sequence[Edge]]) -> set[str]:
    seen: set[tuple[str, str]] = set()
    ahead = list(first)
    while ahead:
        edge = ahead.pop()
        for place in ((edge.child, ""), *((edge.child, extra) for extra in _extras(edge.requirement))):
            if place not in seen:
                seen.add(place)
                ahead.extend(by_parent.get(place, ()))
    return {project for project, _ in seen}


@lru_cache(maxsize=1_000)
def _extras(requirement: str) -> tuple[str, ...]:
    if "[" not in requirement:
        return ()
    try:
        return tuple(canonicalize_name(extra) for extra in Requirement(requirement).extras)
    except InvalidRequirement:
        return ()


def _folded(requirement: str) -> str:
    return "".join(requirement.split())


# -- where, in the words of PEP 508 -----------------------------------------------------------------------------------


def _marker(wanted: Mapping[frozenset[Root], set[C]], where: Callable[[frozenset[C]], str]) -> str:
    parts = []
    for who in sorted(wanted, key=lambda who: (len(who), sorted(who))):
        there = where(frozenset(wanted[who]))
        for_whom = " or ".join(root.marker for root in sorted(who))
        if not there and not for_whom:
            return ""
        parts.append(both(there, for_whom))
    return _either(parts)


def cells_marker(cells: frozenset[Cell], whole: frozenset[Cell]) -> str:
    """The marker that holds in these cells of the matrix and in no other of them; "" where it is all of them.

    Beyond the matrix the newest Python's row goes on, so that a lock does not end with the next minor.
    """
    if cells == whole:
        return ""
    minors = sorted({cell.minor for cell in whole})
    rows: dict[frozenset[Platform], list[int]] = defaultdict(list)
    for minor in minors:
        there = frozenset(cell.platform for cell in cells if cell.minor == minor)
        if there:
            rows[there].append(minor)
    parts = []
    for platforms, rows_minors in sorted(rows.items(), key=lambda row: row[1]):
        everywhere = frozenset(cell.platform for cell in whole if cell.minor in rows_minors)
        where = "" if platforms == everywhere else _platforms_marker(platforms, everywhere)
        parts.append(both(where, minors_marker(rows_minors, minors)))
    return _either(parts)


def minors_marker(some: Sequence[int], minors: Sequence[int]) -> str:
    """The marker that holds for some of these minors of Python 3, both sorted, and for no other of them."""
    runs: list[list[int]] = []
    for minor in some:
        if runs and minors.index(minor) == minors.index(runs[-1][-1]) + 1:
            runs[-1].append(minor)
        else:
            runs.append([minor])
    parts = []
    for run in runs:
        bounds = []
        if run[0] != minors[0]:
            bounds.append(f"python_version >= '3.{run[0]}'")
        if run[-1] != minors[-1]:
            bounds.append(f"python_version < '3.{minors[minors.index(run[-1]) + 1]}'")
        if not bounds:
            return ""
        parts.append(" and ".join(bounds))
    return _either(parts)


def _platforms_marker(some: frozenset[Platform], everywhere: frozenset[Platform]) -> str:
    systems = {system: {one for one in everywhere if one.sys_platform == system} for system in _systems(everywhere)}
    full = [system for system, platforms in systems.items() if platforms <= some]
    lacking = [system for system in systems if system not in full]
    rest = [one for one in PLATFORMS if one in some and one.sys_platform not in full]
    if not rest and len(lacking) == 1 and len(full) > 1:
        return f"sys_platform != '{lacking[0]}'"
    return _either([*(f"sys_platform == '{system}'" for system in full), *(one.marker for one in rest)])


def _systems(platforms: Iterable[Platform]) -> list[str]:
    there = {platform.sys_platform for platform in platforms}
    return [system for system in dict.fromkeys(one.sys_platform for one in PLATFORMS) if system in there]


def both(left: str, right: str) -> str:
    """The marker that holds where both do; "" holds everywhere."""
    if not left or not right:
        return left or right
    return " and ".join(f"({side})" if " or " in side else side for side in (left, right))


def _either(parts: Sequence[str]) -> str:
    if len(parts) == 1:
        return parts[0]
    return " or ".join(f"({part})" if " and " in part else part for part in parts)
