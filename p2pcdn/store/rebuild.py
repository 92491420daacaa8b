"""Opens the catalog; one that cannot be trusted is set aside, and made anew from what can still be read of it.

The blobs that remain without a row are then hashed and taken in by `verify.adopt_unknown`.
"""

from __future__ import annotations

import logging
import os
import shutil
import struct
from pathlib import Path

import lmdb

from p2pcdn.store.catalog import open_environment
from p2pcdn.store.layout import Layout
from p2pcdn.store.rows import BLOBS, BURIED, SMALL, TREES, VALUES, opened
from p2pcdn.store.transaction import Rows, Total

_SALVAGED = (BLOBS, SMALL, BURIED, TREES, *VALUES.values())
# The walk takes 6 ms a MiB of small rows, and a start after a kill shall take less than a second.
WALKED_SIZE_BYTES_MAX = 128 * 1024 * 1024
# More rows than any store has: a rotten tree may lead in a circle.
SALVAGED_ROWS_MAX = 10_000_000
_log = logging.getLogger("p2pcdn.store")


def open_or_rebuild(layout: Layout, unclean: int) -> tuple[lmdb.Environment, dict[bytes, Total], bool]:
    """The environment, its totals, and whether it was made anew. Raises OSError. Blocks: run it in a thread.

    unclean: how many lives in a row ended by a kill. LMDB itself survives one; but it ends the process where it meets a
    broken tree, so after such an end the file is walked before LMDB is given it.
    """
    if unclean and not layout.distrusted.exists() and not _is_sound(layout, thorough=unclean > 1):
        layout.distrusted.touch(mode=0o600)
    if not layout.distrusted.exists():
        try:
            return *open_environment(layout.catalog), False
        except lmdb.Error as error:
            if error.code > 0:
                # An error of the system (EIO, ENOSPC), and not of what stands in the file.
                raise OSError(error.code, os.strerror(error.code)) from error
            _log.error("The catalog of %s is damaged (%s).", layout.directory, error)
        except struct.error as error:
            _log.error("The catalog of %s is damaged (%s).", layout.directory, error)
    _log.warning("The catalog of %s is rebuilt from the blobs; this may take a while.", layout.directory)
    return *_rebuild(layout), True


def _is_sound(layout: Layout, *, thorough: bool) -> bool:
    data = layout.catalog / "data.mdb"
    size_bytes = data.stat().st_size if data.exists() else 0
    if size_bytes == 0 or (size_bytes > WALKED_SIZE_BYTES_MAX and not thorough):
        return True
    from lmdb.verify import VerifyError, verify  # rarely needed, so not at every start

    try:
        problems: list[str] = verify(os.fspath(layout.catalog))  # type: ignore[no-untyped-call]
    except VerifyError as error:
        problems = [str(error)]
    if problems:
        _log.error("The catalog of %s is damaged (%s).", layout.directory, problems[0])
    return not problems


def rebuilt_is_whole(layout: Layout) -> None:
    """After the blobs without rows were taken in: the new catalog counts. The old one is kept for whoever wonders."""
    if _source(layout).exists():
        shutil.rmtree(layout.rotten_catalog, ignore_errors=True)
        os.rename(_source(layout), layout.rotten_catalog)  # noqa: PTH104
    layout.distrusted.unlink(missing_ok=True)


def _source(layout: Layout) -> Path:
    """The old catalog, while the new one is made; a kill meanwhile begins again from it."""
    return layout.directory / "catalog.old"


def _rebuild(layout: Layout) -> tuple[lmdb.Environment, dict[bytes, Total]]:
    source, reading = _source(layout), layout.directory / "catalog.reading"
    layout.distrusted.touch(mode=0o600)
    if not source.exists():
        os.rename(layout.catalog, source)  # noqa: PTH104
    shutil.rmtree(layout.catalog, ignore_errors=True)
    layout.catalog.mkdir(mode=0o700)
    environment, _ = open_environment(layout.catalog)
    try:
        if not reading.exists():
            # Reading rot may end the process; then the next start does without it.
            reading.touch(mode=0o600)
            _log.warning("%d rows of the old catalog were whole.", _salvage(source, environment))
        reading.unlink(missing_ok=True)
    finally:
        environment.close()
    return open_environment(layout.catalog)


def _salvage(directory: Path, new: lmdb.Environment) -> int:
    try:
        source = lmdb.open(os.fspath(directory), readonly=True, lock=False, lib_version=0, create=False)
    except lmdb.Error:
        return 0
    try:
        number = sum(_salvage_table(source, new, table) for table in _SALVAGED)
    finally:
        source.close()
    with new.begin(write=True) as transaction:
        Rows(transaction, {}).recount()
    return number


def _salvage_table(source: lmdb.Environment, new: lmdb.Environment, table: bytes) -> int:
    rows: list[tuple[bytes, bytes]] = []
    number = 0
    try:
        with source.begin() as transaction, transaction.cursor() as cursor:
            there = cursor.set_range(table)
            while there and number < SALVAGED_ROWS_MAX:
                key, stored = cursor.item()
                if key[:1] != table:
                    break
                value = opened(key, stored)
                if value is not None:
                    rows.append((key[1:], value))
                    number += 1
                if len(rows) >= 1000:
                    _put(new, table, rows)
                    rows = []
                there = cursor.next()
    except lmdb.Error:
        pass  # what came before the damage is whole
    _put(new, table, rows)
    return number


def _put(new: lmdb.Environment, table: bytes, pairs: list[tuple[bytes, bytes]]) -> None:
    size_bytes = sum(len(value) + 4096 for _, value in pairs)
    state = new.info()
    used = (state["last_pgno"] + 1) * new.stat()["psize"]
    size = state["map_size"]
    while used + 2 * size_bytes > size // 2:
        size *= 2
    if size != state["map_size"]:
        new.set_mapsize(size)
    with new.begin(write=True) as transaction:
        rows = Rows(transaction, {})
        for key, value in pairs:
            rows.put(table, key, value)
