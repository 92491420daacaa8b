"""The versions of one project as one target sees them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from packaging.version import Version

from p2pcdn.resolve import term
from p2pcdn.resolve.judge import Judgement
from p2pcdn.resolve.model import Metadata, Release
from p2pcdn.resolve.order import Order, order_at
from p2pcdn.resolve.term import NOTHING


class Project:
    """An order, and which of its releases can be used. They are judged when somebody asks for them."""

    def __init__(self, order: Order, judge: Judgement) -> None:
        self.name = order.name
        self.index = order.index
        self.missing = order.missing
        self.versions = order.versions
        self.releases = order.releases
        self.sources = order.sources
        self.keys = order.keys
        self.prereleases = order.prereleases
        self.yanked = order.yanked
        self._kind = order.kind
        self._judge = judge
        self._usable = NOTHING
        # Kinds of releases that have wheels and can be used, whichever of them it is.
        self._usable_wheels: set[str] = set()
        # What is known to be unusable, and why.
        self.useless = NOTHING
        self._reasons: dict[int, str] = {}

    def why_not(self, index: int) -> str:
        """Why this version cannot be used; "" where it can."""
        if self._usable & term.version(index):
            return ""
        reason = self._reasons.get(index)
        if reason is None:
            reason = self._judge(self.name, self.releases[index])
            if reason:
                self.condemn(index, reason)
            else:
                self._usable |= term.version(index)
        return reason

    def usable_wheels(self, versions: Iterable[int]) -> Iterator[int]:
        """Those of these versions, none of which is known to be useless, that can be used and have wheels."""
        for index in versions:
            kind = self._kind(index)
            if kind in self._usable_wheels:
                yield index
            elif self.releases[index].tags and not self.why_not(index):
                if not self._judge.minds_age:
                    self._usable_wheels.add(kind)
                yield index

    def condemn(self, index: int, reason: str) -> None:
        """This version cannot be used."""
        self._usable &= ~term.version(index)
        self.useless |= term.version(index)
        self._reasons[index] = reason

    def first_usable(self, versions: int, *, lowest: bool = False) -> int | None:
        """The index of the highest (lowest) usable one of these versions, a positive term."""
        among = versions & self.versions.all & ~self.useless
        return next((i for i in (term.upwards if lowest else term.downwards)(among) if not self.why_not(i)), None)

    def any_usable(self, versions: int) -> bool:
        return bool(versions & self._usable) or self.first_usable(versions) is not None

    def has_finals(self) -> bool:
        """Whether any version can be used that is neither a pre-release nor yanked."""
        return self.any_usable(term.PRESENT & ~self.prereleases & ~self.yanked)

    def at_url(self, url: str) -> int:
        """The term of what this direct URL gives."""
        return term.of_versions(index for index, source in enumerate(self.sources) if source.url == url)


def project_at(name: str, found: Iterable[Metadata], judge: Judgement) -> Project:
    """Out of what direct URLs gave. One that is broken stays, with its reason."""
    rows = []
    broken = {}
    for said in found:
        source = said.source
        try:
            version = Version(said.version)
        except ValueError:
            version = Version("0")
            broken[source] = f"cannot be used: its metadata says {said.version!r}, which is no version"
        wheel = source.url.partition("#")[0].rpartition("/")[2].removesuffix(".whl")
        tags = ("-".join(wheel.split("-")[-3:]),) if ".whl" in source.url and wheel.count("-") >= 4 else ()
        release = Release(str(version), said.requires_python, tags=tags, sdist=not tags)
        rows.append((version, release, source))
        if said.broken:
            broken[source] = f"cannot be used: {said.broken}"
    project = Project(order_at(name, rows), judge)
    for source, reason in broken.items():
        project.condemn(project.sources.index(source), reason)
    return project
