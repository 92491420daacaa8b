"""What was read of pages and metadata, in the form in which a node keeps it: nothing is parsed twice. Pure.

Tables and metadata cross the solver's pipe so, too; files are for the lock that is written in the end.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from p2pcdn import frames
from p2pcdn.digest import Sha256
from p2pcdn.resolve import Metadata, Source, Table, from_plain, to_plain
from p2pcdn.simple import File

# Counted up when the tables or metadata of this version could not be read by another one.
FORMAT = 3


def encode_table(table: Table) -> bytes:
    return frames.encode(to_plain(table))


def decode_table(octets: bytes) -> Table:
    return from_plain(Table, frames.decode_own(octets))


def encode_metadata(metadata: Metadata) -> bytes:
    """All of it but its source: wheels that say the same are kept once."""
    _, *rest = to_plain(metadata)
    return frames.encode(rest)


def decode_metadata(source: Source, octets: bytes) -> Metadata:
    rest: list[Any] = frames.decode_own(octets)
    return from_plain(Metadata, [to_plain(source), *rest])


def encode_files(by_version: Mapping[str, Sequence[File]]) -> bytes:
    """The files of a page by version, without their raw form: of a page that lists thousands some ten are wanted."""
    return frames.encode({version: _packed(files) for version, files in by_version.items()})


def decode_files(octets: bytes) -> Mapping[str, bytes]:
    """By version what `unpack_files` reads."""
    packed: dict[str, bytes] = frames.decode_own(octets)
    return packed


def unpack_files(packed: bytes) -> list[File]:
    return [_file(*row) for row in frames.decode_own(zlib.decompress(packed))]


def _packed(files: Sequence[File]) -> bytes:
    return zlib.compress(frames.encode([[_plain(getattr(file, name)) for name in _FIELDS] for file in files]), 1)


def _file(
    filename: str,
    url: str,
    sha256: str | None,
    size_bytes: int | None,
    core_metadata: str | bool,
    yanked: bool | str,
    requires_python: str | None,
    upload_time: str | None,
) -> File:
    beside = Sha256(core_metadata) if isinstance(core_metadata, str) else core_metadata
    known = Sha256(sha256) if sha256 is not None else None
    return File(filename, url, known, size_bytes, beside, yanked, requires_python, upload_time, {})


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Sha256) else value


_FIELDS = ("filename", "url", "sha256", "size_bytes", "core_metadata", "yanked", "requires_python", "upload_time")
