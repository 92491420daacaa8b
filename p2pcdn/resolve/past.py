"""Searches that were made before, and what each asked about its target: who would hear the same need not search again.

The targets of a lock differ in little. A search asks of its target whether markers hold, whether its Python is allowed,
and whether wheels fit, and nothing else. So where another target gives the same answers to the very questions that were
asked, and the same is wanted, the same search would come to the same solution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from p2pcdn.resolve.judge import Judgement
from p2pcdn.resolve.model import BadRequirement, Solution, Target, Wanted
from p2pcdn.resolve.requirement import Markers, normalize

Q = TypeVar("Q")


# The versions that are preferred of a project, in their order.
Preferred = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Search:
    """wanted: without its preferences. preferred: those of the projects that were looked at; no other ones counted.

    only: the versions of projects of which no other one was ever tried. Who prefers these would have tried them, too.
    """

    wanted: Wanted
    preferred: Mapping[str, tuple[str, ...]]
    only: Mapping[str, str]
    markers: Markers
    judgement: Judgement
    solution: Solution

    def would_find(self, preferred: Preferred, markers: Markers, judgement: Judgement) -> bool:
        return (
            all(
                versions == (asked := preferred.get(project, ())) or asked[:1] == (self.only.get(project),)
                for project, versions in self.preferred.items()
            )
            and _all_same(self.markers.known, lambda asked: markers.hold(*asked))
            and _all_same(self.judgement.pythons, judgement.runs_on_python)
            and _all_same(self.judgement.fitting, judgement.fits)
        )


class Past:
    """The solutions of one knowledge."""

    def __init__(self) -> None:
        self._searches: list[_Search] = []

    def note(
        self,
        wanted: Wanted,
        solution: Solution,
        *,
        markers: Markers,
        judgement: Judgement,
        projects: Iterable[str],
        tried_only: Iterable[tuple[str, str]],
    ) -> None:
        """markers, judgement: of the search that found it; they remember what they were asked.

        projects: at which it looked. tried_only: of these, with their versions, those of which it tried no other one.
        """
        if not markers.failed:
            preferred = _preferred(wanted)
            of_them = {project: preferred.get(project, ()) for project in projects}
            plain = replace(wanted, preferences=())
            self._searches.append(_Search(plain, of_them, dict(tried_only), markers, judgement, solution))

    def solution(self, wanted: Wanted, target: Target) -> Solution | None:
        """What a search for this target would find; None where that is not known."""
        plain = replace(wanted, preferences=())
        searches = [one for one in self._searches if one.wanted == plain]
        if not searches:
            return None
        preferred, markers, judgement = _preferred(wanted), Markers(dict(target.environment)), Judgement(wanted, target)
        try:
            same = (one.solution for one in reversed(searches) if one.would_find(preferred, markers, judgement))
            return next(same, None)
        except BadRequirement:
            return None  # the search itself says what is the matter


def _preferred(wanted: Wanted) -> Preferred:
    found: dict[str, tuple[str, ...]] = {}
    for project, version in wanted.preferences:
        name = normalize(project)
        found[name] = (*found.get(name, ()), version)
    return found


def _all_same(known: Mapping[Q, bool], ask: Callable[[Q], bool]) -> bool:
    return all(ask(question) == answer for question, answer in known.items())
