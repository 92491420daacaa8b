"""Python's view of a resolution: which projects there are, and what a version of one requires on this target.

An extra is a package of its own: `flask[async]` has flask's versions, requires that very version of flask, and what
flask says for `extra == "async"`. So packages are named `project` or `project[extra]`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from p2pcdn.resolve import term
from p2pcdn.resolve.judge import Judgement
from p2pcdn.resolve.knowledge import Knowledge
from p2pcdn.resolve.model import BadRequirement, Source, Target, Wanted
from p2pcdn.resolve.project import Project, project_at
from p2pcdn.resolve.requirement import Markers, Requirement, parse
from p2pcdn.resolve.said import lines_of, metadata_of

# The names of one resolution; a hundred thousand packages are no environment.
_NAMES_MAX = 100_000


# What a version requires, and what its metadata has against it, if anything.
Reading = tuple[tuple[Requirement, ...], str]

ONLY_YOU = "only you may name a URL: require that, too"


def package_name(project: str, extra: str) -> str:
    return f"{project}[{extra}]" if extra else project


@lru_cache(maxsize=_NAMES_MAX)
def parts_of(package: str) -> tuple[str, str]:
    """(project, extra) of a package's name."""
    project, _, extra = package.partition("[")
    return project, extra.removesuffix("]")


