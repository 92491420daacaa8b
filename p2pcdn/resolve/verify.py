"""Whether a solution that somebody else found is one: a certificate that is checked, not trusted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from p2pcdn.resolve import term
from p2pcdn.resolve.choice import Choice
from p2pcdn.resolve.incompatibility import Incompatibility
from p2pcdn.resolve.knowledge import Knowledge
from p2pcdn.resolve.lacking import AnyFile
from p2pcdn.resolve.model import Keys, LacksFiles, Metadata, Need, Solution, Source, Table, Target, Wanted
from p2pcdn.resolve.outcome import solution_of
from p2pcdn.resolve.project import Project
from p2pcdn.resolve.python import View, package_name
from p2pcdn.resolve.report import facts
from p2pcdn.resolve.requirement import Requirement
from p2pcdn.resolve.resolution import Impatient, Resolution
from p2pcdn.resolve.solver import Solver, Unsatisfiable

# A version that was looked at is considered for its project and for its extras, and again after going back; those of a
# long history mostly not at all (`run.py`). All of them take half a second of a thread at most.
CONSIDERED_A_VERSION_MAX = 16
CONSIDERED_MAX = 8192


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a choice of versions is not taken, in sentences: the first kind of fault that there is.

    is_sure: it is not ours; else it was given up before that was known.
    """

    sentences: tuple[str, ...]
    is_sure: bool = True


def confirm(
    versions: Iterable[Source] | None,
    looked_at: Keys,
    wanted: Wanted,
    target: Target,
    knowledge: Knowledge,
) -> Solution | LacksFiles | Doubt:
    """The solution that these versions are, if it is the one that we would have found.

    versions: what is to come out; None: that there is none for want of files. looked_at: all whose metadata a
    resolution has to know (`Resolver.looked_at`). knowledge: our own tables of their projects, and our own metadata of
    them; one that lacks is a doubt, too.

    It is found out by finding it: by the same search, that knows nothing but what is named. Where it would look at
    anything else, it would come to something else. So nobody can choose anything for us, nor among several solutions
    of which each is as good as it can be. A search that goes on for longer than such a list can take is given up: the
    time is linear in its size. Raises BadRequirement.
    """
    limited = knowledge.limited_to(looked_at)
    if (found := limited.past.solution(wanted, target)) is not None:
        return _as_named(found, versions)
    most = min(CONSIDERED_A_VERSION_MAX * (sum(map(len, looked_at.values())) + 1), CONSIDERED_MAX)
    search = Resolution(wanted, target, limited, considered_max=most)
    try:
        blocked = search.go_on()
    except Unsatisfiable as end:
        if versions is None:
            return _lacking(facts(end.proof), search.view, AnyFile(wanted, target, limited))
        return Doubt(("They do not fit together.",))
    except Impatient:
        return Doubt(("They lead to no end.",), is_sure=False)
    if blocked is not None:
        return Doubt(tuple(_unknown(blocked)))
    return _as_named(search.solution(), versions)


def _as_named(found: Solution, versions: Iterable[Source] | None) -> Solution | Doubt:
    if versions is None:
        return Doubt(("There are versions that fit.",))
    sources = tuple(versions)
    if {pin.source for pin in found.pins} == set(sources) and len(found.pins) == len(sources):
        return found
    return Doubt((_STRANGE,))


def _lacking(proof: Iterable[Incompatibility], view: View, any_file: AnyFile) -> LacksFiles | Doubt:
    end = any_file.lacking(proof, view)
    try:
        return Doubt(tuple(_unknown(next(end))))
    except StopIteration as stop:
        return LacksFiles(stop.value) if stop.value else Doubt(("It is not for want of files.",))


def _unknown(need: Need) -> Iterator[str]:
    """What a search asks for that nobody has looked at."""
    yield from (f"It lacks {project}." for project in need.tables)
    yield from (f"Of {one.project} {one.version or one.url} it says nothing." for one in need.metadata)


