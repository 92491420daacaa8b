"""PubGrub: unit propagation, and learning from conflicts. It knows terms and incompatibilities, and nothing of Python.

After Natalie Weizenbaum, "PubGrub: Next-Generation Version Solving", and the documents of Dart's pub. A decision is the
caller's; what it makes impossible is found here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from p2pcdn.resolve.incompatibility import Depends, Incompatibility
from p2pcdn.resolve.partial_solution import PartialSolution
from p2pcdn.resolve.term import ABSENT, ANYTHING


class Unsatisfiable(Exception):
    """The last incompatibility has no terms left; its causes are the proof."""

    def __init__(self, proof: Incompatibility) -> None:
        super().__init__()
        self.proof = proof


class Solver:
    """The incompatibilities that are known, and the partial solution that fits them."""

    def __init__(
        self,
        refute: Callable[[str, int], Incompatibility | None],
        blame: Callable[[Incompatibility], None],
    ) -> None:
        """refute: says of a package and a positive term why none of its versions will do; None where one may.

        blame: is told each incompatibility that turned out to hold.
        """
        self.solution = PartialSolution()
        self._refute = refute
        self._blame = blame
        # By package, in the order in which they were learned.
        self._of: dict[str, dict[Incompatibility, None]] = {}
        # By child, then by parent and what it needs.
        self._depends: dict[str, dict[tuple[str, int], Incompatibility]] = {}
        # Packages whose incompatibilities must be looked at again; a dict for its order.
        self._changed: dict[str, None] = {}

    def add(self, incompatibility: Incompatibility) -> None:
        """Raises Unsatisfiable."""
        if not incompatibility.terms:
            raise Unsatisfiable(incompatibility)
        for package in incompatibility.terms:
            self._of.setdefault(package, {})[incompatibility] = None
            self._changed[package] = None

    def add_dependency(self, parent: str, version: int, child: str, needed: int, requirement: str) -> None:
        """That this version (a term) of the parent needs the child to be in `needed`. Raises Unsatisfiable.

        Versions that need the same make one incompatibility: a conflict then speaks of all of them at once.
        """
        if parent == child and not version & ~needed:
            return
        mine = self._depends.setdefault(child, {})
        known = mine.get((parent, needed))
        version = version & ~needed if parent == child else version
        terms = {child: ANYTHING & ~needed, parent: version}
        if known is not None:
            terms[parent] |= known.terms[parent]
            for package in known.terms:
                self._of[package].pop(known, None)
        if not needed and parent != child:
            del terms[child]
        cause = known.cause if known is not None else Depends(parent, child, needed, requirement)
        mine[parent, needed] = made = Incompatibility(terms, cause)
        self.add(made)

    def dependents(self, child: str) -> Iterator[tuple[str, int, int]]:
        """(parent, the parent's versions, what they need of the child) as far as known."""
        for (parent, needed), one in self._depends.get(child, {}).items():
            yield parent, one.terms[parent], needed

    def decide(self, package: str, version: int) -> None:
        self.solution.decide(package, version)
        self._changed[package] = None

    def backjump(self, level: int) -> None:
        """Takes decisions back; what still follows is derived again."""
        self._changed.update(dict.fromkeys(self.solution.backjump(level)))

    def propagate(self) -> None:
        """Derives all that follows. Raises Unsatisfiable."""
        while self._changed:
            package, _ = self._changed.popitem()
            conflict = self._look_at(package)
            if conflict is not None:
                self._blame(conflict)
                self._learn_from(conflict)

    def _look_at(self, package: str) -> Incompatibility | None:
        """Derives what follows from this package's incompatibilities; the first one that holds, if any."""
        mine = self._of.get(package)
        terms = self.solution.terms
        # Newest first: what a conflict taught cuts deepest.
        for one in reversed(list(mine or ())):
            unknown = None
            for name, term in one.terms.items():
                known = terms.get(name, ANYTHING)
                both = known & term
                if not both:
                    break
                if both != known:
                    if unknown is not None:
                        break
                    unknown = name
            else:
                if unknown is None:
                    return one
                conflict = self._derive(unknown, one)
                if conflict is not None:
                    return conflict
                continue
            if not both and not self.solution.level:
                # It cannot hold any more, whatever is decided.
                for name in one.terms:
                    self._of[name].pop(one, None)
        return None

    def _derive(self, package: str, cause: Incompatibility) -> Incompatibility | None:
        total = self.solution.derive(package, ~cause.terms[package], cause)
        self._changed[package] = None
        return None if total & ABSENT else self._refute(package, total)

    def _learn_from(self, conflict: Incompatibility) -> None:
        """Finds the decision that was wrong, takes it back, and keeps what it taught. Raises Unsatisfiable."""
        while conflict.terms:
            satisfier, level = self.solution.satisfier(conflict)
            if satisfier.cause is None or level < satisfier.level:
                self.backjump(level)
                self.add(conflict)
                return
            conflict = conflict.resolved_with(satisfier.cause, satisfier.package)
        raise Unsatisfiable(conflict)