class View:
    """What is known, read in the light of what is wanted and of the target.

    Projects that a direct URL leads to have only the versions that such URLs give. Only the user, and what stands at a
    URL of his, may name URLs; a package of an index may not.
    """

    def __init__(self, wanted: Wanted, target: Target, knowledge: Knowledge) -> None:
        """Raises BadRequirement."""
        self.target = target
        self.knowledge = knowledge
        self.judgement = Judgement(wanted, target)
        self.markers = Markers(dict(target.environment))
        self._projects: dict[str, Project] = {}
        # What metadata says here, and what speaks against it.
        # By URL and extra, then by what is said.
        self._readings: defaultdict[tuple[str, str], dict[bytes, Reading]] = defaultdict(dict)
        # What a line of metadata, with or without an extra, comes to: by extra and line.
        self._meant: defaultdict[str, dict[str, tuple[Requirement, ...]]] = defaultdict(dict)
        self.overrides = _by_project(map(parse, wanted.overrides))
        self.constraints = _by_project(one for one in map(parse, wanted.constraints) if self.markers.hold(one.marker))
        self.root = tuple(self._replaced(one for one in map(parse, wanted.requirements) if self._holds(one)))
        self._urls: dict[str, dict[Source, None]] = {}

    def project(self, name: str) -> Project | None:
        """None while its table, or what stands at its URLs, is not known."""
        known = self._projects.get(name)
        if known is not None:
            return known
        if name in self._urls:
            known = project_at(name, [metadata_of(one, self._said(one)) for one in self._urls[name]], self.judgement)
        elif (order := self.knowledge.order(name)) is not None:
            known = Project(order, self.judgement)
        if known is not None:
            self._projects[name] = known
        return known

    @property
    def projects(self) -> tuple[str, ...]:
        """Those of an index that somebody has looked at."""
        return tuple(name for name in self._projects if name not in self._urls)

    def known(self, name: str) -> Project:
        """A project whose table came."""
        project = self.project(name)
        assert project is not None, f"{name} is needed before its table is known"
        return project

    def unread_urls(self) -> tuple[Source, ...]:
        """Direct URLs, of the user and of what stands at them, whose metadata is not known.

        Once there are none, the versions of those projects are known. To be asked before any project.
        """
        found: dict[Source, None] = {}
        seen: set[tuple[Source, str]] = set()
        ahead = [*self.root]
        for several in (*self.constraints.values(), *self.overrides.values()):
            ahead += several
        while ahead:
            one = ahead.pop()
            if not one.url:
                continue
            source = Source(one.project, url=one.url)
            found[source] = None
            for extra in ("", *one.extras):
                if self.knowledge.said(source) and (source, extra) not in seen:
                    seen.add((source, extra))
                    ahead += self.requirements(source, extra)
        for source in found:
            self._urls.setdefault(source.project, {})[source] = None
        return tuple(source for source in found if not self.knowledge.said(source))

    def requirements(self, source: Source, extra: str) -> tuple[Requirement, ...]:
        """What this version, whose metadata is known, requires on this target; with an extra, what this extra adds."""
        return self.reading(source, extra)[0]

    def objection(self, source: Source) -> str:
        """Why the metadata of this version, which is known, makes it unusable; "" where it does not."""
        return self.reading(source, "")[1]

    def readings(self, project: Project, run: Iterable[int]) -> Iterator[tuple[int, Reading]]:
        """Of versions of a project in an index: what it is that some of them say (a term), each once."""
        said, keys = self.knowledge.said_of(project.name), project.keys
        alike: dict[bytes, list[int]] = {}
        for index in run:
            alike.setdefault(said[keys[index]], []).append(index)
        for octets, some in alike.items():
            yield term.of_versions(some), self._reading(octets, "", "")

    def reading(self, source: Source, extra: str) -> Reading:
        """Both: what it requires, and what speaks against it."""
        return self._reading(self._said(source), source.url, extra)

    def _reading(self, said: bytes, url: str, extra: str) -> Reading:
        readings = self._readings[url, extra]
        known = readings.get(said)
        if known is None:
            known = readings[said] = self._understood(said, url, extra)
        return known

    def _said(self, source: Source) -> bytes:
        said = self.knowledge.said(source)
        assert said is not None, f"{source} is read before its metadata came"
        return said

    def _understood(self, said: bytes, url: str, extra: str) -> Reading:
        broken, requires_python, _, _, *lines = lines_of(said)
        try:
            meant = self._meant[extra]
            required: list[Requirement] = []
            for text in lines:
                if (some := meant.get(text)) is None:
                    some = meant[text] = self._meaning(parse(text), extra)
                required += some
            return tuple(required), self._objection(broken, requires_python, url, required)
        except BadRequirement as error:
            return (), f"has broken metadata: {error}"

    def _objection(self, broken: str, requires_python: str, url: str, required: Sequence[Requirement]) -> str:
        if broken:
            return f"cannot be used: {broken}"
        if not self.judgement.runs_on_python(requires_python):
            return self.judgement.needs_python(requires_python)
        for one in required:
            if one.url and not url and Source(one.project, url=one.url) not in self._urls.get(one.project, ()):
                return f"requires {one.text}, and {ONLY_YOU}"
        return ""

    def provides(self, source: Source, extra: str) -> bool:
        """Whether it has the extra. Metadata that names none at all may be older than `Provides-Extra`."""
        provided = metadata_of(source, self._said(source)).provides_extra
        return extra in provided or bool(self.requirements(source, extra))

    def _meaning(self, one: Requirement, extra: str) -> tuple[Requirement, ...]:
        """What comes of it here: for the version itself, or what the extra adds to that."""
        if not extra:
            holds = self.markers.hold(one.marker)
        else:
            holds = "extra" in one.marker and self.markers.hold(one.marker, extra) and not self.markers.hold(one.marker)
        if not holds:
            return ()
        return tuple(self._replaced((one,))) if one.project in self.overrides else (one,)

    def _replaced(self, requirements: Iterable[Requirement]) -> Iterator[Requirement]:
        """With the user's overrides in their place."""
        for one in requirements:
            instead = self.overrides.get(one.project)
            if instead is None:
                yield one
            else:
                extras = one.extras
                yield from (
                    replace(other, extras=tuple(sorted({*extras, *other.extras})))
                    for other in instead
                    if self._holds(other)
                )

    def _holds(self, requirement: Requirement) -> bool:
        return self.markers.hold(requirement.marker)


def _by_project(requirements: Iterable[Requirement]) -> dict[str, list[Requirement]]:
    found: dict[str, list[Requirement]] = {}
    for one in requirements:
        found.setdefault(one.project, []).append(one)
    return found
