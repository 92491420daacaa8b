"""What a step may do inside a transaction of the catalog: rows read, written and weighed, totals kept beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import lmdb

from p2pcdn.errors import LocalProtocolError
from p2pcdn.store.rows import BLOBS, KEY_SIZE_BYTES_MAX, SMALL, TOTAL, TOTALS, TREES, VALUES, opened, sealed, weight

# The tables of which it is known how many rows they have, and what those weigh.
WEIGHED = (BLOBS, SMALL, TREES, *VALUES.values())


@dataclass(frozen=True, slots=True)
class Total:
    rows: int = 0
    size_bytes: int = 0


class Rows:
    """What a step of the writer may do inside its transaction. Lives in the writer's thread, for one transaction."""

    def __init__(self, transaction: lmdb.Transaction[bytes], totals: dict[bytes, Total]) -> None:
        self._transaction = transaction
        self.totals = totals
        self._uncertain: set[bytes] = set()

    def get(self, table: bytes, key: bytes) -> bytes | None:
        return opened(table + key, self._transaction.get(table + key))

    def put(self, table: bytes, key: bytes, value: bytes) -> None:
        self._forget(table, key)
        self._transaction.put(table + key, sealed(table + key, value))
        self._weigh(table, value, +1)

    def delete(self, table: bytes, key: bytes) -> bool:
        there = self._forget(table, key)
        return self._transaction.delete(table + key) or there

    def scan(self, table: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of each row whose checksum is right; the others are left to `rotten`."""
        for key, value in self._raw(table):
            if value is not None:
                yield key, value

    def keys_under(self, table: bytes, prefix: bytes) -> list[bytes]:
        """The keys of a table that begin so."""
        keys = []
        with self._transaction.cursor() as cursor:
            if cursor.set_range(table + prefix):
                for key in cursor.iternext(keys=True, values=False):
                    if not key.startswith(table + prefix):
                        break
                    keys.append(key[1:])
        return keys

    def drop_rotten(self, table: bytes) -> int:
        """Deletes the rows of a table whose checksum is wrong; gives their number."""
        wrong = [key for key, value in self._raw(table) if value is None]
        for key in wrong:
            self.delete(table, key)
        return len(wrong)

    def recount(self) -> None:
        self._uncertain.update(WEIGHED)
        self.settle()

    def settle(self) -> None:
        """Writes the totals, last of all."""
        for table in self._uncertain:
            sizes = [weight(table, value) for _, value in self.scan(table)]
            self.totals[table] = Total(len(sizes), sum(sizes))
        self._uncertain.clear()
        for table, total in self.totals.items():
            key = TOTALS + table
            self._transaction.put(key, sealed(key, TOTAL.pack(total.rows, total.size_bytes)))

    def _raw(self, table: bytes) -> Iterator[tuple[bytes, bytes | None]]:
        with self._transaction.cursor() as cursor:
            if not cursor.set_range(table):
                return
            for key, stored in cursor:
                if key[:1] != table:
                    return
                yield key[1:], opened(key, stored)

    def _forget(self, table: bytes, key: bytes) -> bool:
        if table not in WEIGHED:
            return False
        stored = self._transaction.get(table + key)
        if stored is None:
            return False
        value = opened(table + key, stored)
        if value is None:
            self._uncertain.add(table)
        else:
            self._weigh(table, value, -1)
        return True

    def _weigh(self, table: bytes, value: bytes, sign: int) -> None:
        if table in WEIGHED:
            old = self.totals.get(table, Total())
            self.totals[table] = Total(old.rows + sign, old.size_bytes + sign * weight(table, value))


def text_key(key: str) -> bytes:
    """The bytes of a caller's key. Raises LocalProtocolError where LMDB could not hold it."""
    octets = key.encode("utf-8", "surrogatepass")
    if not 0 < len(octets) < KEY_SIZE_BYTES_MAX:
        raise LocalProtocolError(f"a key of the catalog has 1 to {KEY_SIZE_BYTES_MAX - 1} bytes, not {len(octets)}")
    return octets
