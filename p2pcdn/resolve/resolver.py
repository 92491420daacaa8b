"""The door of the room: what was asked, what is known, and the next thing to do."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import replace
from typing import NoReturn

from p2pcdn.resolve import term
from p2pcdn.resolve.choice import Choice
from p2pcdn.resolve.incompatibility import Asked, Depends, Incompatibility, SameVersion, Unusable
from p2pcdn.resolve.model import Edge, Metadata, Need, NoSolution, Pin, Solution, Source, Table, Target, Wanted
from p2pcdn.resolve.prefetch import Prefetch
from p2pcdn.resolve.priority import Priorities
from p2pcdn.resolve.project import Project
from p2pcdn.resolve.python import View, package_name, parts_of
from p2pcdn.resolve.report import facts, sentences
from p2pcdn.resolve.requirement import Requirement
from p2pcdn.resolve.solver import Solver, Unsatisfiable
from p2pcdn.resolve.suggest import asked, suggestion
from p2pcdn.resolve.term import ANYTHING, PRESENT
from p2pcdn.resolve.wording import Wording

# An attempt for a suggestion may consider so many versions, a tenth of a second's work; and all attempts together may
# ask so many times: on a line of 20 ms, half a second.
ATTEMPT_VERSIONS_MAX = 1_000
ATTEMPT_STEPS_MAX = 25


class _Impatient(Exception):
    """It takes too long."""


class Resolver:
    """One resolution for one target. Not for two threads at once."""

    def __init__(self, wanted: Wanted, target: Target) -> None:
        """Raises BadRequirement."""
        self._wanted = wanted
        self._target = target
        self._view = View(wanted, target)
        self._solver = Solver(self._refute, self._blame)
        self._choice = Choice(wanted, self._view, self._solver)
        self._prefetch = Prefetch(self._view, self._choice.of)
        self._priorities = Priorities()
        self._begun = False
        self._introduced: set[str] = set()
        # Versions of packages (terms) whose dependencies the solver knows.
        self._expanded: dict[str, int] = {}
        # After so many versions considered a resolution gives up; None: never.
        self._patience: int | None = None
        self._attempt_steps = ATTEMPT_STEPS_MAX
        # Once there is no solution: what is left to ask until that is said.
        self._ending: Generator[Need, None, NoReturn] | None = None
        # A package whose decision stands in the way of another too often.
        self._in_the_way: str | None = None

    def step(self) -> Need | Solution:
        """Goes on as far as what is known leads. Raises NoSolution, perhaps after some steps to find a suggestion."""
        if self._ending is None:
            try:
                return self._begin() or self._solve() or self._solution()
            except Unsatisfiable as end:
                self._ending = self._end(end.proof)
        return next(self._ending)

    def learn(self, tables: Iterable[Table] = (), metadata: Iterable[Metadata] = ()) -> None:
        """Takes what came, wanted or not; what is known already stays as it is."""
        self._view.learn(tables, metadata)

    def _end(self, proof: Incompatibility) -> Generator[Need, None, NoReturn]:
        leaves = facts(proof)
        advice = yield from suggestion(leaves, self._view, self._wanted, self._attempt)
        raise NoSolution(sentences(proof, Wording(self._view)), advice, tuple(asked(leaves, self._wanted)))

    def _attempt(self, wanted: Wanted) -> Generator[Need, None, Solution | Need | None]:
        """Whether something else can be solved, within a short time."""
        other = Resolver(wanted, self._target)
        other._patience = ATTEMPT_VERSIONS_MAX
        while True:
            other.learn(self._view.tables.values(), self._view.metadata.values())
            try:
                outcome = other._begin() or other._solve() or other._solution()
            except (Unsatisfiable, _Impatient):
                return None
            if isinstance(outcome, Solution) or not self._attempt_steps:
                return outcome
            self._attempt_steps -= 1
            yield Need(outcome.tables, outcome.metadata)

    def _begin(self) -> Need | None:
        if self._begun:
            return None
        unread = self._view.unread_urls()
        if unread:
            # Before they are read nobody knows which projects they make their own.
            return Need(metadata=unread)
        self._prefetch.follow(self._view.root)
        blocked = self._need_tables(self._view.root)
        if blocked is None:
            self._begun = True
            for one in self._view.root:
                self._require(one)
        return blocked

    def _solve(self) -> Need | None:
        """Until everything is decided (None), or something is not known."""
        solver = self._solver
        while True:
            solver.propagate()
            if self._in_the_way is not None:
                self._step_aside(self._in_the_way)
            package = self._next_package()
            if package is None:
                return None
            if self._patience is not None:
                self._patience -= 1
                if self._patience < 0:
                    raise _Impatient
            blocked = self._consider(package)
            if blocked is not None:
                return blocked

    def _next_package(self) -> str | None:
        """The undecided package to decide next; an extra as soon as its project is decided."""
        solution = self._solver.solution
        best: str | None = None
        best_rank: tuple[int, ...] = ()
        for package, known in solution.terms.items():
            if known & term.ABSENT or package in solution.decided:
                continue
            name, extra = parts_of(package)
            if extra:
                if name in solution.decided:
                    return package
                continue
            rank = self._rank(name, known)
            if best is None or rank < best_rank:
                best, best_rank = package, rank
        return best

    def _rank(self, name: str, known: int) -> tuple[int, ...]:
        project = self._project(name)
        single = (known & project.versions.all).bit_count() == 1
        self._priorities.see(name)
        return self._priorities.rank(name, single=single, shut=not self._choice.has_open(project, known))

    def _consider(self, package: str) -> Need | None:
        """Decides one version of the package, or learns why that one will not do."""
        name, extra = parts_of(package)
        known = self._solver.solution.terms[package]
        project = self._project(name)
        if extra:
            index = term.highest(self._solver.solution.decided[name])
            if not known & term.version(index):
                self._tie(package, name, known)
                return None
        else:
            found = self._choice.of(project, known)
            if found is None:
                self._solver.add(self._choice.refusal(project, known))
                return None
            index = found
        return self._try(package, project, index)

    def _try(self, package: str, project: Project, index: int) -> Need | None:
        version = term.version(index)
        if not self._expanded.get(package, 0) & version:
            source = project.sources[index]
            if source not in self._view.metadata:
                self._prefetch.tried(project, index, self._solver.solution.terms[package], lowest=self._lowest)
                return self._need(metadata=(source,))
            objection = self._view.objection(source)
            if objection:
                self._condemn(package, project, index, objection)
                return None
            requirements = self._view.requirements(source, parts_of(package)[1])
            blocked = self._need_tables(requirements)
            if blocked is not None:
                return blocked
            if self._expand(package, version, requirements):
                return None
        self._solver.decide(package, version)
        return None

    def _expand(self, package: str, version: int, requirements: tuple[Requirement, ...]) -> bool:
        """Tells the solver what this version requires. Returns whether what is known rules it out already."""
        name, extra = parts_of(package)
        terms = self._solver.solution.terms
        refused = False
        self._expanded[package] = self._expanded.get(package, 0) | version
        if extra:
            self._tie(package, name, version)
        for one in requirements:
            needed = self._needed(one)
            self._choice.permit(package, version, one.project, needed, one)
            for child in _packages(one):
                self._solver.add_dependency(package, version, child, needed, one.text)
                if not terms.get(child, ANYTHING) & needed:
                    self._count_conflict(package, child)
                    refused = True
        self._prefetch.follow(requirements)
        return refused

    def _require(self, one: Requirement) -> None:
        """Tells the solver what the user wants."""
        needed = self._needed(one)
        self._choice.ask(one.project, needed, one)
        for package in _packages(one):
            self._solver.add(Incompatibility(_unless(package, needed), Asked(package, one.text)))

    def _needed(self, one: Requirement) -> int:
        """The term that a requirement is. With the first of a project, its constraints are told, too."""
        project = self._project(one.project)
        if one.project not in self._introduced:
            self._introduced.add(one.project)
            for constraint in self._view.constraints.get(one.project, ()):
                self._constrain(constraint)
        return project.at_url(one.url) if one.url else project.versions.matching(one.specifiers)

    def _constrain(self, one: Requirement) -> None:
        needed = self._needed(one)
        self._choice.ask(one.project, needed, one)
        if PRESENT & ~needed:
            cause = Asked(one.project, one.text, constrains=True)
            self._solver.add(Incompatibility({one.project: PRESENT & ~needed}, cause))

    def _tie(self, package: str, name: str, versions: int) -> None:
        """An extra's package in one of these versions needs its project in the same one."""
        terms = {package: versions, name: ANYTHING & ~versions}
        self._solver.add(Incompatibility(terms, SameVersion(package, name)))

    def _condemn(self, package: str, project: Project, index: int, reason: str) -> None:
        project.condemn(index, reason)
        refuted = self._refute(package, self._solver.solution.terms[package])
        if refuted is not None:
            self._solver.add(refuted)

    def _refute(self, package: str, versions: int) -> Incompatibility | None:
        project = self._project(parts_of(package)[0])
        return None if project.any_usable(versions) else Incompatibility({package: versions}, Unusable(package))

    def _blame(self, conflict: Incompatibility) -> None:
        if isinstance(conflict.cause, Depends):
            self._count_conflict(conflict.cause.parent, conflict.cause.child)

    def _count_conflict(self, refused: str, because_of: str) -> None:
        refused, because_of = parts_of(refused)[0], parts_of(because_of)[0]
        if because_of in self._solver.solution.decided and self._priorities.conflict(refused, because_of):
            self._in_the_way = because_of

    def _step_aside(self, name: str) -> None:
        """Takes the decision for this project back, so that the other is decided before it."""
        self._in_the_way = None
        solution = self._solver.solution
        if name in solution.decided:
            self._solver.backjump(solution.level_of_decision(name) - 1)

    def _need_tables(self, requirements: Iterable[Requirement]) -> Need | None:
        missing = {one.project: None for one in requirements if self._view.project(one.project) is None}
        return self._need(tables=tuple(missing))

    def _need(self, tables: tuple[str, ...] = (), metadata: tuple[Source, ...] = ()) -> Need | None:
        if not tables and not metadata:
            return None
        likely_tables, likely_metadata = self._prefetch.likely()
        return Need(
            tables,
            metadata,
            tuple(name for name in likely_tables if name not in tables),
            tuple(source for source in likely_metadata if source not in metadata),
        )

    def _project(self, name: str) -> Project:
        project = self._view.project(name)
        assert project is not None, f"{name} is needed before its table is known"
        return project

    @property
    def _lowest(self) -> bool:
        return self._wanted.prefer == "lowest"

    def _solution(self) -> Solution:
        pins: dict[str, Pin] = {}
        extras: dict[str, list[str]] = {}
        edges = [Edge("", "", one.project, one.text) for one in self._view.root]
        warnings = []
        for package, version in self._solver.solution.decided.items():
            name, extra = parts_of(package)
            project = self._project(name)
            source = project.sources[term.highest(version)]
            edges += [Edge(name, extra, one.project, one.text) for one in self._view.requirements(source, extra)]
            if not extra:
                number = source.version or project.releases[term.highest(version)].version
                pins[name] = Pin(name, number, project.index, source.url)
            elif self._view.provides(source, extra):
                extras.setdefault(name, []).append(extra)
            else:
                warnings.append(f"{name} {source.version} has no extra {extra!r}; it is left out.")
        named = [replace(pin, extras=tuple(sorted(extras.get(name, ())))) for name, pin in sorted(pins.items())]
        edges = sorted(set(edges), key=lambda edge: (edge.parent, edge.extra, edge.child, edge.requirement))
        return Solution(tuple(named), tuple(edges), tuple(sorted(warnings)))


def _packages(one: Requirement) -> tuple[str, ...]:
    """The packages that a requirement speaks of: the project, and each extra."""
    return (one.project, *(package_name(one.project, extra) for extra in one.extras))


def _unless(package: str, needed: int) -> dict[str, int]:
    """The terms of "not outside of these versions"; none where there are no such versions at all."""
    return {package: ANYTHING & ~needed} if needed else {}
