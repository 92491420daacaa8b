"""The catalog's table of blobs: look-ups in microseconds, used-times in memory until the next transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from p2pcdn.digest import BlobName, Sha256
from p2pcdn.store.blob import Blob, Opener
from p2pcdn.store.catalog import Catalog
from p2pcdn.store.rows import (
    BLOBS,
    BURIED,
    DOOMED,
    SMALL,
    TREES,
    BlobRow,
    blob_facts,
    pack_blob,
    unpack_blob,
    with_used_at,
)
from p2pcdn.store.transaction import Rows
from p2pcdn.world import Clock

T = TypeVar("T")

# Rows kept decoded: about 1 kB each. A second node taking everything asks for each file a few times in a row.
WARM_ROWS_MAX = 2048
# Marks kept in memory, about 100 bytes each; then somebody should write them.
USED_MARKS_MAX = 4096
# A used-time may be lost by a crash; it decides only what is evicted first, and an hour is nothing to that.
USED_MARKS_AGE_MAX_S = 3600.0


class BlobTable:
    """Used on trio's thread; the steps it makes run in the writer's."""

    def __init__(self, catalog: Catalog, opener: Opener, clock: Clock) -> None:
        self._catalog = catalog
        self._opener = opener
        self._clock = clock
        self._warm: dict[Sha256, Blob] = {}
        self._marks: dict[Sha256, float] = {}
        self._marked_since = clock.now()
        self._unlinked: list[BlobName] = []

    def find(self, sha256: Sha256, *, mark: bool = True) -> Blob | None:
        """The blob, unless it is buried; marks it used, or not."""
        blob = self._warm.get(sha256)
        if blob is None:
            row = self.row(sha256)
            if row is None or row.buried:
                return None
            content = None
            if row.inline and (content := self._catalog.get(SMALL, bytes.fromhex(sha256))) is None:
                return None
            blob = Blob(row, content, self._opener)
            if content is None:
                if len(self._warm) >= WARM_ROWS_MAX:
                    del self._warm[next(iter(self._warm))]
                self._warm[sha256] = blob
        if mark:
            self._marks[sha256] = self._clock.now()
        return blob

    def marks_are_due(self) -> bool:
        return len(self._marks) >= USED_MARKS_MAX or (
            bool(self._marks) and abs(self._clock.now() - self._marked_since) > USED_MARKS_AGE_MAX_S
        )

    def row(self, sha256: Sha256) -> BlobRow | None:
        key = bytes.fromhex(sha256)
        value = self._catalog.get(BLOBS, key)
        return None if value is None else unpack_blob(sha256, value, buried=self._catalog.has(BURIED, key))

    def rows(self) -> Iterator[BlobRow]:
        buried = {key for key, _ in self._catalog.scan(BURIED)}
        for key, value in self._catalog.scan(BLOBS):
            sha256 = Sha256(key.hex())
            row = unpack_blob(sha256, value, buried=key in buried)
            if row is not None:
                yield replace(row, used_at=max(row.used_at, self._marks.get(sha256, 0.0)))

    def unlinked(self, name: BlobName) -> None:
        """The file of a deleted row is gone; its note goes with the next transaction."""
        self._unlinked.append(name)

    def forget(self, *shas: Sha256) -> None:
        """What is decoded of these rows is old."""
        for sha256 in shas:
            self._warm.pop(sha256, None)

    async def write(self, call: Callable[[Rows], T], *touched: Sha256, size_bytes: int = 0) -> T:
        """One transaction, with the used-times that wait. touched: the blobs whose rows it changes."""
        marks, self._marks = self._marks, {}
        unlinked, self._unlinked = self._unlinked, []
        self._marked_since = self._clock.now()

        def step(rows: Rows) -> T:
            for name in unlinked:
                rows.delete(DOOMED, bytes.fromhex(name))
            for sha256, used_at in marks.items():
                key = bytes.fromhex(sha256)
                if (value := rows.get(BLOBS, key)) is not None:
                    rows.put(BLOBS, key, with_used_at(value, used_at))
            return call(rows)

        try:
            return await self._catalog.write(step, size_bytes + 600 * (len(marks) + len(unlinked)))
        finally:
            self.forget(*touched)


def put_row(rows: Rows, row: BlobRow, content: bytes | None = None) -> BlobRow:
    """Keeps a blob. A pin stays; the more open of two origins stays, for the bytes are the same."""
    key = bytes.fromhex(row.sha256)
    old_value = rows.get(BLOBS, key)
    old = None if old_value is None else unpack_blob(row.sha256, old_value, buried=False)
    if old is not None:
        openness = ("never", "group", "lan").index
        origin = old.origin if openness(old.origin.share) > openness(row.origin.share) else row.origin
        row = replace(row, pinned=old.pinned, origin=origin)
    rows.put(BLOBS, key, pack_blob(row))
    rows.delete(DOOMED, bytes.fromhex(row.name))
    if content is not None:
        rows.put(SMALL, key, content)
    else:
        rows.delete(SMALL, key)
    return row


@dataclass(frozen=True, slots=True)
class Gone:
    """What goes with a row that was deleted. name: of the blob's file, None where it had none; trees: keys of rows."""

    name: BlobName | None
    trees: tuple[bytes, ...]


def delete_row(rows: Rows, key: bytes) -> Gone:
    """Deletes a blob's row and those of its trees, and notes its file as doomed."""
    trees = tuple(rows.keys_under(TREES, key))
    for tree in trees:
        rows.delete(TREES, tree)
    value = rows.get(BLOBS, key)
    rows.delete(BLOBS, key)
    rows.delete(SMALL, key)
    if value is None:
        return Gone(None, trees)
    facts = blob_facts(value)
    if facts.inline:
        return Gone(None, trees)
    rows.put(DOOMED, bytes.fromhex(facts.name), b"")
    return Gone(facts.name, trees)
