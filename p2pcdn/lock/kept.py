"""What was read of pages and metadata, in the form in which a node keeps it: nothing is parsed twice. Pure.

Tables cross the solver's pipe so, too. Metadata is kept as the octets that it is in a search (`octets_of`); the files
of a page have a file of their own, `kept_files.py`.
"""

from __future__ import annotations

from p2pcdn import frames
from p2pcdn.resolve import Order, Table, columns_of, order_of_columns

# Counted up when the tables, metadata or files of this version could not be read by another one.
FORMAT = 8


def encode_table(table: Table) -> bytes:
    return frames.encode(columns_of(table))


def decode_table(octets: bytes) -> Order:
    return order_of_columns(frames.decode_own(octets))
