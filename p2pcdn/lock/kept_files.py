"""The files of a page, in the form in which a node keeps them beside its table (`kept.py`). Pure.

A lock names some ten of the thousands of files of a large page, so they are packed by series of versions (1.24, 1.25).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from p2pcdn import frames
from p2pcdn.digest import Sha256
from p2pcdn.resolve import Lazily
from p2pcdn.simple import File

# Reading a row of this size takes some 0.1 ms, most of it for its checksum. Most projects' files fit in one.
WHOLE_SIZE_BYTES_MAX = 64 * 1024
# The beginning of a version that is a part of a key.
SERIES_SIZE_MAX = 40


def encode_files(by_version: Mapping[str, Sequence[File]], only: Iterable[str] | None = None) -> dict[str, bytes]:
    """The files of a page by version, in their order, as rows by the end of their key: one row, or where that would be
    large, one for each series. Of their raw form, where the provenance is.

    only: the versions whose series are wanted now; the others' rows are not made.
    """
    wanted = {_series(version) for version in (by_version if only is None else only)}
    series: dict[str, dict[str, list[Sequence[Any]]]] = {}
    for version, files in by_version.items():
        if (end := _series(version)) in wanted:
            series.setdefault(end, {})[version] = list(map(_row, files))
    packed = {end: zlib.compress(frames.encode(versions), 1) for end, versions in series.items()}
    if only is None and sum(map(len, packed.values())) <= WHOLE_SIZE_BYTES_MAX:
        return {"": frames.encode(packed)}
    return {"": frames.encode(None), **packed}


def decode_files(row: Callable[[str], bytes | None], version: str) -> Mapping[str, Files] | None:
    """The files of this version, if it has any, and of the others of its series; None where they were not kept.

    row: gives what is kept, by the end of its key.
    """
    whole = row("")
    if whole is None:
        return None
    packed: dict[str, bytes] | None = frames.decode_own(whole)
    octets = row(_series(version)) if packed is None else packed.get(_series(version))
    if octets is None:
        return None if packed is None else {}
    return {of: Files(rows) for of, rows in frames.decode_own(zlib.decompress(octets)).items()}


def _series(version: str) -> str:
    return "/" + ".".join(version.split(".")[:2])[:SERIES_SIZE_MAX]


class Files(Lazily[File]):
    """The files of one version. names: of all of them, in the same order: most are asked for nothing else."""

    def __init__(self, rows: Sequence[Sequence[Any]]) -> None:
        self.names = tuple(row[0] for row in rows)
        super().__init__(len(rows), lambda at: _file(*rows[at]))


NO_FILES = Files(())


def _file(
    filename: str,
    url: str,
    sha256: str | None,
    size_bytes: int | None,
    core_metadata: str | bool,
    yanked: bool | str,
    requires_python: str | None,
    upload_time: str | None,
    provenance: str | None,
) -> File:
    beside = Sha256(core_metadata) if isinstance(core_metadata, str) else core_metadata
    known = Sha256(sha256) if sha256 is not None else None
    raw = {"provenance": provenance} if provenance is not None else {}
    return File(filename, url, known, size_bytes, beside, yanked, requires_python, upload_time, raw)


def _row(file: File) -> Sequence[Any]:
    link = file.raw.get("provenance")
    return [*_columns(file), link if isinstance(link, str) else None]


# In the order in which `_file` takes them, which takes the provenance last.
_columns = attrgetter(
    "filename", "url", "sha256", "size_bytes", "core_metadata", "yanked", "requires_python", "upload_time"
)
