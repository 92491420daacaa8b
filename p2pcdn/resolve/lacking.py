"""Whether a target has no solution only for want of files: then a lock of many targets can do without it."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import replace

from p2pcdn.resolve import term
from p2pcdn.resolve.incompatibility import Incompatibility, Unusable
from p2pcdn.resolve.knowledge import Knowledge
from p2pcdn.resolve.model import Need, Target, Wanted
from p2pcdn.resolve.python import View, parts_of
from p2pcdn.resolve.resolution import Impatient, Resolution
from p2pcdn.resolve.solver import Unsatisfiable

# A tenth of a second's work. Counted in versions, so that everybody who looks comes to the same.
VERSIONS_MAX = 1_000


class AnyFile:
    """The same search for a target that takes every wheel. What it looked at belongs to the outcome: see `confirm`."""

    def __init__(self, wanted: Wanted, target: Target, knowledge: Knowledge) -> None:
        anything = replace(target, tags=None)
        self.search = Resolution(wanted, anything, knowledge, considered_max=VERSIONS_MAX)

    def lacking(self, facts: Iterable[Incompatibility], view: View) -> Generator[Need, None, list[str]]:
        """The clauses of `LacksFiles`; none where something else is the matter, too. Yields what it needs to know.

        facts: of the proof that there is no solution. They are not enough: requirements may contradict each other
        besides, and proofs differ by what was tried first. So it is found out whether there would be one.
        """
        if not any(self._wants_files(one, view) for one in facts):
            return []
        try:
            while (blocked := self.search.go_on()) is not None:
                yield blocked
        except (Unsatisfiable, Impatient):
            return []
        return sorted(self._clauses(view))

    def _wants_files(self, one: Incompatibility, view: View) -> bool:
        for package, versions in one.terms.items() if isinstance(one.cause, Unusable) else ():
            project = view.known(parts_of(package)[0])
            for index in term.downwards(versions & project.versions.all):
                release = project.releases[index]
                if view.judgement(project.name, release) and not self.search.view.judgement(project.name, release):
                    return True
        return False

    def _clauses(self, view: View) -> set[str]:
        """Of what would be chosen, that of which there is no file."""
        found = set()
        for package, index in self.search.decided():
            project = self.search.view.known(parts_of(package)[0])
            if reason := view.judgement(project.name, project.releases[index]):
                found.add(f"{project.name} {reason}")
        return found
