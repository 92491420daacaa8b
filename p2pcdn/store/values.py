"""Small values by their names, in the catalog's tables: looked up, listed, changed all at once; the oldest go first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from p2pcdn.digest import Sha256
from p2pcdn.store.catalog import Catalog
from p2pcdn.store.evict import trim_values
from p2pcdn.store.rows import BURIED, VALUES, Table, pack_value, unpack_value
from p2pcdn.store.transaction import Rows, text_key

# Metadata, manifests and project names: about 20 kB a wheel, so enough for 10,000 wheels in each table.
VALUES_SIZE_BYTES_MAX = 256 * 1024 * 1024


def value_of(catalog: Catalog, table: Table, key: str) -> bytes | None:
    value = catalog.get(VALUES[table], key.encode("utf-8", "surrogatepass"))
    return None if value is None else unpack_value(value)[1]


def values_of(catalog: Catalog, table: Table) -> Iterator[tuple[str, bytes]]:
    for key, value in catalog.scan(VALUES[table]):
        yield key.decode("utf-8", "surrogatepass"), unpack_value(value)[1]


def keys_of(catalog: Catalog, table: Table) -> Iterator[str]:
    for key in catalog.keys(VALUES[table]):
        yield key.decode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class Change:
    """What one transaction writes and deletes (None), buries and unearths."""

    puts: Mapping[tuple[bytes, bytes], bytes | None]
    buried: tuple[Sha256, ...]
    unearthed: tuple[Sha256, ...]
    at: float

    @classmethod
    def of(
        cls,
        values: Mapping[tuple[Table, str], bytes | None],
        bury: Iterable[Sha256],
        unearth: Iterable[Sha256],
        at: float,
    ) -> Change:
        """Raises LocalProtocolError where a key is too long for the catalog."""
        puts = {(VALUES[table], text_key(key)): content for (table, key), content in values.items()}
        return cls(puts, tuple(bury), tuple(unearth), at)

    def size_bytes(self) -> int:
        """About what it writes."""
        values = sum(len(content or b"") + 1024 for content in self.puts.values())
        return values + 600 * (len(self.buried) + len(self.unearthed))

    def write(self, rows: Rows, pages_bytes: int) -> None:
        """A step of the writer. pages_bytes: of the table "pages"."""
        for (table, key), content in self.puts.items():
            if content is None:
                rows.delete(table, key)
            else:
                rows.put(table, key, pack_value(content, self.at))
        for sha256 in self.buried:
            rows.put(BURIED, bytes.fromhex(sha256), pack_value(b"", self.at))
        for sha256 in self.unearthed:
            rows.delete(BURIED, bytes.fromhex(sha256))
        for name, table in VALUES.items():
            trim_values(rows, table, pages_bytes if name == "pages" else VALUES_SIZE_BYTES_MAX)
