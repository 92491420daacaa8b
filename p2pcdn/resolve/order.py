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
from p2pcdn.resolve.ranges import Versions, rank
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
        keys: Sequence[str],
        lines: Sequence[str],
        *,
        prereleases: int,
        yanked: int,
        index: str = "",
        missing: str = "",
    ) -> None:
        """keys: those of the sources. lines: what is said of each release, as it is kept (`_line`). prereleases,
        yanked: terms.
        """
        self.name = name
        self.index = index
        self.missing = missing
        self.versions = versions
        self.releases = releases
        self.sources = sources
        self.keys = keys
        self.prereleases = prereleases
        self.yanked = yanked
        self._lines = lines

    def kind(self, number: int) -> str:
        """Releases of one kind want the same Python and have files of the same tags; their times may differ."""
        return self._lines[number].rpartition("\t")[0]


def columns_of(table: Table) -> list[Any]:
    """A table as plain things, sorted; strings that are no versions are left out (PEP 440; pip does so, too).

    What `order_of_columns` reads: project, index, why it is missing; then, each a text with a line for every release,
    the versions, their ranks, and what else is said of them (`_line`); then the numbers of the pre-releases as the
    octets of a term, and of what was yanked with the reasons. Texts take a third of the time that lists take.
    """
    rows = [(version, one) for one in table.releases if (version := _version(one.version)) is not None]
    # Two spellings of one version ("1.0", "1.0.0") are two releases; the order among them is that of the text.
    rows.sort(key=lambda row: row[1].version)
    rows.sort(key=lambda row: row[0])
    prereleases = term.of_versions(number for number, (version, _) in enumerate(rows) if version.is_prerelease)
    return [
        table.project,
        table.index,
        table.missing,
        "\n".join([_field(release.version) for _, release in rows]),
        "\n".join([rank(version) for version, _ in rows]),
        "\n".join([_line(release) for _, release in rows]),
        prereleases.to_bytes((prereleases.bit_length() + 7) // 8, "big"),
        [[number, one.yanked] for number, (_, one) in enumerate(rows) if one.yanked is not None],
    ]


def versions_of(columns: Sequence[Any]) -> list[str]:
    """The versions of what `columns_of` gave, the newest last."""
    return columns[3].split("\n") if columns[3] else []


def order_of_columns(columns: Sequence[Any]) -> Order:
    project, index, missing, texts, ranks, lines, prereleases, reasons = columns
    texts, ranks, lines = (column.split("\n") if column else [] for column in (texts, ranks, lines))
    yanked: dict[int, str] = dict(reasons)

    def release(number: int) -> Release:
        python, tags, sdist, time = lines[number].split("\t")
        return Release(texts[number], python, yanked.get(number), time, tuple(tags.split()), bool(sdist))

    return Order(
        project,
        Versions(Lazily(len(texts), lambda number: Version(texts[number])), ranks),
        Lazily(len(texts), release),
        Lazily(len(texts), lambda number: Source(project, texts[number])),
        texts,
        lines,
        prereleases=int.from_bytes(prereleases, "big"),
        yanked=term.of_versions(yanked),
        index=index,
        missing=missing,
    )


def _line(one: Release) -> str:
    """Requires-Python, the tags, whether it has an sdist, and the upload time, in which most releases differ."""
    return "\t".join(
        [_field(one.requires_python), " ".join(one.tags), "s" if one.sdist else "", _field(one.upload_time)]
    )


def _field(text: str) -> str:
    """The text in one line: nothing that is said here means less for it."""
    return text if text.isprintable() else " ".join(text.split())


def order_at(name: str, found: Iterable[tuple[Version, Release, Source]]) -> Order:
    """Of what direct URLs gave."""
    rows = sorted(found, key=lambda row: (row[0], row[2].version, row[2].url))
    return Order(
        name,
        Versions([version for version, _, _ in rows]),
        [release for _, release, _ in rows],
        [source for _, _, source in rows],
        [source.key for _, _, source in rows],
        [_line(release) for _, release, _ in rows],
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
