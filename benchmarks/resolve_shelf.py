"""Tables and metadata as a node's catalog would keep them: LMDB, a CBOR value each. It imports little: it is timed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cbor2
import lmdb

from p2pcdn.resolve import Metadata, Need, Source, Table, Target, from_plain, to_plain

SHELF_SIZE_BYTES_MAX = 4 * 1024**3


class Shelf:
    """One directory, and the target that its tables were fetched for."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._shelf = lmdb.open(str(directory), map_size=SHELF_SIZE_BYTES_MAX)

    @property
    def target(self) -> Target:
        with self._shelf.begin() as read:
            return from_plain(Target, cbor2.loads(read.get(b"target", b"")))

    def keep_target(self, target: Target) -> None:
        with self._shelf.begin(write=True) as write:
            write.put(b"target", cbor2.dumps(to_plain(target)))

    def held(self, need: Need) -> tuple[list[Table], list[Metadata]]:
        """What is kept of what is needed, the likely too."""
        with self._shelf.begin() as read:
            tables = [read.get(_table_key(name)) for name in (*need.tables, *need.likely_tables)]
            metadata = [read.get(_metadata_key(one)) for one in (*need.metadata, *need.likely_metadata)]
            return (
                [from_plain(Table, cbor2.loads(one)) for one in tables if one],
                [from_plain(Metadata, cbor2.loads(one)) for one in metadata if one],
            )

    def missing(self, need: Need) -> tuple[list[str], list[Source]]:
        """(projects, sources) whose table, whose metadata is not kept."""
        with self._shelf.begin() as read:
            return (
                [one for one in (*need.tables, *need.likely_tables) if not read.get(_table_key(one))],
                [one for one in (*need.metadata, *need.likely_metadata) if not read.get(_metadata_key(one))],
            )

    def keep(self, tables: Iterable[Table], metadata: Iterable[Metadata]) -> None:
        with self._shelf.begin(write=True) as write:
            for table in tables:
                write.put(_table_key(table.project), cbor2.dumps(to_plain(table)))
            for one in metadata:
                write.put(_metadata_key(one.source), cbor2.dumps(to_plain(one)))


def _table_key(project: str) -> bytes:
    return f"table {project}".encode()


def _metadata_key(source: Source) -> bytes:
    return f"metadata {source.project} {source.version} {source.url}".encode()
