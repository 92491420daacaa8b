"""The partial solution: what is decided and derived so far, in order, and how to take it back."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from p2pcdn.resolve.incompatibility import Incompatibility
from p2pcdn.resolve.term import ANYTHING, is_positive


@dataclass(slots=True, eq=False)
class Assignment:
    """own: what this step says of the package; total: with all steps before; cause: None for a decision."""

    package: str
    own: int
    total: int
    level: int
    cause: Incompatibility | None


class PartialSolution:
    """A trail of assignments. `terms` has the total of each package that anything is known of."""

    def __init__(self) -> None:
        self.terms: dict[str, int] = {}
        self.decided: dict[str, int] = {}
        # What holds without any decision, and so for ever.
        self.certain: dict[str, int] = {}
        self._undecided: dict[str, int] | None = {}  # None: to be looked for anew
        self._trail: list[Assignment] = []
        self._positions: dict[str, list[int]] = {}
        # Where in the trail each level begins; level 0 is what holds without any decision.
        self._levels = [0]

    @property
    def level(self) -> int:
        return len(self._levels) - 1

    @property
    def undecided(self) -> dict[str, int]:
        """What is known of the packages that must be there and are not decided, in the order of `terms`."""
        if self._undecided is None:
            self._undecided = {
                package: known
                for package, known in self.terms.items()
                if is_positive(known) and package not in self.decided
            }
        return self._undecided

    def decide(self, package: str, term: int) -> None:
        """Opens a level. The term holds one version."""
        self._levels.append(len(self._trail))
        self.decided[package] = term
        self.undecided.pop(package, None)
        self._assign(package, term, None)

    def derive(self, package: str, term: int, cause: Incompatibility) -> int:
        """Returns what is known of the package now."""
        return self._assign(package, term, cause)

    def level_of_decision(self, package: str) -> int:
        """The level that the decision for this package opened."""
        return self._trail[self._positions[package][-1]].level

    def backjump(self, level: int) -> list[str]:
        """Forgets all assignments of higher levels; returns their packages."""
        if level >= self.level:
            return []
        start = self._levels[level + 1]
        gone = self._trail[start:]
        for assignment in reversed(gone):
            package = assignment.package
            positions = self._positions[package]
            positions.pop()
            if positions:
                self.terms[package] = self._trail[positions[-1]].total
            else:
                del self.terms[package], self._positions[package]
            if assignment.cause is None:
                del self.decided[package]
        del self._trail[start:], self._levels[level + 1 :]
        self._undecided = None
        return [assignment.package for assignment in gone]

    def satisfier(self, incompatibility: Incompatibility) -> tuple[Assignment, int]:
        """The first assignment after which the incompatibility holds, and the level at which all but it was there."""
        last = -1
        level = 0
        for package, term in incompatibility.terms.items():
            position = self._first_within(package, term)
            if position > last:
                if last >= 0:
                    level = max(level, self._trail[last].level)
                last = position
            else:
                level = max(level, self._trail[position].level)
        found = self._trail[last]
        # Perhaps it needed help of earlier assignments of its own package.
        missing = incompatibility.terms[found.package] | ~found.own
        if missing != ANYTHING:
            level = max(level, self._trail[self._first_within(found.package, missing)].level)
        return found, level

    def _assign(self, package: str, own: int, cause: Incompatibility | None) -> int:
        before = self.terms.get(package, ANYTHING)
        total = before & own
        self._positions.setdefault(package, []).append(len(self._trail))
        level = self.level
        self._trail.append(Assignment(package, own, total, level, cause))
        self.terms[package] = total
        if not level:
            self.certain[package] = total
        if self._undecided is not None and is_positive(total) and package not in self.decided:
            if before != ANYTHING and not is_positive(before):
                self._undecided = None  # its place is not the last one
            else:
                self._undecided[package] = total
        return total

    def _first_within(self, package: str, term: int) -> int:
        """The position of the first assignment after which the package's total satisfies the term."""
        positions = self._positions[package]
        found = bisect_left(positions, True, key=lambda position: not self._trail[position].total & ~term)
        return positions[found]
