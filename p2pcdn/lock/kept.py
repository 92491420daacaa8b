"""What was read of pages and metadata, in the form in which a node keeps it: nothing is parsed twice. Pure.

Tables and metadata cross the solver's pipe so, too; files are for the lock that is written in the end.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from p2pcdn import frames
from p2pcdn.digest import Sha256
from p2pcdn.resolve import Lazily, Metadata, Order, Source, Table, columns_of, order_of_columns
from p2pcdn.simple import File

# Reading a row of this size takes some 0.1 ms, most of it for its checksum. Most projects' files fit in one.
WHOLE_SIZE_BYTES_MAX = 64 * 1024
# The beginning of a version that is a part of a key.
SERIES_SIZE_MAX = 40

# Counted up when the tables or metadata of this version could not be read by another one.
FORMAT = 4


def encode_table(table: Table) -> bytes:
    return frames.encode(columns_of(table))


def decode_table(octets: bytes) -> Order:
    return order_of_columns(frames.decode_own(octets))


def encode_metadata(metadata: Metadata) -> bytes:
    """All of it but its source: wheels that say the same are kept once."""
    plain = metadata.version, metadata.requires_dist, metadata.provides_extra, metadata.requires_python, metadata.broken
    return frames.encode([list(one) if isinstance(one, tuple) else one for one in plain])


def decode_metadata(source: Source, octets: bytes) -> Metadata:
    version, requires_dist, provides_extra, requires_python, broken = frames.decode_own(octets)
    return Metadata(source, version, tuple(requires_dist), tuple(provides_extra), requires_python, broken)


def encode_files(by_version: Mapping[str, Sequence[File]]) -> dict[str, bytes]:
    """The files of a page by version, in their order, as rows by the end of their key: one row, or where that would be
    large, one for each series of versions, for of thousands of files some ten are wanted. Of their raw form, where the
    provenance is.
    """
    packed = {version: _packed(files) for version, files in by_version.items()}
    if sum(map(len, packed.values())) <= WHOLE_SIZE_BYTES_MAX:
        return {"": frames.encode(packed)}
    series: dict[str, dict[str, bytes]] = {}
    for version, octets in packed.items():
        series.setdefault(_series(version), {})[version] = octets
    return {"": frames.encode(None), **{end: frames.encode(some) for end, some in series.items()}}


def decode_files(row: Callable[[str], bytes | None], version: str) -> Files | None:
    """The files of one version; None where they were not kept. row: gives what is kept, by the end of its key."""
    whole = row("")
    packed = frames.decode_own(whole) if whole is not None else None
    if whole is not None and packed is None:
        part = row(_series(version))
        packed = frames.decode_own(part) if part is not None else None
    if packed is None:
        return None
    return Files(frames.decode_own(zlib.decompress(packed[version]))) if version in packed else NO_FILES


def _series(version: str) -> str:
    return "/" + ".".join(version.split(".")[:2])[:SERIES_SIZE_MAX]


class Files(Lazily[File]):
    """The files of one version. names: of all of them, in the same order: most are asked for nothing else."""

    def __init__(self, rows: Sequence[Sequence[Any]]) -> None:
        self.names = tuple(row[0] for row in rows)
        super().__init__(len(rows), lambda at: _file(*rows[at]))


NO_FILES = Files(())


def _packed(files: Sequence[File]) -> bytes:
    return zlib.compress(frames.encode([_row(file) for file in files]), 1)


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


def _row(file: File) -> list[Any]:
    link = file.raw.get("provenance")
    return [*(_plain(getattr(file, name)) for name in _FIELDS), link if isinstance(link, str) else None]


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Sha256) else value


_FIELDS = ("filename", "url", "sha256", "size_bytes", "core_metadata", "yanked", "requires_python", "upload_time")
