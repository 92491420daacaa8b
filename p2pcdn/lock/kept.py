"""Tables and metadata in the form in which a node keeps them, and in which they cross the solver's pipe. Pure.

The files of a page, which are for the lock that is written in the end, stand in `kept_files.py`: a solver is to start
without what reads pages.
"""

from __future__ import annotations

from typing import Any

from p2pcdn import frames
from p2pcdn.resolve import Metadata, Source, Table, from_plain, to_plain

# Counted up when the tables, metadata or files of this version could not be read by another one.
FORMAT = 4


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
