"""The versions of one project in order, as everybody has them: sorted once, kept in columns, read where somebody looks.

Of a project with a hundred versions a resolution looks at three. So a version is parsed when it is compared, and what
its files say becomes a value when it is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, overload

from packaging.version import Version

from p2pcdn.resolve import term
from p2pcdn.resolve.model import Release, Source, Table
from p2pcdn.resolve.ranges import Versions
from p2pcdn.resolve.term import NOTHING

V = TypeVar("V")


class Order:
    """Release i, in the order of versions, is bit i + 1 of a term. It never changes; several targets may share it."""

    def __init__(
        self,
        name: str,
        versions: Versions,
        releases: Sequence[Release],
        sources: Sequence[Source],
        *,
        prereleases: int,
        yanked: int,
        index: str = "",
        missing: str = "",
    ) -> None:
        """prereleases, yanked: terms."""
        self.name = name
        self.index = index
        self.missing = missing
        self.versions = versions
        self.releases = releases
        self.sources = sources
        self.prereleases = prereleases
        self.yanked = yanked


def columns_of(table: Table) -> list[Any]:
    """A table as plain things, sorted; strings that are no versions are left out (PEP 440; pip does so, too).

    What `order_of_columns` reads: project, index, why it is missing; then, each a list with one of every release, the
    versions, Requires-Python, the upload time, its tags with blanks between them, whether it has an sdist; and the
    numbers of the pre-releases, and of what was yanked with the reasons.
    """
    rows = [(version, one) for one in table.releases if (version := _version(one.version)) is not None]
    # Two spellings of one version ("1.0", "1.0.0") are two releases; the order among them is that of the text.
    rows.sort(key=lambda row: row[1].version)
    rows.sort(key=lambda row: row[0])
    releases = [release for _, release in rows]
    return [
        table.project,
        table.index,
        table.missing,
        [one.version for one in releases],
        [one.requires_python for one in releases],
        [one.upload_time for one in releases],
        [" ".join(one.tags) for one in releases],
        [one.sdist for one in releases],
        [number for number, (version, _) in enumerate(rows) if version.is_prerelease],
        [[number, one.yanked] for number, one in enumerate(releases) if one.yanked is not None],
    ]


def order_of_columns(columns: Sequence[Any]) -> Order:
    project, index, missing, texts, pythons, times, tags, sdists, prereleases, reasons = columns
    yanked: dict[int, str] = dict(reasons)

    def release(number: int) -> Release:
        there = tuple(tags[number].split()) if tags[number] else ()
        return Release(texts[number], pythons[number], yanked.get(number), times[number], there, sdists[number])

    return Order(
        project,
        Versions(Lazily(len(texts), lambda number: Version(texts[number])), texts),
        Lazily(len(texts), release),
        Lazily(len(texts), lambda number: Source(project, texts[number])),
        prereleases=_numbers(prereleases),
        yanked=_numbers(yanked),
        index=index,
        missing=missing,
    )


def order_at(name: str, found: Iterable[tuple[Version, Release, Source]]) -> Order:
    """Of what direct URLs gave."""
    rows = sorted(found, key=lambda row: (row[0], row[2].version, row[2].url))
    return Order(
        name,
        Versions([version for version, _, _ in rows]),
        [release for _, release, _ in rows],
        [source for _, _, source in rows],
        # What stands at a direct URL was asked for, whatever its version.
        prereleases=NOTHING,
        yanked=NOTHING,
    )


class Lazily(Sequence[V]):
    """A sequence of values, each made when it is asked for, once."""

    def __init__(self, length: int, make: Callable[[int], V]) -> None:
        self._found: list[V | None] = [None] * length
        self._make = make

    def __len__(self) -> int:
        return len(self._found)

    @overload
    def __getitem__(self, at: int) -> V: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[V]: ...
    def __getitem__(self, at: int | slice) -> V | Sequence[V]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        known = self._found[at]
        if known is None:
            known = self._found[at] = self._make(at if at >= 0 else at + len(self._found))
        return known


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except ValueError:  # also the digits that Python refuses to read
        return None


def _numbers(numbers: Iterable[int]) -> int:
    found = NOTHING
    for number in numbers:
        found |= term.version(number)
    return found
