"""The door of the room: a search that is fed, what came of it, and what to say and suggest where nothing did."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import NoReturn

from p2pcdn.resolve.incompatibility import Incompatibility
from p2pcdn.resolve.knowledge import Knowledge
from p2pcdn.resolve.lacking import AnyFile
from p2pcdn.resolve.model import LacksFiles, Metadata, Need, NoSolution, Solution, Source, Table, Target, Wanted
from p2pcdn.resolve.order import Order
from p2pcdn.resolve.outcome import solution_of
from p2pcdn.resolve.report import facts, sentences
from p2pcdn.resolve.resolution import Impatient, Resolution
from p2pcdn.resolve.solver import Unsatisfiable
from p2pcdn.resolve.suggest import asked, suggestion
from p2pcdn.resolve.wording import A_BUILD, YOU, Wording

# An attempt for a suggestion may consider so many versions, a tenth of a second's work, and so many that the search
# itself has not looked at. Questions are not counted: how many there are depends on what happened to come first, and
# the report must not.
ATTEMPT_VERSIONS_MAX = 1_000
ATTEMPT_NEW_MAX = 16


class Resolver:
    """One resolution for one target. Not for two threads at once."""

    def __init__(
        self,
        wanted: Wanted,
        target: Target,
        knowledge: Knowledge | None = None,
        *,
        advises: bool = True,
        spares: bool = False,
        for_build: bool = False,
    ) -> None:
        """knowledge: shared with other resolutions, what they learned, too. advises: whether a suggestion is looked for
        where there is no solution, which may need further metadata. spares: it is asked whether only files lack.
        for_build: it is a build that wants it, of which a report speaks, and not the user. Raises BadRequirement.
        """
        self._advises = advises
        self._asker = A_BUILD if for_build else YOU
        self._wanted = wanted
        self._target = target
        self._knowledge = Knowledge() if knowledge is None else knowledge
        self._search = Resolution(wanted, target, self._knowledge)
        self._spares = spares
        self._begins = True
        self._any_file: AnyFile | None = None
        # Once there is no solution: what is left to ask until that is said, and then what was said.
        self._ending: Generator[Need, None, NoReturn] | None = None
        self._failed: NoSolution | LacksFiles | None = None

    def step(self) -> Need | Solution:
        """Goes on as far as what is known leads. Raises NoSolution, perhaps after some steps to find a suggestion, and
        LacksFiles where that was asked.
        """
        if self._failed is not None:
            raise self._failed
        if self._begins and (found := self._knowledge.past.solution(self._wanted, self._target)) is not None:
            return found
        self._begins = False
        if self._ending is None:
            try:
                return self._search.go_on() or self._search.solution()
            except Unsatisfiable as end:
                self._ending = self._end(end.proof)
        try:
            return next(self._ending)
        except (NoSolution, LacksFiles) as failed:
            self._failed = failed
            raise

    def learn(self, tables: Iterable[Table | Order] = (), metadata: Iterable[Metadata] = ()) -> None:
        """Takes what came, wanted or not; what is known already stays as it is.

        What cannot be had is learned too, as `Table.missing` or `Metadata.broken`; else each step asks for it again.
        """
        self._knowledge.learn(tables, metadata)

    @property
    def looked_at(self) -> dict[str, list[str]]:
        """The keys of the versions whose metadata decided anything, in the order in which they were looked at: see
        `confirm`.
        """
        found: dict[str, dict[str, None]] = {}
        for search in self._searches:
            for project, keys in search.looked_at.items():
                found[project] = found.get(project, {}) | keys
        return {project: [*keys] for project, keys in found.items()}

    @property
    def projects(self) -> tuple[str, ...]:
        """The projects whose tables were looked at."""
        return tuple(dict.fromkeys(project for search in self._searches for project in search.view.projects))

    @property
    def stands_on(self) -> tuple[Source, ...]:
        """The versions that the search has decided on so far; it may go back behind each of them."""
        if self._ending is not None:
            return ()
        view = self._search.view
        return tuple(view.known(name).sources[index] for name, index in self._search.decided() if "[" not in name)

    @property
    def _searches(self) -> list[Resolution]:
        return [self._search, *([self._any_file.search] if self._any_file is not None else [])]

    def _end(self, proof: Incompatibility) -> Generator[Need, None, NoReturn]:
        leaves, view = facts(proof), self._search.view
        if self._spares:
            self._any_file = AnyFile(self._wanted, self._target, self._knowledge)
            if lacking := (yield from self._any_file.lacking(leaves, view)):
                raise LacksFiles(lacking)
        advice = (yield from suggestion(leaves, view, self._wanted, self._attempt)) if self._advises else ""
        raise NoSolution(sentences(proof, Wording(view, self._asker)), advice, tuple(asked(leaves, self._wanted)))

    def _attempt(self, wanted: Wanted) -> Generator[Need, None, Solution | Impatient | None]:
        """Whether something else can be solved, within a short time."""
        search = Resolution(
            wanted,
            self._target,
            self._knowledge,
            considered_max=ATTEMPT_VERSIONS_MAX,
            new_max=ATTEMPT_NEW_MAX,
            familiar=self._search.looked_at,
        )
        try:
            while (blocked := search.go_on()) is not None:
                yield blocked
        except Unsatisfiable:
            return None
        except Impatient as end:
            return end
        return solution_of(search.view, search.decided())
