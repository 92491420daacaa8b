"""Whether a solution that somebody else found is one: a certificate that is checked, not trusted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from p2pcdn.resolve import term
from p2pcdn.resolve.choice import Choice
from p2pcdn.resolve.knowledge import Knowledge
from p2pcdn.resolve.model import Edge, Metadata, Pin, Solution, Table, Target, Wanted
from p2pcdn.resolve.project import Project
from p2pcdn.resolve.python import View, package_name
from p2pcdn.resolve.requirement import Requirement
from p2pcdn.resolve.solver import Solver


def verify(
    solution: Solution, wanted: Wanted, target: Target, tables: Iterable[Table], metadata: Iterable[Metadata]
) -> tuple[str, ...]:
    """What is wrong with it, in sentences; empty where we would have found it, too. Linear in its size.

    tables, metadata: our own, of the solution's projects and pins; one that lacks is a sentence, too.

    It must satisfy all that is wanted and hold nothing else. And of no project may a version fit everybody that we
    would have tried before: a neighbour must not choose old versions for us. So the solution of a resolution that had
    to go back is refused here, though it may be right; whoever gets it resolves himself.
    """
    knowledge = Knowledge()
    knowledge.learn(tables, metadata)
    return tuple(_Certificate(solution, wanted, View(wanted, target, knowledge)).faults())


class _Certificate:
    """The pins as decisions of a solver that nobody runs: so `Choice` judges them by the rules of a resolution."""

    def __init__(self, solution: Solution, wanted: Wanted, view: View) -> None:
        self._solution = solution
        self._view = view
        self._solver = Solver(lambda package, versions: None, lambda conflict: None)
        self._choice = Choice(wanted, view, self._solver)
        self._pins = {pin.project: pin for pin in solution.pins}
        self._found: dict[str, tuple[Project, int]] = {}
        self._extras: dict[str, set[str]] = {}

    def faults(self) -> Iterator[str]:
        unread = self._view.unread_urls()
        yield from (f"The metadata of {source.url} is not here." for source in unread)
        if not unread:
            yield from (fault for pin in self._solution.pins if (fault := self._locate(pin)))
        if len(self._found) == len(self._solution.pins):
            yield from self._compare()

    def _locate(self, pin: Pin) -> str:
        project = self._view.project(pin.project)
        if project is None:
            return f"The table of {pin.project} is not here."
        if pin.source not in project.sources:
            return f"There is no {pin.project} {pin.version}."
        index = project.sources.index(pin.source)
        if pin.source not in self._view.metadata:
            return f"The metadata of {pin.project} {pin.version} is not here."
        reason = project.why_not(index) or self._view.objection(pin.source)
        if reason:
            return f"{pin.project} {pin.version} {reason}."
        self._found[pin.project] = project, index
        return ""

    def _compare(self) -> Iterator[str]:
        edges = set(self._walk())
        if missing := sorted({edge.child for edge in edges} - self._pins.keys()):
            yield f"It lacks {', '.join(missing)}."
            return
        if strange := sorted(self._pins.keys() - {edge.child for edge in edges}):
            yield f"Nobody requires {', '.join(strange)}."
        if edges != set(self._solution.edges):
            yield "Its edges are not what the metadata says."
        for pin in self._solution.pins:
            yield from self._judge(pin)

    def _walk(self) -> Iterator[Edge]:
        """The edges that there must be; what they say is told to solver and choice."""
        ahead: list[tuple[str, str, Requirement]] = [("", "", one) for one in self._view.root]
        constraints = [one for several in self._view.constraints.values() for one in several]
        for one in (*self._view.root, *constraints):
            if one.project in self._found:
                self._choice.ask(one.project, self._needed(one), one)
        decided: set[str] = set()
        while ahead:
            parent, extra, one = ahead.pop()
            yield Edge(parent, extra, one.project, one.text)
            if one.project not in self._found:
                continue
            if parent:
                self._tell(parent, extra, one)
            for wanted in ("", *one.extras):
                package = package_name(one.project, wanted)
                self._extras.setdefault(one.project, set()).add(wanted)
                if package not in decided:
                    decided.add(package)
                    project, index = self._found[one.project]
                    self._solver.solution.decide(package, term.version(index))
                    source = project.sources[index]
                    ahead += [(one.project, wanted, other) for other in self._view.requirements(source, wanted)]

    def _tell(self, parent: str, extra: str, one: Requirement) -> None:
        version = term.version(self._found[parent][1])
        needed = self._needed(one)
        package = package_name(parent, extra)
        self._solver.add_dependency(package, version, one.project, needed, one.text)
        self._choice.permit(package, version, one.project, needed, one)

    def _needed(self, one: Requirement) -> int:
        project, _ = self._found[one.project]
        return project.at_url(one.url) if one.url else project.versions.matching(one.specifiers)

    def _judge(self, pin: Pin) -> Iterator[str]:
        project, index = self._found[pin.project]
        fitting = self._choice.fitting(pin.project)
        if not fitting & term.version(index):
            yield f"{pin.project} {pin.version} is not what everybody requires."
            return
        first = self._choice.of(project, fitting)
        if first is None or self._choice.of(project, term.version(index)) is None:
            yield f"{pin.project} {pin.version} is a pre-release or yanked, and nobody asks for it."
        elif first != index:
            yield f"{pin.project} {project.sources[first].version} fits, and comes before {pin.version}."
        asked = self._extras[pin.project] - {""}
        mine = tuple(sorted(extra for extra in asked if self._view.provides(pin.source, extra)))
        if mine != pin.extras:
            yield f"{pin.project} must have these extras: {', '.join(mine) or 'none'}."
