"""What a source tree asks of those who build it ([build-system], PEP 518), and whether an environment has it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from p2pcdn_shim.zephyr.pip.controls import normalize
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.values import TYPE_CHECKING, Value

if TYPE_CHECKING:
    from packaging.version import Version

# What pip asks of a tree that names no backend.
LEGACY = ("setuptools>=40.8.0",)
# What the node says of a tree, and what pip adds to that for its users.
_INVALID = "This package has an invalid `build-system.requires` key in pyproject.toml.\n"
_HINTS = (
    ("has no `requires`", "The [build-system] table is missing the mandatory `requires` key."),
    ("build-system.requires is not a list", f"{_INVALID}It is not a list of strings."),
    ("build requirement", f"{_INVALID}It contains an invalid requirement."),
)


class BuildSystem(Value):
    """requires: what it asks for. implied: what must be there besides, for a backend that it does not name."""

    requires: tuple[str, ...]
    implied: tuple[str, ...]


def build_system_of(directory: Path) -> BuildSystem | None:
    """None for a file that cannot be read or is wrong: the build says so itself."""
    try:
        table = tomllib.loads((directory / "pyproject.toml").read_text(encoding="utf-8")).get("build-system")
    except FileNotFoundError:
        return BuildSystem(LEGACY, ())
    except (OSError, ValueError):
        return None
    if table is None:
        return BuildSystem(LEGACY, ())
    if not isinstance(table, dict) or not isinstance(table.get("requires"), list):
        return None
    requires = tuple(str(one) for one in table["requires"])
    return BuildSystem(requires, () if table.get("build-backend") else LEGACY)


def hint_for(sentence: str) -> str:
    """What pip would say of a tree whose [build-system] is wrong; "" where that is not it."""
    for sign, words in _HINTS:
        if sign in sentence:
            return (
                f"This package has an invalid pyproject.toml file.\n{words}\nSee PEP 518 for the detailed"
                f" specification."
            )
    return ""


def pinned_versions(pins: Iterable[str]) -> dict[str, Version]:
    """By project, of pins such as `name==1.0 --hash=…`."""
    from packaging.version import InvalidVersion, Version

    found = {}
    for pin in pins:
        name, _, rest = pin.partition("==")
        try:
            found[normalize(name)] = Version(rest.partition(" ")[0])
        except InvalidVersion:
            continue
    return found


def has_all(needs: Sequence[str], held: Mapping[str, Version], markers: Mapping[str, str]) -> bool:
    """Whether everything is there, in a version that does."""
    try:
        check(needs, held, markers, "", "", missing=True)
    except PipError:
        return False
    return True


def check(
    needs: Sequence[str],
    held: Mapping[str, Version],
    markers: Mapping[str, str],
    shown: str,
    against: str,
    *,
    missing: bool = False,
) -> None:
    """Raises PipError where something is there in another version; with `missing`, also where it is not there."""
    from packaging.requirements import InvalidRequirement, Requirement

    wrong, absent = [], []
    for text in needs:
        try:
            one = Requirement(text)
        except InvalidRequirement:
            continue
        if one.marker is not None and not one.marker.evaluate({**markers, "extra": ""}):
            continue
        version = held.get(normalize(one.name))
        if version is None:
            absent.append(text)
        elif not one.specifier.contains(version, prereleases=True):
            wrong.append((f"{one.name}=={version}", text))
    if wrong:
        told = ", ".join(f"{there} is incompatible with {wanted}" for there, wanted in sorted(wrong))
        raise PipError(f"Some build dependencies for {shown} conflict with {against}: {told}.")
    if absent and missing:
        raise PipError(f"Some build dependencies for {shown} are missing: {', '.join(map(repr, sorted(absent)))}.")
