"""Tables out of what project pages list, and metadata out of METADATA and PKG-INFO files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol, TypeVar

from packaging.version import Version

from p2pcdn.resolve.model import Metadata, Release, Source, Table

_SDIST_ENDINGS = (".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz", ".tar.Z", ".tar")
_PLAIN = re.compile(r"(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))*", re.ASCII)
# Only what is not plain: pre-releases, post-releases, local versions.
_SPELLINGS_MAX = 10_000
# Whole texts, of which nothing is asked here: how they go on is passed over.
_LONG = frozenset({"description", "license"})
_RUNS = re.compile(r"[-_.]+")
# PEP 643: from this version on, an sdist says which of its fields a build may still change.
_DYNAMIC_SINCE = (2, 2)


class Listed(Protocol):
    """A file as a project page lists it; `simple.File` is one."""

    @property
    def filename(self) -> str: ...
    @property
    def yanked(self) -> bool | str: ...
    @property
    def requires_python(self) -> str | None: ...
    @property
    def upload_time(self) -> str | None: ...


L = TypeVar("L", bound=Listed)


def table_of(project: str, files: Iterable[Listed], *, index: str = "") -> Table:
    """The table of a normalized project. Files that are neither wheel nor sdist of it are left out.

    A yanked file counts only where all files of its version are yanked.
    """
    return table_and_files_of(project, files, index=index)[0]


def table_and_files_of(project: str, files: Iterable[L], *, index: str = "") -> tuple[Table, dict[str, list[L]]]:
    """The same, and by version the files of which it speaks."""
    kept: dict[str, _Draft] = {}
    yanked: dict[str, _Draft] = {}
    by_version: dict[str, list[L]] = {}
    for file in files:
        named = _version_and_tags(project, file.filename)
        if named is not None:
            version, tags = named
            (kept if file.yanked is False else yanked).setdefault(version, _Draft()).add(file, tags)
            by_version.setdefault(version, []).append(file)
    releases = tuple([draft.release(version) for version, draft in (yanked | kept).items()])
    return Table(project, releases, index), by_version


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
    if not built and _open(found):
        return Metadata(source, version, broken="its dependencies are known only after a build")
    return Metadata(
        source,
        version=version,
        requires_dist=tuple(found.get("requires-dist", ())),
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

    def add(self, file: Listed, tags: str) -> None:
        if file.yanked is not False:
            self.yanked = self.yanked or (file.yanked if isinstance(file.yanked, str) else "")
        self.requires_python = self.requires_python or file.requires_python or ""
        if file.upload_time and (not self.upload_time or file.upload_time < self.upload_time):
            self.upload_time = file.upload_time
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
    stem = next((filename.removesuffix(ending) for ending in _SDIST_ENDINGS if filename.endswith(ending)), "")
    cuts = [cut for cut, sign in enumerate(stem) if sign == "-" and _is_named(stem[:cut], project)]
    return (_normalized(stem[cuts[-1] + 1 :]), "") if cuts else None


@lru_cache(maxsize=_SPELLINGS_MAX)
def _normalized(version: str) -> str:
    """One spelling for one version (PEP 440); zeros at the end stay. What is no version stays, too."""
    if _PLAIN.fullmatch(version):
        return version
    try:
        return str(Version(version))
    except ValueError:
        return version


def _is_named(name: str, project: str) -> bool:
    return name == project or _RUNS.sub("-", name).lower() == project


def _open(found: dict[str, list[str]]) -> bool:
    """Whether an sdist's dependencies may come out differently when it is built (PEP 643)."""
    numbers = re.findall(r"\d+", (found.get("metadata-version") or ["1.0"])[0])
    dynamic = {name.lower() for name in found.get("dynamic", ())}
    return tuple(map(int, numbers)) < _DYNAMIC_SINCE or not dynamic.isdisjoint({"requires-dist", "provides-extra"})
