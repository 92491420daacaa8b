"""The rows of the catalog as bytes: what stands in each table, and the checksum before each value."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

from blake3 import blake3

from p2pcdn import frames
from p2pcdn.digest import BlobName, Sha256
from p2pcdn.errors import RemoteProtocolError
from p2pcdn.world import Share

Table = Literal["pages", "metadata", "manifests", "trusted", "parsed", "environments"]

# The first byte of a key in LMDB names its table.
BLOBS, SMALL, BURIED, DOOMED, TREES, TOTALS = b"b", b"s", b"t", b"x", b"w", b"="
VALUES: dict[Table, bytes] = {
    "pages": b"P",
    "metadata": b"M",
    "manifests": b"F",
    "trusted": b"U",
    "parsed": b"V",
    "environments": b"E",
}

# LMDB's own bound is 511; the rest is our table byte and some air.
KEY_SIZE_BYTES_MAX = 480
# 128 bits: no rot passes, and nobody who can write the catalog could be stopped by a checksum anyway.
CHECKSUM_SIZE_BYTES = 16


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known of a file beside its bytes. share: to whom it may be given. came: who gave the bytes, in words."""

    filename: str
    project: str
    index_key: str
    share: Share
    came: str = ""


# What a blob is called whose row was lost: its bytes are right, its history is unknown, so nobody is given it.
UNKNOWN = Origin("", "", "", "never")


@dataclass(frozen=True, slots=True)
class BlobRow:
    """One blob in the catalog. Times are wall-clock seconds since 1970. inline: its bytes lie in the catalog."""

    name: BlobName
    sha256: Sha256
    size_bytes: int
    origin: Origin
    kept_at: float
    used_at: float
    pinned: bool = False
    inline: bool = False
    buried: bool = False


def sealed(key: bytes, value: bytes) -> bytes:
    """The value behind its checksum, which covers table and key too: a value cannot answer for another."""
    return _checksum(key, value) + value


def opened(key: bytes, stored: bytes | None) -> bytes | None:
    """The value, or None where it is absent or its checksum is wrong."""
    if stored is None or stored[:CHECKSUM_SIZE_BYTES] != _checksum(key, value := stored[CHECKSUM_SIZE_BYTES:]):
        return None
    return value


def _checksum(key: bytes, value: bytes) -> bytes:
    return blake3(len(key).to_bytes(2, "big") + key).update(value).digest(CHECKSUM_SIZE_BYTES)


# flags, size_bytes, kept_at, used_at, BLAKE3 name; then the origin as a frame.
_HEAD = struct.Struct(">BQdd32s")
_PINNED, _INLINE = 1, 2
_SHARES: tuple[Share, ...] = ("never", "group", "lan")


def pack_blob(row: BlobRow) -> bytes:
    flags = (_PINNED if row.pinned else 0) | (_INLINE if row.inline else 0)
    origin = row.origin
    return _HEAD.pack(flags, row.size_bytes, row.kept_at, row.used_at, bytes.fromhex(row.name)) + frames.encode(
        [origin.filename, origin.project, origin.index_key, origin.share, origin.came]
    )


def unpack_blob(sha256: Sha256, value: bytes, *, buried: bool) -> BlobRow | None:
    """None where the bytes are no row: the catalog then has no such blob."""
    try:
        flags, size_bytes, kept_at, used_at, name = _HEAD.unpack_from(value)
        filename, project, index_key, share, *came = frames.decode(value[_HEAD.size :])  # older rows say no more
    except (struct.error, RemoteProtocolError, ValueError, TypeError):
        return None
    if share not in _SHARES:
        return None
    return BlobRow(
        name=BlobName(name.hex()),
        sha256=sha256,
        size_bytes=size_bytes,
        origin=Origin(filename, project, index_key, share, *came[:1]),
        kept_at=kept_at,
        used_at=used_at,
        pinned=bool(flags & _PINNED),
        inline=bool(flags & _INLINE),
        buried=buried,
    )


@dataclass(frozen=True, slots=True)
class BlobFacts:
    """What eviction asks of a row, without the cost of its origin."""

    size_bytes: int
    used_at: float
    name: BlobName
    pinned: bool
    inline: bool


def blob_facts(value: bytes) -> BlobFacts:
    flags, size_bytes, _, used_at, name = _HEAD.unpack_from(value)
    return BlobFacts(size_bytes, used_at, BlobName(name.hex()), bool(flags & _PINNED), bool(flags & _INLINE))


def with_used_at(value: bytes, used_at: float) -> bytes:
    flags, size_bytes, kept_at, old, name = _HEAD.unpack_from(value)
    return _HEAD.pack(flags, size_bytes, kept_at, max(old, used_at), name) + value[_HEAD.size :]


@dataclass(frozen=True, slots=True)
class TreeRow:
    """One tree in the catalog. listing: its maker's own words about its files."""

    size_bytes: int
    kept_at: float
    used_at: float
    listing: bytes


# size_bytes, kept_at, used_at; then the listing.
_TREE = struct.Struct(">Qdd")


def pack_tree(row: TreeRow) -> bytes:
    return _TREE.pack(row.size_bytes, row.kept_at, row.used_at) + row.listing


def unpack_tree(value: bytes) -> TreeRow | None:
    """None where the bytes are no row: the catalog then has no such tree."""
    try:
        size_bytes, kept_at, used_at = _TREE.unpack_from(value)
    except struct.error:
        return None
    return TreeRow(size_bytes, kept_at, used_at, value[_TREE.size :])


# A value of the caller's tables carries the time it was written, so that the oldest can go first.
_WRITTEN = struct.Struct(">d")


def pack_value(content: bytes, written_at: float) -> bytes:
    return _WRITTEN.pack(written_at) + content


def unpack_value(value: bytes) -> tuple[float, bytes]:
    return _WRITTEN.unpack_from(value)[0], value[_WRITTEN.size :]


# How many rows a table has, and how many bytes they stand for.
TOTAL = struct.Struct(">QQ")


def weight(table: bytes, value: bytes) -> int:
    """What a row counts for: a blob its content, a tree its files, anything else itself."""
    if table == BLOBS:
        return int(_HEAD.unpack_from(value)[1])
    return int(_TREE.unpack_from(value)[0]) if table == TREES else len(value)
