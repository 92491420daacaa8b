"""The door of the room: a search that is fed, what came of it, and what to say and suggest where nothing did."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import NoReturn

from p2pcdn.resolve.incompatibility import Incompatibility
from p2pcdn.resolve.knowledge import Knowledge
from p2pcdn.resolve.model import Metadata, Need, NoSolution, Solution, Source, Table, Target, Wanted
from p2pcdn.resolve.outcome import solution_of
from p2pcdn.resolve.report import facts, sentences
from p2pcdn.resolve.resolution import Impatient, Resolution
from p2pcdn.resolve.solver import Unsatisfiable
from p2pcdn.resolve.suggest import asked, suggestion
from p2pcdn.resolve.wording import Wording

# An attempt for a suggestion may consider so many versions, a tenth of a second's work, and ask so many times.
ATTEMPT_VERSIONS_MAX = 1_000
ATTEMPT_STEPS_MAX = 12


class Resolver:
    """One resolution for one target. Not for two threads at once."""

    def __init__(
        self, wanted: Wanted, target: Target, knowledge: Knowledge | None = None, *, advises: bool = True
    ) -> None:
        """knowledge: shared with other resolutions, what they learned, too. advises: whether a suggestion is looked for
        where there is no solution, which may need further metadata. Raises BadRequirement.
        """
        self._advises = advises
        self._wanted = wanted
        self._target = target
        self._knowledge = Knowledge() if knowledge is None else knowledge
        self._search = Resolution(wanted, target, self._knowledge)
        # Once there is no solution: what is left to ask until that is said, and then what was said.
        self._ending: Generator[Need, None, NoReturn] | None = None
        self._failed: NoSolution | None = None

    def step(self) -> Need | Solution:
        """Goes on as far as what is known leads. Raises NoSolution, perhaps after some steps to find a suggestion."""
        if self._failed is not None:
            raise self._failed
        if self._ending is None:
            try:
                return self._search.go_on() or solution_of(self._search.view, self._search.decided())
            except Unsatisfiable as end:
                self._ending = self._end(end.proof)
        try:
            return next(self._ending)
        except NoSolution as failed:
            self._failed = failed
            raise

    def learn(self, tables: Iterable[Table] = (), metadata: Iterable[Metadata] = ()) -> None:
        """Takes what came, wanted or not; what is known already stays as it is.

        What cannot be had is learned too, as `Table.missing` or `Metadata.broken`; else each step asks for it again.
        """
        self._knowledge.learn(tables, metadata)

    @property
    def looked_at(self) -> tuple[Source, ...]:
        """The versions whose metadata decided anything, in the order in which they were looked at: see `confirm`."""
        return tuple(self._search.looked_at)

    @property
    def projects(self) -> tuple[str, ...]:
        """The projects whose tables were looked at."""
        return self._search.view.projects

    def _end(self, proof: Incompatibility) -> Generator[Need, None, NoReturn]:
        leaves, view = facts(proof), self._search.view
        advice = (yield from suggestion(leaves, view, self._wanted, self._attempt)) if self._advises else ""
        raise NoSolution(sentences(proof, Wording(view)), advice, tuple(asked(leaves, self._wanted)))

    def _attempt(self, wanted: Wanted) -> Generator[Need, None, Solution | Need | None]:
        """Whether something else can be solved, within a short time."""
        search = Resolution(wanted, self._target, self._knowledge, considered_max=ATTEMPT_VERSIONS_MAX)
        blocked = None
        for _ in range(ATTEMPT_STEPS_MAX):
            try:
                blocked = search.go_on()
            except (Unsatisfiable, Impatient):
                return None
            if blocked is None:
                return solution_of(search.view, search.decided())
            yield blocked
        return blocked
