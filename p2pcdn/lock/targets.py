"""The environments that a lock is made for: a matrix of platforms and Python minors, each cell a resolver's target."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from packaging.markers import InvalidMarker, Marker, UndefinedComparison, UndefinedEnvironmentName
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import compatible_tags, cpython_tags, mac_platforms

from p2pcdn.resolve import PATCHES_MAX, BadRequirement, Target

# The minors of Python 3 that zephyr makes environments for. The oldest patch release that a project takes stands for
# the others (docs/decisions/0046): what runs on it runs on them, and what a marker adds for it they can do with.
MINORS = range(8, 15)
# For a project that does not say which Pythons it takes: those that get fixes.
DEFAULT_REQUIRES_PYTHON = ">=3.10"
# What the oldest Linux still has that gets fixes and is in common use (Ubuntu 22.04). Who has an older one is told when
# he installs that no wheel fits; who has a newer one gets the better wheels, for the lock lists them, too.
GLIBC_MINOR = 35
GLIBC_MINOR_LISTED = 60
GLIBC_MINOR_OLDEST = 5
MUSL_MINOR_LISTED = 9
MACOS_MAJOR = 14

_LEGACY = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}


@dataclass(frozen=True, slots=True)
class Platform:
    """One kind of machine. The fields are the variables of PEP 508; name: for sentences."""

    name: str
    sys_platform: str
    platform_machine: str
    os_name: str
    platform_system: str

    @property
    def marker(self) -> str:
        return f"sys_platform == '{self.sys_platform}' and platform_machine == '{self.platform_machine}'"

    @property
    def environment(self) -> str:
        """The same, as a lock's `environments` say it: pdm knows its targets by these two variables, and fails at a
        lock that names them by others.
        """
        return f"platform_system == '{self.platform_system}' and platform_machine == '{self.platform_machine}'"


PLATFORMS = (
    Platform("Linux x86-64", "linux", "x86_64", "posix", "Linux"),
    Platform("Linux ARM64", "linux", "aarch64", "posix", "Linux"),
    Platform("macOS ARM64", "darwin", "arm64", "posix", "Darwin"),
    Platform("macOS x86-64", "darwin", "x86_64", "posix", "Darwin"),
    Platform("Windows x86-64", "win32", "AMD64", "nt", "Windows"),
    Platform("Windows ARM64", "win32", "ARM64", "nt", "Windows"),
)


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix: CPython 3.`minor` on one platform, from that patch release on."""

    platform: Platform
    minor: int
    patch: int = 0

    @property
    def name(self) -> str:
        return f"Python 3.{self.minor} on {self.platform.name}"

    @property
    def environment(self) -> dict[str, str]:
        full = f"3.{self.minor}.{self.patch}"
        return {
            "implementation_name": "cpython",
            "implementation_version": full,
            "os_name": self.platform.os_name,
            "platform_machine": self.platform.platform_machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": self.platform.platform_system,
            "platform_version": "",
            "python_full_version": full,
            "python_version": f"3.{self.minor}",
            "sys_platform": self.platform.sys_platform,
        }

    @cached_property
    def target(self) -> Target:
        return Target.of(self.environment, tags_of(self.platform, self.minor), and_later=True)


def matrix(requires_python: str, environments: Sequence[str] = ()) -> tuple[Cell, ...]:
    """The cells that a lock must serve, the newest Python and the commonest platform first.

    environments: markers; a cell for which one of them holds is in the matrix, every cell where there is none.
    Raises BadRequirement for a specifier or marker that is none, or that no cell fulfils.
    """
    try:
        pythons = SpecifierSet(requires_python or DEFAULT_REQUIRES_PYTHON)
    except InvalidSpecifier as error:
        raise BadRequirement(f"requires-python {requires_python!r} is not a version specifier.") from error
    patches = {minor: patch for minor in reversed(MINORS) if (patch := _oldest(pythons, minor)) is not None}
    if not patches:
        known = f"3.{min(MINORS)} to 3.{max(MINORS)}"
        raise BadRequirement(f"requires-python {requires_python!r} allows no Python that zephyr knows ({known}).")
    cells = [Cell(platform, minor, patch) for minor, patch in patches.items() for platform in PLATFORMS]
    if not environments:
        return tuple(cells)
    markers = [_marker(text) for text in environments]
    for text, marker in zip(environments, markers, strict=True):
        if not any(_holds(marker, cell) for cell in cells):
            raise BadRequirement(
                f"No environment that zephyr knows, and that requires-python allows, fulfils {text!r}."
            )
    return tuple(cell for cell in cells if any(_holds(marker, cell) for marker in markers))


