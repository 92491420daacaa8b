"""Whether a release can be used on a target: its Python, its wheels, its age."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from itertools import product

from packaging.version import Version

from p2pcdn.resolve.model import ALL_PROJECTS, BadRequirement, Release, Target, Wanted
from p2pcdn.resolve.requirement import allows_python, normalize

# What a sentence that is about one target calls it.
THIS_PLATFORM = "this platform"


class Judgement:
    """Judges releases for one target, by what was wanted; called with a project's name and a release."""

    def __init__(self, wanted: Wanted, target: Target) -> None:
        self.python = Version(target.python.removesuffix("+"))
        # What stands for several patch releases is no single Python, which a sentence could name.
        self._this_python = "" if target.and_later else f" (this is {self.python})"
        self._and_later = target.and_later
        self._tags = None if target.tags is None else frozenset(target.tags)
        self._cutoff = None if wanted.exclude_newer is None else _cutoff(wanted.exclude_newer)
        self._exclude_newer = wanted.exclude_newer
        self.minds_age = self._cutoff is not None
        self._only_binary = _projects(wanted.only_binary)
        self._no_binary = _projects(wanted.no_binary)
        # What was asked of the target, and answered: about sets of wheel tags, and Requires-Pythons.
        self.fitting: dict[tuple[str, ...], bool] = {}
        self.pythons: dict[str, bool] = {}

    def __call__(self, project: str, release: Release) -> str:
        """Why it cannot be used, as the rest of a sentence about it; "" where it can."""
        if not self.runs_on_python(release.requires_python):
            return self.needs_python(release.requires_python)
        if self._cutoff is not None and (why := self._too_new(release, self._cutoff)):
            return why
        return self._without_files(project, release)

    def needs_python(self, requires_python: str) -> str:
        """What speaks against a release that the target's Python cannot run."""
        return f"needs Python {requires_python}{self._this_python}"

    def runs_on_python(self, requires_python: str) -> bool:
        """Whether the target's Python is one that this Requires-Python allows."""
        known = self.pythons.get(requires_python)  # a version is a slow key, and this is asked of every release
        if known is None:
            known = not requires_python or allows_python(requires_python, self.python, and_later=self._and_later)
            self.pythons[requires_python] = known
        return known

    def _without_files(self, project: str, release: Release) -> str:
        sdist = release.sdist and not _among(project, self._only_binary)
        if sdist:
            return ""
        if _among(project, self._no_binary):
            return "has no sdist, and its wheels are not wanted"
        if release.tags and self.fits(release.tags):
            return ""
        if release.sdist:
            return f"has no wheel for {THIS_PLATFORM}, and its sdist is not wanted"
        if release.tags:
            return f"has no wheel for {THIS_PLATFORM} and no sdist; {release.version} has {_some(release.tags)}"
        return "has neither a wheel nor an sdist"

    def fits(self, tags: tuple[str, ...]) -> bool:
        """Whether the target can use a wheel with one of these compressed sets of tags."""
        known = self.fitting.get(tags)
        if known is None:
            known = self._tags is None or any(
                not self._tags.isdisjoint(expanded_tags(compressed)) for compressed in tags
            )
            self.fitting[tags] = known
        return known

    def _too_new(self, release: Release, cutoff: datetime) -> str:
        try:
            is_older = moment_of(release.upload_time) < cutoff
        except ValueError:
            return f"has no upload time that could be older than {self._exclude_newer}"
        return "" if is_older else f"is not older than {self._exclude_newer}"


@lru_cache(maxsize=10_000)
def expanded_tags(compressed: str) -> frozenset[str]:
    """The tags of a compressed set (PEP 425): py2.py3-none-any is py2-none-any and py3-none-any."""
    return frozenset(map("-".join, product(*(part.split(".") for part in compressed.split("-")))))


def _some(tags: tuple[str, ...], most: int = 3) -> str:
    return ", ".join(sorted(tags)[:most]) + (f" and {len(tags) - most} more" if len(tags) > most else "")


def _cutoff(text: str) -> datetime:
    try:
        return moment_of(text)
    except ValueError as error:
        raise BadRequirement(f"{text!r} is not a time (ISO 8601), as in 2026-03-01T00:00:00Z") from error


def moment_of(text: str) -> datetime:
    """A time of ISO 8601, in UTC; so is one that does not say where. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{text!r} is in no year that can be reckoned with") from error


def _projects(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name if name == ALL_PROJECTS else normalize(name) for name in names)


def _among(project: str, names: frozenset[str]) -> bool:
    return project in names or ALL_PROJECTS in names
