"""Runs: versions of one project that are read together, once many of its versions were tried in vain.

boto3 and botocore have three thousand versions that want a newer urllib3 than somebody may have. One after the other,
each would be decided, refused, and learned from. When the solver is told at once what a hundred of them require, most
are ruled out without being tried. What makes a run depends on the search alone and never on what happens to be known,
so everybody who searches comes to the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from p2pcdn.resolve import term
from p2pcdn.resolve.incompatibility import Depends, Incompatibility
from p2pcdn.resolve.project import Project
from p2pcdn.resolve.requirement import Requirement
from p2pcdn.resolve.term import ANYTHING, NOTHING

# Until then a search goes version by version, as uv's does.
TRIED_BEFORE = 20
# A run is as long as all that was read before it, so that few questions read a long history. At most so many versions
# are read in vain at its end.
LENGTH_MAX = 100


class Runs:
    """Remembers what was tried and read, by project."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        # The version that was tried last, and its run: a search that lacks something tries it again.
        self._latest: dict[str, tuple[int, Sequence[int]]] = {}

    def of(self, project: Project, index: int, told: int, *, lowest: bool) -> Sequence[int]:
        """The versions that are read with this one, which is tried now.

        told: those of which the solver knows what they require, a term.
        """
        latest, run = self._latest.get(project.name, (-1, ()))
        if latest == index:
            return run
        count = self._counts.get(project.name, 0)
        run = self._next(project, index, told, min(count, LENGTH_MAX), lowest) if count >= TRIED_BEFORE else ()
        self._counts[project.name] = count + 1 + len(run)
        self._latest[project.name] = index, run
        return run

    def _next(self, project: Project, index: int, told: int, length: int, lowest: bool) -> Sequence[int]:
        here = term.version(index)
        beyond = ~(here | here - 1) if lowest else here - 1
        ordinary = project.versions.all & ~(project.prereleases | project.yanked | project.useless)
        walk = (term.upwards if lowest else term.downwards)(beyond & ordinary & ~told)
        # An sdist may have to be built to be asked: not on a mere suspicion.
        return [*islice(project.usable_wheels(walk), length)]


class Refused:
    """Versions of a run that cannot be chosen, whatever is decided, each for one of its requirements.

    By project that they require, they are one fact: not what each says of it, but what all of them do, which is enough
    for ever. Told one by one they would be looked at and derived one by one.
    """

    def __init__(self, package: str) -> None:
        self.package = package
        # The versions, what any of them needs (terms), and in which words.
        self._by_child: dict[str, tuple[int, int, str]] = {}

    def note(self, versions: int, because_of: Requirement, needed: int) -> None:
        before, all_needed, text = self._by_child.get(because_of.project, (NOTHING, NOTHING, because_of.text))
        said = text if text == because_of.text else ""
        self._by_child[because_of.project] = before | versions, all_needed | needed, said

    def told(self) -> Iterator[Incompatibility]:
        for child, (versions, needed, text) in self._by_child.items():
            terms = {child: ANYTHING & ~needed, self.package: versions}
            yield Incompatibility(terms, Depends(self.package, child, needed, text))
