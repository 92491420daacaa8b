"""What was read of pages and metadata, in the form in which a node keeps it: nothing is parsed twice. Pure.

Tables and metadata cross the solver's pipe so, too; files are for the lock that is written in the end.

A table's releases come newest first, a block of them after the other: whoever wants to see only what is newer than some
version reads no more than that.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from packaging.version import InvalidVersion, Version

from p2pcdn import frames
from p2pcdn.digest import Sha256
from p2pcdn.resolve import Metadata, Release, Source, Table, from_plain, to_plain
from p2pcdn.simple import File

# Counted up when the tables or metadata of this version could not be read by another one.
FORMAT = 2
# Of most projects one of the newest versions is chosen, and nine in ten releases stay unread.
BLOCK_RELEASES = 16


def encode_table(table: Table) -> bytes:
    ordered = sorted(table.releases, key=_newest_last, reverse=True)
    blocks = [ordered[at : at + BLOCK_RELEASES] for at in range(0, len(ordered), BLOCK_RELEASES)]
    packed = [frames.encode([to_plain(release) for release in block]) for block in blocks]
    return frames.encode([table.project, table.index, table.missing, packed])


def decode_table(octets: bytes, *, down_to: Version | None = None) -> Table:
    """down_to: releases that come before it may be left out."""
    project, index, missing, packed = frames.decode_own(octets)
    return Table(project, tuple(_releases(packed, down_to)), index, missing)


def _releases(packed: list[bytes], down_to: Version | None) -> Iterator[Release]:
    for block in packed:
        releases = [from_plain(Release, plain) for plain in frames.decode_own(block)]
        yield from releases
        if down_to is not None and _newest_last(releases[-1]) < (True, down_to, ""):
            return


def _newest_last(release: Release) -> tuple[bool, Version, str]:
    try:
        return True, Version(release.version), release.version
    except InvalidVersion:
        return False, _NO_VERSION, release.version


_NO_VERSION = Version("0")


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
