"""The text of a lock: packages with every file that a target can use, in the words of PEP 751. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from p2pcdn.digest import Sha256
from p2pcdn.envs.model import Directory, Lock, LockedFile, LockedPackage, Vcs
from p2pcdn.envs.pylock_text import write_lock
from p2pcdn.errors import P2pcdnError
from p2pcdn.fetch import Wanted
from p2pcdn.lock import question as asked
from p2pcdn.lock.facts import Listed
from p2pcdn.lock.kept_files import Files
from p2pcdn.lock.merge import Merged, both, minors_marker
from p2pcdn.lock.outcomes import LeftOut
from p2pcdn.lock.targets import DEFAULT_REQUIRES_PYTHON, Cell, Platform
from p2pcdn.resolve import expanded_tags
from p2pcdn.simple import File


class Known(Protocol):
    """What is known of the pins: pages by project, what stands at direct URLs, the files of a version of a page."""

    @property
    def pages(self) -> Mapping[str, Listed | None]: ...
    @property
    def places(self) -> Mapping[str, LockedFile | Directory | Vcs]: ...
    def files(self, listed: Listed, version: str) -> Files: ...
    def sha256_of(self, listed: Listed, file: File) -> Sha256 | None:
        """As the index gives it, else of the bytes that came from there; None where none has come."""
        ...


class Unhashed(P2pcdnError):
    """There is no lock yet: these files must be fetched first, for their index gives no sha256. `Bench` does that."""

    def __init__(self, files: Sequence[Wanted]) -> None:
        super().__init__(f"{len(files)} files without a sha256")
        self.files = tuple(files)


@dataclass(frozen=True, slots=True)
class Composed:
    text: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Targets:
    """What a lock is for. tags: of wheels that are listed. cells: of the matrix; none for a lock of one interpreter.

    left_out: those of the matrix that it does not serve. published: by project and version, who published it, as its
    index says.
    """

    tags: frozenset[str]
    cells: Sequence[Cell] = ()
    left_out: Sequence[LeftOut] = ()
    published: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]] = field(default_factory=dict)


def compose(question: Mapping[str, Any], merged: Sequence[Merged], targets: Targets, known: Known) -> Composed:
    """The lock of a question's solutions. Raises Unhashed."""
    warnings: list[str] = []
    unhashed: list[Wanted] = []
    packages = [_package(one, known, targets, question, warnings, unhashed) for one in merged]
    if unhashed:
        raise Unhashed(unhashed)
    lock = Lock(
        created_by="zephyr",
        packages=tuple(packages),
        environments=_environments(targets),
        requires_python=(question["requires_python"] or DEFAULT_REQUIRES_PYTHON) if targets.cells else None,
        extras=tuple(question["extras"]),
        dependency_groups=tuple(question["groups"]),
        tool={"zephyr": {"inputs": asked.digest(question), **_told(targets.left_out)}},
    )
    return Composed(write_lock(lock).decode(), tuple(warnings))


def _environments(targets: Targets) -> tuple[str, ...]:
    """A marker a platform, of those cells of it that are served."""
    missing = {name for one in targets.left_out for name in one.environments}
    served: dict[Platform, list[int]] = {}
    for cell in targets.cells:
        if cell.name not in missing:
            served.setdefault(cell.platform, []).append(cell.minor)
    minors = sorted({cell.minor for cell in targets.cells})
    return tuple(both(platform.environment, minors_marker(sorted(some), minors)) for platform, some in served.items())


def _told(left_out: Sequence[LeftOut]) -> dict[str, list[str]]:
    """For who wonders why his environment is not among those of the lock; nothing depends on it."""
    return {"left-out": [one.sentence for one in left_out]} if left_out else {}


def _package(
    one: Merged,
    known: Known,
    targets: Targets,
    question: Mapping[str, Any],
    warnings: list[str],
    unhashed: list[Wanted],
) -> LockedPackage:
    is_editable = one.project in question["editable"]
    place = known.places[one.url] if one.url else None
    if is_editable and not isinstance(place, Directory | Vcs):
        warnings.append(f"{one.project} is not editable: only what comes from a directory or a repository can be.")
    if place is not None:
        return _at_url(one, place, is_editable)
    listed = known.pages[one.project]
    assert listed is not None, "what is pinned has a page"
    of_version = known.files(listed, one.version)
    by_name = sorted(zip(of_version.names, range(len(of_version)), strict=True))
    wheels = [of_version[at] for name, at in by_name if name.endswith(".whl") and _is_listed(name, targets.tags)]
    sdists = [of_version[at] for name, at in by_name if not name.endswith((".whl", ".egg"))]
    if _named(question["only_binary"], one.project):
        sdists = []
    if _named(question["no_binary"], one.project):
        wheels = []
    sdist = min(sdists, key=lambda file: (not file.filename.endswith(".tar.gz"), file.filename), default=None)
    if any(file.yanked is not False for file in (*wheels, *([sdist] if sdist else []))):
        warnings.append(f"{one.project} {one.version} was yanked.")
    hashes = {}
    for file in (*wheels, *([sdist] if sdist else [])):
        sha256 = known.sha256_of(listed, file)
        if sha256 is None:
            unhashed.append(Wanted(listed.index, one.project, file))
        elif file.sha256 is None:
            warnings.append(f"The index gives no sha256 of {file.filename}; the lock has that of the bytes that came.")
        hashes[file.filename] = sha256 or ""
    return LockedPackage(
        name=one.project,
        version=one.version,
        marker=one.marker or None,
        requires_python=of_version.requires_python,
        dependencies=_dependencies(one),
        # A heap of files is no index of the Simple API (PEP 751, "packages.index").
        index=listed.index.url if not listed.index.flat else None,
        sdist=_described(sdist, hashes) if sdist is not None else None,
        wheels=tuple(_described(wheel, hashes) for wheel in wheels),
        attestation_identities=tuple(targets.published.get((one.project, one.version), ())),
    )


def _at_url(one: Merged, place: LockedFile | Directory | Vcs, is_editable: bool) -> LockedPackage:
    marker, dependencies = one.marker or None, _dependencies(one)
    if isinstance(place, Directory):
        # Tomorrow its sources may be of another version (PEP 751, "packages.version").
        directory = replace(place, editable=is_editable)
        return LockedPackage(one.project, None, marker, dependencies=dependencies, directory=directory)
    if isinstance(place, Vcs):
        # PEP 751 knows no editable repositories: other tools install the commit.
        tool = {"zephyr": {"editable": True}} if is_editable else {}
        return LockedPackage(one.project, None, marker, dependencies=dependencies, vcs=place, tool=tool)
    return LockedPackage(one.project, one.version, marker, dependencies=dependencies, archive=place)


def _dependencies(one: Merged) -> tuple[dict[str, str], ...]:
    return tuple(
        {"name": name, "version": version} if version else {"name": name} for name, version in one.dependencies
    )


def _named(names: Sequence[str], project: str) -> bool:
    return project in names or ":all:" in names


def _is_listed(filename: str, tags: frozenset[str]) -> bool:
    return not tags or not tags.isdisjoint(expanded_tags("-".join(filename[:-4].split("-")[-3:])))


def _described(file: File, hashes: Mapping[str, str]) -> LockedFile:
    return LockedFile(
        name=file.filename,
        hashes={"sha256": hashes[file.filename]},
        url=file.url,
        size_bytes=file.size_bytes,
        upload_time=_time(file.upload_time),
    )


def _time(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
