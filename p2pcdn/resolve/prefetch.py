"""What will probably be wanted next: a walk ahead of the solver, and older versions where it tries many.

Nothing here changes a solution. The walk follows each requirement to the version that would be tried first, and that
version's requirements, as far as what came leads. And when 5, 10, 20 and 40 versions of one package have been tried,
as many of the next ones are named at once, and from then on the next 50 after every 20 (uv's figures): boto3 has two
thousand versions, and with a question for each it would take minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain, islice

from p2pcdn.resolve import term
from p2pcdn.resolve.model import Source
from p2pcdn.resolve.project import Project
from p2pcdn.resolve.python import View
from p2pcdn.resolve.requirement import Requirement
from p2pcdn.resolve.term import NOTHING

_BATCHES = {5: 5, 10: 10, 20: 20, 40: 40}
_LATER_EVERY = 20
_LATER_BATCH = 50


class Prefetch:
    """Remembers what was named; each once."""

    def __init__(self, view: View, first_of: Callable[[Project, int], int | None]) -> None:
        """first_of: the index of the version that would be tried first."""
        self._view = view
        self._first_of = first_of
        self._named_tables: set[str] = set()
        self._named_metadata: set[Source] = set()
        self._followed: set[tuple[str, str, tuple[str, ...]]] = set()
        # Requirements whose project's table, versions whose metadata has not come.
        self._open_requirements: list[Requirement] = []
        self._open_sources: list[tuple[Source, tuple[str, ...]]] = []
        # Versions that were considered, as a term, by project.
        self._tried: dict[str, int] = {}
        self._tables: list[str] = []
        self._metadata: list[Source] = []

    def follow(self, requirements: Iterable[Requirement]) -> None:
        for one in requirements:
            key = one.project, one.specifiers, one.extras
            if not one.url and key not in self._followed:
                self._followed.add(key)
                self._open_requirements.append(one)

    def tried(self, project: Project, index: int, fitting: int, *, lowest: bool) -> None:
        """A version of the project is considered; `fitting` are those that the solver would take."""
        before = self._tried.get(project.name, NOTHING)
        self._tried[project.name] = tried = before | term.version(index)
        if tried == before:
            return
        count = tried.bit_count()
        batch = _BATCHES.get(count, _LATER_BATCH if count > max(_BATCHES) and not count % _LATER_EVERY else 0)
        if not batch:
            return
        below = term.version(index) - 1
        beyond = (below if not lowest else ~(below | term.version(index))) & project.versions.all
        walk = term.upwards if lowest else term.downwards
        for other in islice(chain(walk(beyond & fitting), walk(beyond & ~fitting)), batch):
            # An sdist may have to be built to be asked: not on a mere suspicion.
            if project.releases[other].tags:
                self._name(project, other)

    def likely(self) -> tuple[tuple[str, ...], tuple[Source, ...]]:
        """(tables, metadata) that were not named before."""
        self._walk()
        found = tuple(self._tables), tuple(self._metadata)
        self._tables, self._metadata = [], []
        return found

    def _walk(self) -> None:
        moved = True
        while moved:
            requirements, self._open_requirements = self._open_requirements, []
            sources, self._open_sources = self._open_sources, []
            moved = any([*map(self._enter, requirements), *(self._read(*one) for one in sources)])

    def _enter(self, one: Requirement) -> bool:
        """Whether it led on."""
        project = self._view.project(one.project)
        if project is None:
            self._open_requirements.append(one)
            if one.project not in self._named_tables:
                self._named_tables.add(one.project)
                self._tables.append(one.project)
            return False
        index = self._first_of(project, project.versions.matching(one.specifiers))
        if index is not None:
            self._name(project, index)
            self._open_sources.append((project.sources[index], one.extras))
        return True

    def _read(self, source: Source, extras: tuple[str, ...]) -> bool:
        if not self._view.knowledge.said(source):
            self._open_sources.append((source, extras))
            return False
        for extra in ("", *extras):
            self.follow(self._view.requirements(source, extra))
        return True

    def _name(self, project: Project, index: int) -> None:
        source = project.sources[index]
        if source in self._named_metadata or self._view.knowledge.said(source) or project.why_not(index):
            return
        self._named_metadata.add(source)
        self._metadata.append(source)
