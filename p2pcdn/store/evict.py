"""The steps of the catalog's writer that make room: blobs evicted by `collect`'s choice, old values trimmed."""

from __future__ import annotations

from dataclasses import dataclass

from p2pcdn.digest import BlobName
from p2pcdn.store.blob_table import delete_row
from p2pcdn.store.catalog import Rows, Total
from p2pcdn.store.collect import COLLECT_TO, Candidate, choose
from p2pcdn.store.rows import BLOBS, BURIED, blob_facts, unpack_value


@dataclass(frozen=True, slots=True)
class Evicted:
    """A blob whose row is gone. name: of the file that goes next; None where it had none."""

    key: bytes
    name: BlobName | None
    size_bytes: int


def evict(rows: Rows, to_bytes: int, used_before: float | None, busy: frozenset[bytes]) -> list[Evicted]:
    """Deletes the rows of what has to go."""
    excess_bytes = rows.totals.get(BLOBS, Total()).size_bytes - to_bytes
    if excess_bytes <= 0 and used_before is None:
        return []
    buried = {key for key, _ in rows.scan(BURIED)}
    candidates = []
    for key, value in rows.scan(BLOBS):
        facts = blob_facts(value)
        if not facts.pinned and key not in busy:
            candidates.append(Candidate(key, facts.size_bytes, facts.used_at, key in buried))
    chosen = choose(candidates, excess_bytes, used_before)
    return [Evicted(one.key, delete_row(rows, one.key), one.size_bytes) for one in chosen]


def trim_values(rows: Rows, table: bytes, size_bytes_max: int) -> None:
    """Deletes the oldest values of a table that has outgrown its bound, a little more than needed."""
    size_bytes = rows.totals.get(table, Total()).size_bytes
    if size_bytes <= size_bytes_max:
        return
    oldest_first = sorted((unpack_value(value)[0], key, len(value)) for key, value in rows.scan(table))
    for _, key, length in oldest_first:
        if size_bytes <= size_bytes_max * COLLECT_TO:
            return
        rows.delete(table, key)
        size_bytes -= length