def verify(
    solution: Solution, wanted: Wanted, target: Target, tables: Iterable[Table], metadata: Iterable[Metadata]
) -> tuple[str, ...]:
    """What is wrong with a whole solution, in sentences; empty where nothing is. Linear in its size.

    It must satisfy all that is wanted and hold nothing else. And of no project may a version fit everybody that we
    would have tried before. There may be several of which that is true: `confirm` knows which one is ours.
    """
    knowledge = Knowledge()
    knowledge.learn(tables, metadata)
    sources = (pin.source for pin in solution.pins)
    ours = _Certificate(sources, View(wanted, target, knowledge), wanted).judged()
    if isinstance(ours, Doubt):
        return ours.sentences
    return () if ours == solution else (_STRANGE,)


_STRANGE = "It is not what these decisions come to."


class _Certificate:
    """The versions as decisions of a solver that nobody runs: so `Choice` judges them by the rules of a resolution."""

    def __init__(self, sources: Iterable[Source], view: View, wanted: Wanted) -> None:
        self._sources = tuple(sources)
        self._view = view
        self._solver = Solver(lambda package, versions: None, lambda conflict: None)
        self._choice = Choice(wanted, view, self._solver)
        self._found: dict[str, tuple[Project, int]] = {}
        # (package, index), as a resolution would have decided them.
        self._decided: dict[str, int] = {}

    def judged(self) -> Solution | Doubt:
        """What comes later stands on what came before."""
        unread = [f"The metadata of {source.url} is not here." for source in self._view.unread_urls()]
        lost = unread or [fault for source in self._sources if (fault := self._locate(source))]
        faults = lost or self._lacking() or self._poor()
        if faults:
            return Doubt(tuple(faults))
        if len(self._found) != len(self._sources) or not self._found.keys() <= self._decided.keys():
            return Doubt((_STRANGE,))
        return solution_of(self._view, self._decided.items())

    def _locate(self, source: Source) -> str:
        named = f"{source.project} {source.version or source.url}"
        project = self._view.project(source.project)
        if project is None:
            return f"The table of {source.project} is not here."
        if source not in project.sources:
            return f"There is no {named}."
        index = project.sources.index(source)
        if not self._view.knowledge.said(source):
            return f"The metadata of {named} is not here."
        reason = project.why_not(index) or self._view.objection(source)
        if reason:
            return f"{named} {reason}."
        self._found[source.project] = project, index
        return ""

    def _lacking(self) -> list[str]:
        """Follows all requirements; solver and choice are told of them."""
        constraints = [one for several in self._view.constraints.values() for one in several]
        for one in (*self._view.root, *constraints):
            if one.project in self._found:
                self._choice.ask(one.project, self._needed(one), one)
        lacking: dict[str, None] = {}
        ahead = [("", one) for one in self._view.root]
        while ahead:
            parent, one = ahead.pop()
            if one.project not in self._found:
                lacking[f"It lacks {one.project}."] = None
                continue
            if parent:
                self._tell(parent, one)
            project, index = self._found[one.project]
            for extra in ("", *one.extras):
                package = package_name(one.project, extra)
                if package not in self._decided:
                    self._decided[package] = index
                    self._solver.solution.decide(package, term.version(index))
                    more = self._view.requirements(project.sources[index], extra)
                    ahead += [(package, other) for other in more]
        return list(lacking)

    def _poor(self) -> list[str]:
        return [fault for name in self._decided if name in self._found and (fault := self._judge(*self._found[name]))]

    def _tell(self, package: str, one: Requirement) -> None:
        version = term.version(self._decided[package])
        needed = self._needed(one)
        self._solver.add_dependency(package, version, one.project, needed, one.text)
        self._choice.permit(package, version, one.project, needed, one)

    def _needed(self, one: Requirement) -> int:
        project, _ = self._found[one.project]
        return project.at_url(one.url) if one.url else project.versions.matching(one.specifiers)

    def _judge(self, project: Project, index: int) -> str:
        named = f"{project.name} {project.releases[index].version}"
        fitting = self._choice.fitting(project.name)
        if not fitting & term.version(index):
            return f"{named} is not what everybody requires."
        first = self._choice.of(project, fitting)
        if first is None or self._choice.of(project, term.version(index)) is None:
            return f"{named} is a pre-release or yanked, and nobody asks for it."
        if first != index:
            return f"{project.name} {project.releases[first].version} fits, and comes before {named}."
        return ""