def _oldest(pythons: SpecifierSet, minor: int) -> int | None:
    """The oldest patch release that a project takes; None where it takes none."""
    return next((patch for patch in range(PATCHES_MAX) if pythons.contains(f"3.{minor}.{patch}")), None)


def by_environment(cells: Sequence[Cell], environments: Sequence[str]) -> list[frozenset[Cell]]:
    """For each of these markers, and each Python: the cells where it holds."""
    return [
        frozenset(cell for cell in cells if cell.minor == minor and _holds(marker, cell))
        for marker in map(_marker, environments)
        for minor in dict.fromkeys(cell.minor for cell in cells)
    ]


def cell_of(markers: Mapping[str, str], cells: Iterable[Cell]) -> Cell | None:
    """The cell that stands for an interpreter of these PEP 508 variables; None where there is none."""
    same = ("sys_platform", "platform_machine", "python_version", "platform_python_implementation")
    return next(
        (cell for cell in cells if all(cell.environment[name] == markers.get(name) for name in same)),
        None,
    )


def names_of(cells: Sequence[Cell]) -> str:
    """For a sentence: "Python 3.9 and 3.8", "Python 3.9 on Windows x86-64"."""
    minors: dict[int, list[str]] = {}
    for cell in cells:
        minors.setdefault(cell.minor, []).append(cell.platform.name)
    by_platforms: dict[tuple[str, ...], list[int]] = {}
    for minor, platforms in minors.items():
        by_platforms.setdefault(tuple(platforms), []).append(minor)
    parts = []
    for where, some in by_platforms.items():
        on = "" if len(where) == len(PLATFORMS) else f" on {_and(where)}"
        parts.append(f"Python {_and([f'3.{minor}' for minor in some])}{on}")
    return "; ".join(parts)


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def _holds(marker: Marker, cell: Cell) -> bool:
    try:
        return marker.evaluate({**cell.environment, "extra": ""})
    except (UndefinedComparison, UndefinedEnvironmentName) as error:
        raise BadRequirement(f"The environment {str(marker)!r} can be read, but nothing can decide it.") from error


def _marker(text: str) -> Marker:
    try:
        return Marker(text)
    except InvalidMarker as error:
        raise BadRequirement(f"The environment {text!r} is not a marker.") from error


@cache
def tags_of(platform: Platform, minor: int) -> tuple[str, ...]:
    """The wheel tags that CPython 3.`minor` takes there, best first."""
    return tuple(_tags(minor, list(_platform_tags(platform))))


@cache
def listed_tags(platform: Platform, minor: int) -> frozenset[str]:
    """The tags of wheels that a lock lists for the cell: those of other C libraries of the platform, too."""
    return frozenset(_tags(minor, [*_platform_tags(platform), *_other_linux_tags(platform)]))


def _tags(minor: int, platforms: list[str]) -> Iterable[str]:
    interpreter = f"cp3{minor}"
    # Interned: the cells of a matrix have most of them together, sixty thousand texts in all.
    for tag in cpython_tags((3, minor), [interpreter], platforms):
        yield sys.intern(str(tag))
    for tag in compatible_tags((3, minor), interpreter, platforms):
        yield sys.intern(str(tag))


def _platform_tags(platform: Platform) -> Iterable[str]:
    machine = platform.platform_machine
    if platform.sys_platform == "linux":
        yield from _manylinux(machine, GLIBC_MINOR, GLIBC_MINOR_OLDEST)
        yield f"linux_{machine}"
    elif platform.sys_platform == "darwin":
        yield from mac_platforms((MACOS_MAJOR, 0), machine)
    else:
        yield f"win_{machine.lower()}"


def _other_linux_tags(platform: Platform) -> Iterable[str]:
    if platform.sys_platform == "linux":
        yield from _manylinux(platform.platform_machine, GLIBC_MINOR_LISTED, GLIBC_MINOR + 1)
        for minor in range(MUSL_MINOR_LISTED, -1, -1):
            yield f"musllinux_1_{minor}_{platform.platform_machine}"


def _manylinux(machine: str, newest: int, oldest: int) -> Iterable[str]:
    for minor in range(newest, oldest - 1, -1):
        yield f"manylinux_2_{minor}_{machine}"
        if minor in _LEGACY:
            yield f"{_LEGACY[minor]}_{machine}"
