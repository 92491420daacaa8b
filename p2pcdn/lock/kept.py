"""What was read of pages and metadata, in the form in which a node keeps it: nothing is parsed twice. Pure.

Tables and metadata cross the solver's pipe so, too; files are for the lock that is written in the end.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

from p2pcdn import frames
from p2pcdn.digest import Sha256
from p2pcdn.resolve import Lazily, Metadata, Order, Source, Table, columns_of, order_of_columns
from p2pcdn.simple import File

# Counted up when the tables or metadata of this version could not be read by another one.
FORMAT = 4
# So many files are packed together: zlib is begun for each block. Of a page that lists thousands some ten are wanted.
BLOCK_FILES_MIN = 64


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


def encode_files(by_version: Mapping[str, Sequence[File]]) -> bytes:
    """The files of a page by version, in their order, in blocks of neighbouring versions. Of their raw form, where the
    provenance is.
    """
    return frames.encode([[list(block), zlib.compress(frames.encode(block), 1)] for block in _blocks(by_version)])


def decode_files(octets: bytes) -> Mapping[str, bytes]:
    """By version the block that it is in, which `unpack_files` reads."""
    return {version: block for versions, block in frames.decode_own(octets) for version in versions}


class Files(Lazily[File]):
    """The files of one version. names: of all of them, in the same order: most are asked for nothing else."""

    def __init__(self, rows: Sequence[Sequence[Any]]) -> None:
        self.names = tuple(row[0] for row in rows)
        super().__init__(len(rows), lambda at: _file(*rows[at]))


NO_FILES = Files(())


def unpack_files(block: bytes, version: str) -> Files:
    return Files(frames.decode_own(zlib.decompress(block))[version])


def _blocks(by_version: Mapping[str, Sequence[File]]) -> Iterator[dict[str, list[Sequence[Any]]]]:
    block: dict[str, list[Sequence[Any]]] = {}
    count = 0
    for version, files in by_version.items():
        block[version] = list(map(_row, files))
        count += len(files)
        if count >= BLOCK_FILES_MIN:
            yield block
            block, count = {}, 0
    if block:
        yield block


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
