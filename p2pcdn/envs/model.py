"""A lock as values: what PEP 751 says of files, packages and the whole, in its words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class LockedFile:
    """A wheel, an sdist or an archive: where it is, and what it must be.

    url or path (relative to the lock) is there. hashes: algorithm -> hexadecimal digits, never empty. name: as the
    lock has it, else the last part of where it is. subdirectory: of archives only.
    """

    name: str
    hashes: Mapping[str, str]
    url: str | None = None
    path: str | None = None
    size_bytes: int | None = None
    upload_time: datetime | None = None
    subdirectory: str | None = None

    @property
    def place(self) -> str:
        return self.url if self.url is not None else self.path or ""


@dataclass(frozen=True, slots=True)
class Vcs:
    """A commit of a repository. type: "git" and the like. url or path is there."""

    type: str
    commit_id: str
    url: str | None = None
    path: str | None = None
    requested_revision: str | None = None
    subdirectory: str | None = None


@dataclass(frozen=True, slots=True)
class Directory:
    """A source tree on this machine; path: relative to the lock."""

    path: str
    editable: bool = False
    subdirectory: str | None = None


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """One version of one project, for the environments that its marker names.

    Exactly one of vcs, directory, archive is there, or else an sdist, wheels or both. name: normalized. version: None
    of source trees, which may have another one tomorrow. marker, requires_python: as written. dependencies: for
    people, never for installing.
    """

    name: str
    version: str | None = None
    marker: str | None = None
    requires_python: str | None = None
    dependencies: tuple[Mapping[str, Any], ...] = ()
    index: str | None = None
    vcs: Vcs | None = None
    directory: Directory | None = None
    archive: LockedFile | None = None
    sdist: LockedFile | None = None
    wheels: tuple[LockedFile, ...] = ()
    attestation_identities: tuple[Mapping[str, Any], ...] = ()
    tool: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_editable(self) -> bool:
        """Whether its sources stay in use: of a repository, which PEP 751 does not know, as zephyr's table says."""
        if self.directory is not None:
            return self.directory.editable
        ours = self.tool.get("zephyr")
        return self.vcs is not None and isinstance(ours, Mapping) and ours.get("editable") is True


@dataclass(frozen=True, slots=True)
class Lock:
    """A pylock.toml. environments: markers, of which one must hold; none means that all do. notes: sentences for the
    user.
    """

    created_by: str
    packages: tuple[LockedPackage, ...]
    environments: tuple[str, ...] = ()
    requires_python: str | None = None
    extras: tuple[str, ...] = ()
    dependency_groups: tuple[str, ...] = ()
    default_groups: tuple[str, ...] = ()
    tool: Mapping[str, Any] = field(default_factory=dict)
    lock_version: str = "1.0"
    notes: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Target:
    """The environment that is installed for. markers: as PEP 508 names them. tags:
    "cp312-cp312-manylinux_2_17_x86_64", the best first.
    """

    markers: Mapping[str, str]
    tags: tuple[str, ...]

    @property
    def python(self) -> str:
        return self.markers["python_full_version"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is installed of one package: a wheel, or something that has to be built first."""

    package: LockedPackage
    kind: Literal["wheel", "sdist", "archive", "directory", "vcs"]
    file: LockedFile | None = None


def name_at(place: str) -> str:
    """The file name at the end of a URL or path."""
    return unquote(urlsplit(place).path.rpartition("/")[2]) if "://" in place else place.rpartition("/")[2]
