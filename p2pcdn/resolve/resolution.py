"""One search for a solution: Python's view and PubGrub brought together, decision after decision."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from p2pcdn.resolve import term
from p2pcdn.resolve.choice import Choice
from p2pcdn.resolve.incompatibility import Asked, Depends, Incompatibility, SameVersion, Unusable
from p2pcdn.resolve.knowledge import Knowledge
from p2pcdn.resolve.model import Keys, Need, Solution, Source, Target, Wanted
from p2pcdn.resolve.outcome import solution_of
from p2pcdn.resolve.prefetch import Prefetch
from p2pcdn.resolve.priority import Priorities
from p2pcdn.resolve.project import Project
from p2pcdn.resolve.python import View, package_name, parts_of
from p2pcdn.resolve.requirement import Requirement
from p2pcdn.resolve.run import Refused, Runs
from p2pcdn.resolve.solver import Solver
from p2pcdn.resolve.term import ANYTHING, NOTHING, PRESENT


class Impatient(Exception):
    """It takes more than it was given."""


class Resolution:
    """The state of a search, which goes on by what its knowledge has learned."""

    def __init__(
        self,
        wanted: Wanted,
        target: Target,
        knowledge: Knowledge,
        *,
        considered_max: int | None = None,
        new_max: int | None = None,
        familiar: Keys | None = None,
    ) -> None:
        """considered_max: after so many versions it gives up; new_max: after so many that are not familiar. None for
        never. Raises BadRequirement.
        """
        self.view = View(wanted, target, knowledge)
        self._wanted, self._past = wanted, knowledge.past
        self._solver = Solver(self._refute, self._blame)
        self._choice = Choice(wanted, self.view, self._solver)
        self._prefetch = Prefetch(self.view, self._choice.of)
        # An attempt that must stay among what is familiar looks at nothing that it has no need of.
        self._runs = Runs() if new_max is None else None
        self._priorities = Priorities()
        # Of packages that nobody has decided: for these versions (a term), when they are to be decided.
        self._ranks: dict[str, tuple[int, tuple[int, ...]]] = {}
        self._lowest = wanted.prefer == "lowest"
        self._considered_max = considered_max
        self._new_max = new_max
        self._familiar = familiar or {}
        self._new = 0
        self._considered = 0
        self._begun = False
        self._introduced: dict[str, Project] = {}
        # Versions of packages (terms) whose dependencies the solver knows.
        self._expanded: dict[str, int] = {}
        # What was read with a version that was tried. It is told when another one is to be tried: by then it may be
        # certain that none of them will do, which is one fact.
        self._unsaid: dict[str, Sequence[int]] = {}
        # Versions of projects (terms) that were ever the one to try.
        self._tried: dict[str, int] = {}
        # Versions whose metadata was wanted, or was there and decided something: by project, their keys.
        self.looked_at: dict[str, dict[str, None]] = {}
        # A project whose decision stands in the way of another too often.
        self._in_the_way: str | None = None

    def go_on(self) -> Need | None:
        """As far as what is known leads: until all is decided (None). Raises Unsatisfiable, Impatient."""
        return self._begin() or self._solve()

    def solution(self) -> Solution:
        """What was decided, when all is; who would come to the same for another target need not search again."""
        view = self.view
        found = solution_of(view, self.decided())
        self._past.note(
            self._wanted,
            found,
            markers=view.markers,
            judgement=view.judgement,
            projects=view.projects,
            tried_only=self._tried_only(),
        )
        return found

    def decided(self) -> Iterator[tuple[str, int]]:
        """(package, index of its version)."""
        for package, version in self._solver.solution.decided.items():
            yield package, term.highest(version)

    def _tried_only(self) -> Iterator[tuple[str, str]]:
        """(project, version) of those of which no other version was ever tried, and which nobody writes otherwise."""
        for name, tried in self._tried.items():
            project, index = self.view.known(name), term.highest(tried)
            if tried == term.version(index) and project.versions.is_alone(index):
                yield name, project.sources[index].version

    def _begin(self) -> Need | None:
        if self._begun:
            return None
        unread = self.view.unread_urls()
        if unread:
            # Before they are read nobody knows which projects they make their own.
            return Need(metadata=unread)
        self._prefetch.follow(self.view.root)
        blocked = self._need_tables(self.view.root)
        if blocked is None:
            self._begun = True
            for one in self.view.root:
                self._priorities.see(one.project)  # in the user's order
                self._require(one)
        return blocked

    def _solve(self) -> Need | None:
        while True:
            self._solver.propagate()
            if self._in_the_way is not None:
                self._step_aside(self._in_the_way)
            package = self._next_package()
            if package is None:
                return None
            if package in self._unsaid:
                self._expand_run(*self._unsaid.popitem())  # what was read last rules out what was read before
                continue
            if self._considered == self._considered_max:
                raise Impatient
            self._considered += 1
            blocked = self._consider(package)
            if blocked is not None:
                return blocked

    def _next_package(self) -> str | None:
        """The undecided package to decide next; an extra as soon as its project is decided."""
        solution = self._solver.solution
        best: str | None = None
        best_rank: tuple[int, ...] = ()
        for package, known in solution.undecided.items():
            remembered = self._ranks.get(package)
            if remembered is not None and remembered[0] == known:
                rank = remembered[1]
            elif "[" not in package:
                rank = self._rank(package, known)
            elif parts_of(package)[0] in solution.decided:
                return package
            else:
                continue
            if best is None or rank < best_rank:
                best, best_rank = package, rank
        return best

    def _rank(self, name: str, known: int) -> tuple[int, ...]:
        project = self.view.known(name)
        single = (known & project.versions.all).bit_count() == 1
        self._priorities.see(name)
        if not self._choice.has_ordinary(project, known):
            # Permission comes and goes with those who require it.
            return self._priorities.rank(name, single=single, shut=not self._choice.has_open(project, known))
        rank = self._priorities.rank(name, single=single, shut=False)
        self._ranks[name] = known, rank
        return rank

    def _consider(self, package: str) -> Need | None:
        """Decides one version of the package, or learns why that one will not do."""
        name, extra = parts_of(package)
        known = self._solver.solution.terms[package]
        project = self.view.known(name)
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
            self._tried[name] = self._tried.get(name, 0) | term.version(index)
        return self._try(package, project, index)

    def _try(self, package: str, project: Project, index: int) -> Need | None:
        version = term.version(index)
        if not self._expanded.get(package, 0) & version:
            fitting = self._solver.solution.terms[package]
            self._prefetch.tried(project, index, fitting, lowest=self._lowest)
            source = project.sources[index]
            self._count_new(source)
            run = self._run(package, project, index)
            if unread := self._unread(project, (index, *run)):
                return self._need(metadata=unread)
            objection = self.view.objection(source)
            if objection:
                self._condemn(package, project, index, objection)
                return None
            requirements = self.view.requirements(source, parts_of(package)[1])
            blocked = self._need_tables(requirements)
            if blocked is not None:
                return blocked
            refused = self._expand(package, version, requirements)
            if run:
                self._unsaid[package] = run
            if refused:
                return None
        self._solver.decide(package, version)
        return None

    def _count_new(self, source: Source) -> None:
        if not any(source.key in known.get(source.project, ()) for known in (self.looked_at, self._familiar)):
            if self._new == self._new_max:
                raise Impatient
            self._new += 1

    def _unread(self, project: Project, versions: Sequence[int]) -> tuple[Source, ...]:
        """Those of these versions, which are looked at together from now on, whose metadata has not come."""
        said, keys = self.view.knowledge.said_of(project.name), [project.keys[index] for index in versions]
        self.looked_at.setdefault(project.name, {}).update(dict.fromkeys(keys))
        if all(map(said.__contains__, keys)):
            return ()
        return tuple([project.sources[index] for index in versions if project.keys[index] not in said])

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

    def _run(self, package: str, project: Project, index: int) -> Sequence[int]:
        """The versions that are read with this one: see `Runs`."""
        if self._runs is None or "[" in package:
            return ()
        return self._runs.of(project, index, self._expanded.get(package, 0), lowest=self._lowest)

    def _expand_run(self, package: str, run: Sequence[int]) -> None:
        """Tells the solver what these versions require, but for those that speak of projects not met before."""
        # What is needed of a child, in one text: the versions that say so.
        saying: dict[Requirement, int] = {}
        refused, told = Refused(package), NOTHING
        for versions, (requirements, objection) in self.view.readings(self.view.known(package), run):
            if objection or not self._introduced.keys() >= {one.project for one in requirements}:
                continue
            told |= versions
            if not self._refuse(requirements, versions, refused):
                for one in requirements:
                    saying[one] = saying.get(one, 0) | versions
        self._expanded[package] |= told
        for incompatibility in refused.told():
            self._solver.add(incompatibility)
        for one, versions in saying.items():
            needed = self._needed(one)
            self._choice.permit(package, versions, one.project, needed, one)
            for child in _packages(one):
                self._solver.add_dependency(package, versions, child, needed, one.text)

    def _refuse(self, requirements: tuple[Requirement, ...], versions: int, refused: Refused) -> bool:
        """Whether one of these requires what cannot be, whatever is decided; then it is noted."""
        certain = self._solver.solution.certain
        for one in requirements:
            needed = self._needed(one)
            if needed and not needed & certain.get(one.project, ANYTHING) and one.project != refused.package:
                refused.note(versions, one, needed)
                return True
        return False

    def _require(self, one: Requirement) -> None:
        """Tells the solver what the user wants."""
        needed = self._needed(one)
        self._choice.ask(one.project, needed, one)
        for package in _packages(one):
            self._solver.add(Incompatibility(_unless(package, needed), Asked(package, one.text)))

    def _needed(self, one: Requirement) -> int:
        """The term that a requirement is. With the first of a project, its constraints are told, too."""
        project = self._introduced.get(one.project) or self._introduce(one.project)
        return project.at_url(one.url) if one.url else project.versions.matching(one.specifiers)

    def _introduce(self, name: str) -> Project:
        project = self._introduced[name] = self.view.known(name)
        for constraint in self.view.constraints.get(name, ()):
            self._constrain(constraint)
        return project

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
        self._ranks.pop(project.name, None)
        refuted = self._refute(package, self._solver.solution.terms[package])
        if refuted is not None:
            self._solver.add(refuted)

    def _refute(self, package: str, versions: int) -> Incompatibility | None:
        project = self.view.known(parts_of(package)[0])
        return None if project.any_usable(versions) else Incompatibility({package: versions}, Unusable(package))

    def _blame(self, conflict: Incompatibility) -> None:
        if isinstance(conflict.cause, Depends):
            self._count_conflict(conflict.cause.parent, conflict.cause.child)

    def _count_conflict(self, refused: str, because_of: str) -> None:
        refused, because_of = parts_of(refused)[0], parts_of(because_of)[0]
        if because_of in self._solver.solution.decided and self._priorities.conflict(refused, because_of):
            self._in_the_way = because_of
            self._ranks.clear()

    def _step_aside(self, name: str) -> None:
        """Takes the decision for this project back, so that the other is decided before it."""
        self._in_the_way = None
        solution = self._solver.solution
        if name in solution.decided:
            self._solver.backjump(solution.level_of_decision(name) - 1)

    def _need_tables(self, requirements: Iterable[Requirement]) -> Need | None:
        missing = {one.project: None for one in requirements if self.view.project(one.project) is None}
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


def _packages(one: Requirement) -> tuple[str, ...]:
    """The packages that a requirement speaks of: the project, and each extra."""
    return (one.project, *(package_name(one.project, extra) for extra in one.extras))


def _unless(package: str, needed: int) -> dict[str, int]:
    """The terms of "not outside of these versions"; none where there are no such versions at all."""
    return {package: ANYTHING & ~needed} if needed else {}
