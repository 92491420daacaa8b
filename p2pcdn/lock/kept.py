"""What was read of pages and metadata, in the form in which a node keeps it: nothing is parsed twice. Pure.

Tables and metadata cross the solver's pipe so, too. The files of a page have a file of their own, `kept_files.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from p2pcdn import frames
from p2pcdn.resolve import Metadata, Order, Source, Table, columns_of, order_of_columns

# Counted up when the tables, metadata or files of this version could not be read by another one.
FORMAT = 8


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


def without_version(octets: bytes) -> bytes:
    """What an index lists has its version from there; so versions that say the same are the same."""
    _, *rest = frames.decode_own(octets)
    return frames.encode(["", *rest])


def decode_all_metadata(project: str, encoded: Mapping[str, bytes]) -> dict[str, Metadata]:
    """Of the versions of a project, by key. In a long history many say the same: they have one value, without a key."""
    known: dict[bytes, Metadata] = {}
    source = Source(project)
    return {
        key: known.get(octets) or known.setdefault(octets, decode_metadata(source, octets))
        for key, octets in encoded.items()
    }
