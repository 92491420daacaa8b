"""Tables and metadata in the form in which a node keeps them, and in which they cross the solver's pipe. Pure.

A table's releases come newest first, a block of them after the other: whoever wants to see only what is newer than some
version reads no more than that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from packaging.version import InvalidVersion, Version

from p2pcdn import frames
from p2pcdn.resolve import Metadata, Release, Source, Table, from_plain, to_plain

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
