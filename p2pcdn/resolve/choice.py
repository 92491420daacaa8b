"""Which version of a project is tried first: pre-releases and yanked ones, old locks, the highest or the lowest.

PEP 440: pre-releases do where a specifier names one, or where no final version fits all specifiers. PEP 592: a yanked
version does where a requirement pins it. Both depend on who requires what in the end; so a project of which only such
versions fit is decided last, when all who require it are decided.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from packaging.version import InvalidVersion, Version

from p2pcdn.resolve.incompatibility import Closed, Incompatibility
from p2pcdn.resolve.model import Wanted
from p2pcdn.resolve.project import Project
from p2pcdn.resolve.python import View
from p2pcdn.resolve.requirement import Requirement, normalize
from p2pcdn.resolve.solver import Solver
from p2pcdn.resolve.term import NOTHING, PRESENT


@dataclass(frozen=True, slots=True)
class _Permit:
    """While the parent's version is decided, these yanked versions do, and (prereleases) pre-releases do."""

    parent: str
    version: int
    yanked: int
    prereleases: bool


class Choice:
    """The order in which a project's versions are tried, given who requires it now."""

    def __init__(self, wanted: Wanted, view: View, solver: Solver) -> None:
        self._solver = solver
        self._prefer = wanted.prefer
        self._prereleases = wanted.prereleases
        self._prerelease_projects = frozenset(map(normalize, wanted.prerelease_projects))
        self._direct = frozenset(one.project for one in view.root)
        self._preferences = _preferences(wanted.preferences)
        self._permits: dict[str, list[_Permit]] = {}
        # What the user's requirements and constraints leave of a project.
        self._asked: dict[str, int] = {}

    def ask(self, project: str, needed: int, requirement: Requirement) -> None:
        """The user requires or constrains it so."""
        self._asked[project] = self._asked.get(project, PRESENT) & needed
        self.permit("", NOTHING, project, needed, requirement)

    def permit(self, parent: str, version: int, project: str, needed: int, requirement: Requirement) -> None:
        """This version (a term) of the parent requires it so."""
        if requirement.pins or requirement.names_prerelease:
            one = _Permit(parent, version, needed if requirement.pins else NOTHING, requirement.names_prerelease)
            self._permits.setdefault(project, []).append(one)

    def fitting(self, project: str) -> int:
        """The versions that satisfy all who require the project now."""
        found = self._asked.get(project, PRESENT)
        for _, needed in self._active(project):
            found &= needed
        return found

    def has_ordinary(self, project: Project, versions: int) -> bool:
        """Whether a usable one of these versions needs no permission."""
        return project.any_usable(versions & ~(project.prereleases | project.yanked))

    def has_open(self, project: Project, versions: int) -> bool:
        """Whether a usable one of these versions needs no permission that it has not got."""
        return self.has_ordinary(project, versions) or project.any_usable(versions & ~self._shut(project))

    def of(self, project: Project, versions: int) -> int | None:
        """The index of the version to try first; None where all that could be used are shut."""
        found = self._first(project, versions & ~self._shut(project))
        if found is None and self._prereleases == "if-necessary" and not self._final_fits(project):
            found = self._first(project, versions & ~self._shut_yanked(project))
        return found

    def refusal(self, project: Project, versions: int) -> Incompatibility:
        """That these versions are shut, as long as those who require the project now do.

        It names the very versions that are decided, and so claims no more than was seen: another version of the same
        parent may say the same and yet name a pre-release.
        """
        decided = self._solver.solution.decided
        terms = {parent: decided[parent] for parent, _ in self._active(project.name)}
        return Incompatibility({**terms, project.name: versions}, Closed(project.name))

    def _first(self, project: Project, versions: int) -> int | None:
        for version in self._preferences.get(project.name, ()):
            found = project.first_usable(versions & project.versions.equal(version))
            if found is not None:
                return found
        lowest = self._prefer == "lowest" or (self._prefer == "lowest-direct" and project.name in self._direct)
        return project.first_usable(versions, lowest=lowest)

    def _shut(self, project: Project) -> int:
        if not project.prereleases and not project.yanked:
            return NOTHING
        return (NOTHING if self._prereleases_open(project) else project.prereleases) | self._shut_yanked(project)

    def _shut_yanked(self, project: Project) -> int:
        if not project.yanked:
            return NOTHING
        pinned = NOTHING
        for permit in self._valid_permits(project.name):
            pinned |= permit.yanked
        return project.yanked & ~pinned

    def _prereleases_open(self, project: Project) -> bool:
        if self._prereleases == "allow" or project.name in self._prerelease_projects:
            return True
        if self._prereleases == "never":
            return False
        return any(permit.prereleases for permit in self._valid_permits(project.name)) or not project.has_finals()

    def _final_fits(self, project: Project) -> bool:
        shut = project.prereleases | self._shut_yanked(project)
        return project.any_usable(self.fitting(project.name) & ~shut)

    def _valid_permits(self, project: str) -> Iterable[_Permit]:
        decided = self._solver.solution.decided
        return (
            permit
            for permit in self._permits.get(project, ())
            if not permit.parent or decided.get(permit.parent, NOTHING) & permit.version
        )

    def _active(self, project: str) -> Iterable[tuple[str, int]]:
        """(parent, what it needs) of those that are decided."""
        decided = self._solver.solution.decided
        return (
            (parent, needed)
            for parent, versions, needed in self._solver.dependents(project)
            if decided.get(parent, NOTHING) & versions
        )


def _preferences(pairs: Iterable[tuple[str, str]]) -> dict[str, list[Version]]:
    found: dict[str, list[Version]] = {}
    for project, text in pairs:
        try:
            found.setdefault(normalize(project), []).append(Version(text))
        except InvalidVersion:
            continue  # An old lock names what no index can name any more.
    return found
