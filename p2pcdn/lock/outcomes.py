"""What becomes of each target of a lock: versions, or that it is left out; or why there is no lock."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import trio

from p2pcdn.errors import Unavailable
from p2pcdn.lock.solvers import Session, SolverFailed
from p2pcdn.lock.targets import Cell, by_environment, names_of
from p2pcdn.lock.wishes import Question, preferring
from p2pcdn.resolve import THIS_PLATFORM, LacksFiles, NoSolution, Solution, Target, Wanted

C = TypeVar("C", bound=Hashable)

# So many reasons why targets fail are told; then the others are not tried.
REASONS_MAX = 6
# Who could hear why there is no lock waits for so long to hear for which targets. The hardest known input takes 5 s.
REST_TIME_S_MAX = 30.0


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Cells that a lock does not serve, for some package has no file for them.

    environments: their names, the newest Python first. why: one clause.
    """

    environments: tuple[str, ...]
    names: str
    why: str

    @property
    def sentence(self) -> str:
        return f"{self.names} {'are' if len(self.environments) > 1 else 'is'} left out: {self.why}."


@dataclass(frozen=True, slots=True)
class Sparing:
    """Which cells a lock may leave out. declared: the markers of the environments that the user named.

    here: the cell of the interpreter that asks, which is always served; None where the matrix has none of it.
    """

    declared: tuple[str, ...] = ()
    here: Cell | None = None

    def unsparable(self, lacking: Collection[Cell], cells: Sequence[Cell]) -> list[Cell]:
        """Those of them that must be served, in the order of the matrix.

        Of an environment that the user named, one machine is enough for each Python: who says Windows does not say that
        it has to be on ARM64, too; else he names that.
        """
        must = {self.here} & {*lacking}
        for group in by_environment(cells, self.declared):
            if group and group <= {*lacking}:
                must |= group
        if len(lacking) == len(cells):
            must |= {*lacking}
        return [cell for cell in cells if cell in must]


async def solve(
    session: Session, question: Question, targets: Mapping[C, Target], sparing: Sparing | None = None
) -> dict[C, Solution | LacksFiles]:
    """One resolution a target; each prefers what those before it chose, so that a lock forks only where it must.

    sparing: None where no target may be left out. Raises NoSolution, and what a session raises.
    """
    search = _Search(session, question, targets)
    await search.resolve(targets, spares=sparing is not None)
    if not search.failures and (must := unsparable(search.outcomes, sparing)):
        # Once more, for now it is asked what can be done about it.
        await search.resolve(must, spares=False)
    if search.failures:
        raise search.report()
    return search.outcomes


class _Search(Generic[C]):
    """What becomes of each target. failures: why some have no solution, each reason once, with those that have it."""

    def __init__(self, session: Session, question: Question, targets: Mapping[C, Target]) -> None:
        self.outcomes: dict[C, Solution | LacksFiles] = {}
        self.failures: dict[tuple[str, ...], tuple[NoSolution, list[C]]] = {}
        self._session = session
        self._question = question
        self._targets = targets
        self._untried = 0

    async def resolve(self, cells: Collection[C], *, spares: bool) -> None:
        """Where one fails, the others are still tried, so that the report can say of all which they are.

        What the first of them took to load and to learn is known then, and each of the others takes a hundredth.
        """
        self._untried = len(cells)
        with trio.CancelScope() as rest:
            for cell in cells:
                try:
                    await self._resolve(cell, spares=spares)
                except (SolverFailed, Unavailable):
                    if not self.failures:
                        raise
                    return  # that others fail is worth more than that of this one nobody knows
                self._untried -= 1
                if len(self.failures) == REASONS_MAX:
                    return
                if self.failures:
                    rest.deadline = min(rest.deadline, trio.current_time() + REST_TIME_S_MAX)

    async def _resolve(self, cell: C, *, spares: bool) -> None:
        target = self._targets[cell]
        told = preferring(self._question, target, solutions_of(self.outcomes).values())
        try:
            self.outcomes[cell] = await self._session.resolve(told, target, spares=spares, advises=not self.failures)
        except LacksFiles as outcome:
            self.outcomes[cell] = outcome
        except NoSolution as error:
            if self.failures and error.sentences not in self.failures:
                error = await self._advised(told, target, error, spares=spares)
            self.failures.setdefault(error.sentences, (error, []))[1].append(cell)

    async def _advised(self, told: Wanted, target: Target, error: NoSolution, *, spares: bool) -> NoSolution:
        """The same once more, with what can be done about it: to look for that takes as long, and is done once."""
        try:
            await self._session.resolve(told, target, spares=spares)
        except NoSolution as advised:
            return advised
        return error

    def report(self) -> NoSolution:
        """One report of all. It names the targets, unless all fail for one reason that fits each."""
        if len(self.failures) == 1:
            ((proof, (error, failing)),) = self.failures.items()
            fits_each = len(failing) == len(self._targets) and not any(THIS_PLATFORM in text for text in proof)
            if fits_each or len(self._targets) == 1:
                return error
        sentences = []
        for proof, (error, failing) in self.failures.items():
            cells: list[Any] = failing  # one interpreter alone was dealt with above
            sentences.append(f"For {names_of(cells)}{' and perhaps others' if self._untried else ''}:")
            sentences += [f"  {text}" for text in (*proof, *([error.suggestion] if error.suggestion else ()))]
        wanted = dict.fromkeys(text for error, _ in self.failures.values() for text in error.requirements)
        return NoSolution(tuple(sentences), requirements=tuple(wanted))


def solutions_of(outcomes: Mapping[C, Solution | LacksFiles]) -> dict[C, Solution]:
    """Of the targets that are served."""
    return {cell: outcome for cell, outcome in outcomes.items() if isinstance(outcome, Solution)}


def unsparable(outcomes: Mapping[Any, Solution | LacksFiles], sparing: Sparing | None) -> list[Any]:
    """The targets that would be left out and must not."""
    lacking = [cell for cell, outcome in outcomes.items() if isinstance(outcome, LacksFiles)]
    return sparing.unsparable(lacking, [*outcomes]) if sparing is not None and lacking else lacking


def left_out(outcomes: Mapping[Any, Solution | LacksFiles]) -> tuple[LeftOut, ...]:
    """What is told of those that are not served; for the same reason, together."""
    by_reason: dict[str, list[Cell]] = {}
    for cell, outcome in outcomes.items():
        if isinstance(outcome, LacksFiles):
            by_reason.setdefault("; ".join(outcome.clauses), []).append(cell)
    return tuple(LeftOut(tuple(cell.name for cell in cells), names_of(cells), why) for why, cells in by_reason.items())
