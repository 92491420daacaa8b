"""Tables out of what project pages list, and metadata out of METADATA and PKG-INFO files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from packaging.version import Version

from p2pcdn.resolve.model import Metadata, Release, Source, Table

_SDIST_ENDINGS = (".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz", ".tar.Z", ".tar")
_PLAIN = re.compile(r"(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))*", re.ASCII)
# Only what is not plain: pre-releases, post-releases, local versions.
_SPELLINGS_MAX = 10_000
# All files of a page mostly have one spelling of its name.
_NAMES_MAX = 1024
# Some name two thousand, with all their extras. Each may be a page to be fetched and read.
REQUIREMENTS_MAX = 10_000
# Whole texts, of which nothing is asked here: how they go on is passed over.
_LONG = frozenset({"description", "license"})
_RUNS = re.compile(r"[-_.]+")
# PEP 643: from this version on, an sdist says which of its fields a build may still change.
_DYNAMIC_SINCE = (2, 2)


# A file as its page tells of it: filename, yanked, requires_python, upload_time; `simple.told` gives them.
Told = tuple[str, bool | str, str | None, str | None]


def table_of(project: str, files: Iterable[Told], *, index: str = "") -> Table:
    """The table of a normalized project. Files that are neither wheel nor sdist of it are left out.

    A yanked file counts only where all files of its version are yanked.
    """
    return table_and_places_of(project, files, index=index)[0]


def table_and_places_of(project: str, files: Iterable[Told], *, index: str = "") -> tuple[Table, dict[str, list[int]]]:
    """The same, and by version the places of the files of which it speaks."""
    kept: dict[str, _Draft] = {}
    yanked: dict[str, _Draft] = {}
    places: dict[str, list[int]] = {}
    for place, file in enumerate(files):
        named = _version_and_tags(project, file[0])
        if named is None:
            continue
        version, tags = named
        drafts = kept if file[1] is False else yanked
        draft = drafts.get(version)
        if draft is None:
            draft = drafts[version] = _Draft()
        draft.add(file, tags)
        if version in places:
            places[version].append(place)
        else:
            places[version] = [place]
    releases = tuple([draft.release(version) for version, draft in (yanked | kept).items()])
    return Table(project, releases, index), places


def read_metadata(source: Source, text: str, *, built: bool = True) -> Metadata:
    """What the text of a METADATA says; with built=False, of the PKG-INFO of an sdist, which may leave things open.

    What cannot be read, or is open until it is built, comes back as broken.
    """
    found: dict[str, list[str]] = {}
    for name, lines in _headers(text):
        found.setdefault(name, []).append(" ".join(lines).strip())
    version = (found.get("version") or [""])[0]
    if not version or "name" not in found:
        return Metadata(source, broken="its metadata has no name or no version")
    if len(required := found.get("requires-dist", ())) > REQUIREMENTS_MAX:
        return Metadata(source, version, broken=f"it requires {len(required)} things, and {REQUIREMENTS_MAX} are read")
    if not built and _open(found):
        return Metadata(source, version, broken="its dependencies are known only after a build")
    return Metadata(
        source,
        version=version,
        requires_dist=tuple(required),
        provides_extra=tuple([_RUNS.sub("-", extra).lower() for extra in found.get("provides-extra", ())]),
        requires_python=(found.get("requires-python") or [""])[0],
    )


def _headers(text: str) -> Iterator[tuple[str, list[str]]]:
    """(name in lower case, its lines) of each header that anything is asked of."""
    name = ""
    lines: list[str] = []
    # Only "\n" ends a line here: a licence text within a header may hold form feeds, and lines of blanks.
    for line in text.split("\n"):
        if line in ("", "\r"):
            break
        if line[0].isspace():
            # A header that goes on (RFC 822): writers fold requirements with long URLs. Put together once, at its end:
            # one may have as many lines as its METADATA has room for.
            if more := line.strip():
                lines.append(more)
            continue
        before, colon, value = line.partition(":")
        if colon:
            if name and name not in _LONG:
                yield name, lines
            name, lines = before.lower(), [value.strip()]
    if name and name not in _LONG:
        yield name, lines


@dataclass(slots=True)
class _Draft:
    """The files of one version, as they come in."""

    tags: dict[str, None] = field(default_factory=dict)
    sdist: bool = False
    yanked: str | None = None
    requires_python: str = ""
    upload_time: str = ""

    def add(self, file: Told, tags: str) -> None:
        _, yanked, requires_python, upload_time = file
        if yanked is not False:
            self.yanked = self.yanked or (yanked if isinstance(yanked, str) else "")
        if requires_python and not self.requires_python:
            self.requires_python = requires_python
        if upload_time and (not self.upload_time or upload_time < self.upload_time):
            self.upload_time = upload_time
        if tags:
            self.tags[tags] = None
        else:
            self.sdist = True

    def release(self, version: str) -> Release:
        return Release(version, self.requires_python, self.yanked, self.upload_time, tuple(self.tags), self.sdist)


def _version_and_tags(project: str, filename: str) -> tuple[str, str] | None:
    """(version, tags) of a wheel (PEP 427), (version, "") of an sdist (PEP 625, and older ones)."""
    if filename.endswith(".whl"):
        parts = filename[:-4].split("-")
        if len(parts) in (5, 6) and _is_named(parts[0], project):
            return _normalized(parts[1]), "-".join(parts[-3:])
        return None
    if not filename.endswith(_SDIST_ENDINGS):
        return None
    stem = next(filename.removesuffix(ending) for ending in _SDIST_ENDINGS if filename.endswith(ending))
    cut = stem.rfind("-")
    while cut > 0 and not _is_named(stem[:cut], project):
        cut = stem.rfind("-", 0, cut)
    return (_normalized(stem[cut + 1 :]), "") if cut > 0 else None


@lru_cache(maxsize=_SPELLINGS_MAX)
def _normalized(version: str) -> str:
    """One spelling for one version (PEP 440); zeros at the end stay. What is no version stays, too."""
    if _PLAIN.fullmatch(version):
        return version
    try:
        return str(Version(version))
    except ValueError:
        return version


@lru_cache(maxsize=_NAMES_MAX)
def _is_named(name: str, project: str) -> bool:
    return name == project or _RUNS.sub("-", name).lower() == project


def _open(found: dict[str, list[str]]) -> bool:
    """Whether an sdist's dependencies may come out differently when it is built (PEP 643)."""
    numbers = re.findall(r"\d+", (found.get("metadata-version") or ["1.0"])[0])
    dynamic = {name.lower() for name in found.get("dynamic", ())}
    return tuple(map(int, numbers)) < _DYNAMIC_SINCE or not dynamic.isdisjoint({"requires-dist", "provides-extra"})
