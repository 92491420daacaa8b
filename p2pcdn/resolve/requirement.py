"""Requirements as users and METADATA write them (PEP 508), each parsed once; markers, each decided once a target."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from packaging.markers import Marker, UndefinedEnvironmentName
from packaging.requirements import Requirement as PackagingRequirement
from packaging.specifiers import InvalidSpecifier, Specifier, SpecifierSet
from packaging.version import Version

from p2pcdn.resolve.model import BadRequirement

# What nearly all of them look like; the rest is for packaging's parser, which takes twenty times as long.
_PLAIN = re.compile(
    r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[([A-Za-z0-9._,\s-]*)\])?\s*"
    r"\(?([<>=!~][^;@()\[\]]*)?\)?\s*(?:;(.*))?",
    re.ASCII | re.DOTALL,
)
_SPECIFIER = re.compile(
    r"(?:(?:<=|>=|<|>|==|!=)\s*\d+(?:\.\d+)*(?:(?:a|b|rc|\.post|\.dev)\d+)*"
    r"|(?:==|!=)\s*\d+(?:\.\d+)*\.\*"
    r"|~=\s*\d+(?:\.\d+)+)",
    re.ASCII,
)
_WORD = re.compile(r"[A-Za-z_.]+")
# PEP 345's variables, which packaging still reads.
_FORMER_NAMES = {
    "os.name": "os_name",
    "sys.platform": "sys_platform",
    "platform.version": "platform_version",
    "platform.machine": "platform_machine",
    "platform.python_implementation": "platform_python_implementation",
    "python_implementation": "platform_python_implementation",
}
_RUNS = re.compile(r"[-_.]+")
# The longest on PyPI has some 600 characters, of markers; a longer one is an attack on somebody's parser.
TEXT_SIZE_MAX = 10_000
# Python refuses to read integers of more than 4,300 digits; the longest version on PyPI has some 100 characters.
SPECIFIER_SIZE_MAX = 500
# boto3's history names some three thousand different ones; a text and what it means take about a kilobyte.
_PARSED_MAX = 50_000


@dataclass(frozen=True, slots=True, eq=False)
class Requirement:
    """One requirement. specifiers, marker, url: empty where it has none; project and extras are normalized.

    pins: it names one version (`==` without a star, `===`): it may be a yanked one (PEP 592).
    names_prerelease: one of its specifiers is a pre-release, so pre-releases will do (PEP 440).
    """

    text: str
    project: str
    extras: tuple[str, ...]
    specifiers: str
    marker: str
    url: str
    pins: bool
    names_prerelease: bool


@lru_cache(maxsize=_PARSED_MAX)
def parse(text: str) -> Requirement:
    """Raises BadRequirement."""
    match = _PLAIN.fullmatch(text) if len(text) <= TEXT_SIZE_MAX else None
    if match is None:
        return _parse_thoroughly(text)
    name, extras, specifiers, marker = match.groups()
    parts = [part.strip() for part in (specifiers or "").split(",") if part.strip()]
    if not all(_SPECIFIER.fullmatch(part) for part in parts):
        return _parse_thoroughly(text)
    return _made(text, name, (extras or "").split(","), parts, (marker or "").strip(), "")


def _parse_thoroughly(text: str) -> Requirement:
    if len(text) > TEXT_SIZE_MAX:
        raise BadRequirement(f"'{text[:40]}...' is not a requirement: it has {len(text)} characters")
    try:
        found = PackagingRequirement(text)
    except (ValueError, RecursionError) as error:
        first = str(error).splitlines()[0] if str(error) else "it cannot be read"
        raise BadRequirement(f"{text!r} is not a requirement: {first}") from error
    parts = sorted(str(specifier) for specifier in found.specifier)
    return _made(text, found.name, found.extras, parts, str(found.marker or ""), found.url or "")


def _made(text: str, name: str, extras: object, parts: list[str], marker: str, url: str) -> Requirement:
    assert isinstance(extras, list | set | frozenset)
    if any(len(part) > SPECIFIER_SIZE_MAX for part in parts):
        raise BadRequirement(f"'{text[:40]}...' is not a requirement: its version has too many digits")
    return Requirement(
        text=text.strip(),
        project=normalize(name),
        extras=tuple(sorted({normalize(extra.strip()) for extra in extras if extra.strip()})),
        specifiers=",".join(parts),
        marker=marker,
        url=url,
        pins=any(part.startswith("==") and not part.endswith(".*") for part in parts),
        names_prerelease=any(map(_names_prerelease, parts)),
    )


@lru_cache(maxsize=_PARSED_MAX)
def _names_prerelease(part: str) -> bool:
    if not re.search(r"\d[._-]?[A-Za-z]", part):
        return False
    try:
        return bool(Specifier(part).prereleases)
    except InvalidSpecifier:
        return False


def normalize(name: str) -> str:
    """The normalized name of a project or an extra (PEP 503, 685)."""
    return _RUNS.sub("-", name).lower()


@lru_cache(maxsize=_PARSED_MAX)
def allows_python(requires_python: str, python: Version, *, and_later: bool = False) -> bool:
    """Whether a Requires-Python allows this version; one that cannot be read is no limit, as for pip.

    and_later: see `Target`.
    """
    try:
        allowed = SpecifierSet(requires_python)
        if and_later:
            allowed = SpecifierSet(",".join(str(one) for one in allowed if one.operator != "!="))
        return allowed.contains(python, prereleases=True)
    except ValueError:
        return True


class Markers:
    """Whether a marker holds for one target, each asked once."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        # What was asked, as (marker, extra), and answered. failed: something that was asked is no marker.
        self.known: dict[tuple[str, str], bool] = {}
        self.failed = False

    def hold(self, marker: str, extra: str = "") -> bool:
        """Raises BadRequirement for a marker that is none."""
        if not marker:
            return True
        asked = (marker, extra if "extra" in marker else "")
        known = self.known.get(asked)
        if known is None:
            known = self.known[asked] = self._evaluate(marker, extra)
        return known

    def _evaluate(self, marker: str, extra: str) -> bool:
        try:
            told = tuple([(name, self._environment[name]) for name in _variables(marker) if name in self._environment])
            return _holds(marker, told, extra)
        except (ValueError, UndefinedEnvironmentName, RecursionError) as error:  # also digits that Python does not read
            self.failed = True
            raise BadRequirement(f"{marker!r} is not a marker") from error


@lru_cache(maxsize=_PARSED_MAX)
def _marker(text: str) -> Marker:
    return Marker(text)


@lru_cache(maxsize=_PARSED_MAX)
def _variables(marker: str) -> tuple[str, ...]:
    """The words of a marker that may be variables, by the names that these have today."""
    return tuple(sorted({_FORMER_NAMES.get(word, word) for word in _WORD.findall(marker)}))


@lru_cache(maxsize=_PARSED_MAX)
def _holds(marker: str, told: tuple[tuple[str, str], ...], extra: str) -> bool:
    """Decided once for all targets that do not differ in what the marker speaks of: of 24, mostly four or six."""
    return _marker(marker).evaluate({**dict(told), "extra": extra})
