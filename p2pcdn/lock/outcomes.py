"""What becomes of each target of a lock: versions, or that it is left out; or why there is no lock."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from p2pcdn.lock.solvers import Session
from p2pcdn.lock.targets import Cell, by_environment, names_of
from p2pcdn.lock.wishes import Question, preferring
from p2pcdn.resolve import LacksFiles, NoSolution, Solution, Target

C = TypeVar("C", bound=Hashable)

# Of so many targets it is said why they fail; then the others are not tried.
FAILURES_MAX = 6


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
    outcomes: dict[C, Solution | LacksFiles] = {}
    failures: dict[C, NoSolution] = {}
    for cell, target in targets.items():
        try:
            told = preferring(question, target, solutions_of(outcomes).values())
            outcomes[cell] = await session.resolve(told, target, spares=sparing is not None)
        except LacksFiles as outcome:
            outcomes[cell] = outcome
        except NoSolution as error:
            failures[cell] = error
            if len(failures) == FAILURES_MAX:
                break
    untried = len(targets) - len(outcomes) - len(failures)
    if not failures and (must := unsparable(outcomes, sparing)):
        for cell in must[:FAILURES_MAX]:
            # Once more, for now it is asked what can be done about it.
            try:
                await session.resolve(
                    preferring(question, targets[cell], solutions_of(outcomes).values()), targets[cell]
                )
            except NoSolution as error:
                failures[cell] = error
        untried = len(must) - len(failures)
    if failures:
        raise _for_targets(failures, untried=untried, of=len(targets))
    return outcomes


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


def _for_targets(failures: Mapping[Any, NoSolution], *, untried: int, of: int) -> NoSolution:
    """One report of those of several targets; equal ones are said once."""
    if of == 1:
        return next(iter(failures.values()))
    same: dict[tuple[tuple[str, ...], str], list[Cell]] = {}
    for cell, error in failures.items():
        same.setdefault((error.sentences, error.suggestion), []).append(cell)
    sentences = []
    for (proof, suggestion), cells in same.items():
        sentences.append(f"For {names_of(cells)}{' and perhaps others' if untried else ''}:")
        sentences += [f"  {sentence}" for sentence in (*proof, *([suggestion] if suggestion else ()))]
    wanted = dict.fromkeys(text for error in failures.values() for text in error.requirements)
    return NoSolution(tuple(sentences), requirements=tuple(wanted))
