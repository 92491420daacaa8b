"""What a resolver is told and what it answers: plain values that cross a pipe (`plain.py`).

Versions, specifiers and markers are strings here, as the index and METADATA write them; they are parsed inside. Project
names are normalized (PEP 503), except within the requirement strings of users and METADATA.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from p2pcdn.errors import P2pcdnError

Prefer = Literal["highest", "lowest", "lowest-direct"]
Prereleases = Literal["if-necessary", "allow", "never"]

# As in pip's --only-binary and --no-binary.
ALL_PROJECTS = ":all:"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody wants in one environment; extras and groups of his own project are flattened into it.

    requirements: PEP 508, with markers, extras or a direct URL. A path is a `file:` URL with a name before it.
    constraints: as requirements, without extras; they narrow what something else requires, and require nothing.
    overrides: they replace every requirement of the same project, whoever has it, his own too.
    prefer: which version is tried first; "lowest-direct" means the lowest of what `requirements` names, and the highest
        of the others.
    prereleases: "if-necessary" is the policy of PEP 440 and pip: where a requirement names a pre-release, or where no
        final version fits. `prerelease_projects` may have theirs in any case.
    exclude_newer: ISO 8601; versions whose first file came later do not exist. Versions without a time do not either.
        That later files of older versions are not told of is up to who makes the tables.
    preferences: (project, version) out of an old lock; tried first where they fit, the first of several that fits.
    only_binary, no_binary: projects whose sdists, whose wheels do not count; `:all:` names every one.
    """

    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    prefer: Prefer = "highest"
    prereleases: Prereleases = "if-necessary"
    prerelease_projects: tuple[str, ...] = ()
    exclude_newer: str | None = None
    preferences: tuple[tuple[str, str], ...] = ()
    only_binary: tuple[str, ...] = ()
    no_binary: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """The interpreter and platform that the environment is for.

    environment: the variables of PEP 508 markers, as (name, value); `python_full_version` says the Python.
    tags: the wheel tags it can use ("cp311-cp311-manylinux_2_17_x86_64"), best first; None means any wheel will do.
    and_later: it stands for the later patch releases of its Python, too. That a version leaves one of them out (`!=` in
    its Requires-Python) counts for nothing then.
    """

    environment: tuple[tuple[str, str], ...]
    tags: tuple[str, ...] | None = None
    and_later: bool = False

    @classmethod
    def of(
        cls, environment: Mapping[str, object], tags: tuple[str, ...] | None = None, *, and_later: bool = False
    ) -> Target:
        return cls(tuple(sorted((name, str(value)) for name, value in environment.items())), tags, and_later)

    @property
    def python(self) -> str:
        """The full version of its Python."""
        return dict(self.environment)["python_full_version"]


@dataclass(frozen=True, slots=True)
class Release:
    """One version of a project, as the files of its page say.

    yanked: the reason, perhaps empty; None where it is not yanked, or only some of its files are (PEP 592).
    upload_time: ISO 8601, of its first file; empty where the index gives none.
    tags: of its wheels, as their file names have them ("py2.py3-none-any"); each once.
    """

    version: str
    requires_python: str = ""
    yanked: str | None = None
    upload_time: str = ""
    tags: tuple[str, ...] = ()
    sdist: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """All versions of a project, in any order; strings that are no versions (PEP 440) may be among them.

    index: who gave it; told back in the solution.
    missing: why there is none ("nobody has a project of this name"; with an index: "it is quarantined"); empty where
        there is one.
    """

    project: str
    releases: tuple[Release, ...] = ()
    index: str = ""
    missing: str = ""


class Source(NamedTuple):
    """One version of a project, by its number in an index or by a direct URL; the other one is empty."""

    project: str
    version: str = ""
    url: str = ""

    @property
    def key(self) -> str:
        """What it is called among those of its project: no version is written like a URL."""
        return self.version or self.url


# Versions by project, each by its key (`Source.key`): thousands of them need not be a value each.
Keys = Mapping[str, Collection[str]]


class Metadata(NamedTuple):
    """What METADATA or PKG-INFO says (core metadata), or why nobody can know. A tuple, as there are thousands.

    version: what it says of itself; for a direct URL the only word there is.
    provides_extra: normalized.
    broken: why this version cannot be used ("its metadata is no metadata", "it must be built, and builds are off").
    """

    source: Source
    version: str = ""
    requires_dist: tuple[str, ...] = ()
    provides_extra: tuple[str, ...] = ()
    requires_python: str = ""
    broken: str = ""


@dataclass(frozen=True, slots=True)
class Need:
    """What the resolver waits for (`tables`, `metadata`: all of them), and what it is likely to want next.

    The likely ones are named once each, best first; they may come, late or never. Until the others have come, each step
    names them again.
    """

    tables: tuple[str, ...] = ()
    metadata: tuple[Source, ...] = ()
    likely_tables: tuple[str, ...] = ()
    likely_metadata: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class Pin:
    """One project of a solution. extras: those that somebody asked for and that it has, sorted."""

    project: str
    version: str
    index: str = ""
    url: str = ""
    extras: tuple[str, ...] = ()

    @property
    def source(self) -> Source:
        return Source(self.project, url=self.url) if self.url else Source(self.project, self.version)


@dataclass(frozen=True, slots=True)
class Edge:
    """Who required whom, in whose words. Only requirements whose marker holds for the target.

    parent: a project, empty for what the user wants; extra: the extra of the parent that brings it, mostly empty.
    requirement: as METADATA or the user wrote it, or the override that took its place.
    """

    parent: str
    extra: str
    child: str
    requirement: str


@dataclass(frozen=True, slots=True)
class Solution:
    """Pins by project, edges by parent; both sorted. warnings: sentences (an extra that does not exist)."""

    pins: tuple[Pin, ...]
    edges: tuple[Edge, ...]
    warnings: tuple[str, ...] = ()


class NoSolution(P2pcdnError):
    """The requirements contradict each other (409). Asking again is useless; loosening one may help.

    sentences: the proof, each a fact or a conclusion; suggestion: one thing to try, or empty.
    requirements: those of the user's that the proof stands on.
    Its `args` are these three: `to_plain(error.args)` crosses a pipe, `NoSolution(*plain)` is the same again.
    """

    def __init__(self, sentences: Sequence[str], suggestion: str = "", requirements: Sequence[str] = ()) -> None:
        self.sentences = tuple(sentences)
        self.suggestion = suggestion
        self.requirements = tuple(requirements)
        super().__init__(self.sentences, self.suggestion, self.requirements)

    def __str__(self) -> str:
        return "\n".join((*self.sentences, *([self.suggestion] if self.suggestion else [])))


class LacksFiles(Exception):
    """An outcome for who can spare the target: it has no solution, and would have one if every wheel did there.

    clauses: of each project that is needed and has no file for it, what it has instead; sorted. Never empty.
    """

    def __init__(self, clauses: Sequence[str]) -> None:
        self.clauses = tuple(clauses)
        super().__init__(self.clauses)


class BadRequirement(P2pcdnError):
    """A requirement, constraint or override that is none (400), in the user's own words."""
