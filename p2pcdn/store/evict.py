"""The steps of the catalog's writer that make room: what `collect` chose is evicted, old values are trimmed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from p2pcdn.digest import BlobName
from p2pcdn.store.blob_table import delete_row
from p2pcdn.store.collect import COLLECT_TO, Candidate, choose
from p2pcdn.store.rows import BLOBS, BURIED, TREES, blob_facts, unpack_tree, unpack_value
from p2pcdn.store.transaction import Rows, Total


@dataclass(frozen=True, slots=True)
class Trees:
    """What eviction is told of trees, by their keys: the bytes that their end would give back, and later used-times.

    The rest of their bytes belongs to environments, which would hold them all the same: it does not count here.
    """

    freeable: Mapping[bytes, int] = field(default_factory=dict)
    used_at: Mapping[bytes, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evicted:
    """What is gone from the catalog. key: of the blob's row, or None for a tree alone.

    name: of the file that goes next; None where there is none. trees: keys of the trees that go next.
    """

    key: bytes | None
    name: BlobName | None
    trees: tuple[bytes, ...]
    size_bytes: int


def evict(rows: Rows, to_bytes: int, used_before: float | None, busy: frozenset[bytes], trees: Trees) -> list[Evicted]:
    """Deletes the rows of what has to go."""
    excess_bytes = rows.totals.get(BLOBS, Total()).size_bytes + sum(trees.freeable.values()) - to_bytes
    if excess_bytes <= 0 and used_before is None:
        return []
    return [_delete(rows, one) for one in choose(_candidates(rows, busy, trees), excess_bytes, used_before)]


def _candidates(rows: Rows, busy: frozenset[bytes], trees: Trees) -> Iterator[Candidate]:
    buried = {key for key, _ in rows.scan(BURIED)}
    used_at = {}
    for key, value in rows.scan(BLOBS):
        facts = blob_facts(value)
        used_at[key] = facts.used_at
        if not facts.pinned and key not in busy:
            yield Candidate(key, facts.size_bytes, facts.used_at, key in buried)
    for key, freeable_bytes in trees.freeable.items():
        blob, stored = key[:32], rows.get(TREES, key)
        row = unpack_tree(stored) if stored is not None else None
        if row is not None and freeable_bytes and blob not in busy:
            # A tree is used with its blob, and never later: so it is chosen before its blob, and counted once.
            last = min(max(row.used_at, trees.used_at.get(key, 0.0)), used_at.get(blob, 0.0))
            yield Candidate(key, freeable_bytes, last, blob in buried, is_tree=True)


def _delete(rows: Rows, one: Candidate) -> Evicted:
    if one.is_tree:
        rows.delete(TREES, one.key)
        return Evicted(None, None, (one.key,), one.size_bytes)
    gone = delete_row(rows, one.key)
    return Evicted(one.key, gone.name, gone.trees, one.size_bytes)


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
