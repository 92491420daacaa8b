"""The scrub: every blob is hashed again; rotten ones are dropped, files without a row are taken in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import trio
from blake3 import blake3

from p2pcdn.digest import BlobName, Sha256, TwoHashes
from p2pcdn.store.blob_table import BlobTable, put_row
from p2pcdn.store.catalog import Catalog
from p2pcdn.store.rows import BLOBS, SMALL, TREES, UNKNOWN, VALUES, BlobRow
from p2pcdn.store.shelves import Shelves
from p2pcdn.store.transaction import Rows
from p2pcdn.world import Clock, DiskFile, Threads

# Between two units others have their turn; one unit takes a thread a millisecond or two.
UNIT_SIZE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """checked: blobs hashed. rotten: their rows, dropped; the files can be fetched again.

    adopted: files that had no row and have one now. removed: files without a row whose bytes are wrong.
    rotten_values: rows of the catalog whose checksum was wrong. rotten_trees: unpacked wheels of which a file was
    changed or gone, by their file names; they are dropped, and unpacked again when they are needed.
    """

    checked: int
    rotten: Sequence[BlobRow]
    adopted: int
    removed: int
    rotten_values: int
    rotten_trees: Sequence[str] = ()


async def verify(
    table: BlobTable,
    catalog: Catalog,
    shelves: Shelves,
    threads: Threads,
    clock: Clock,
    drop: Callable[[Sha256], Awaitable[None]],
    on_progress: Callable[[int, int], None],
) -> VerifyReport:
    rotten_values = await catalog.write(_drop_rotten_rows)
    rows = list(table.rows())
    rotten: list[BlobRow] = []
    for number, row in enumerate(rows, 1):
        if not await _is_right(row, catalog, shelves, threads) and table.row(row.sha256) is not None:
            rotten.append(row)
            await drop(row.sha256)
        on_progress(number, len(rows))
        await trio.lowlevel.checkpoint()
    adopted, removed = await adopt_unknown(table, shelves, threads, clock)
    return VerifyReport(len(rows), rotten, adopted, removed, rotten_values)


def _drop_rotten_rows(rows: Rows) -> int:
    number = sum(rows.drop_rotten(table) for table in (BLOBS, SMALL, TREES, *VALUES.values()))
    rows.recount()
    return number


async def _is_right(row: BlobRow, catalog: Catalog, shelves: Shelves, threads: Threads) -> bool:
    if row.inline:
        content = catalog.get(SMALL, bytes.fromhex(row.sha256))
        return content is not None and BlobName.of(content) == row.name
    try:
        file = await shelves.disk.open(shelves.layout.blob(row.name))
    except OSError:
        return False
    try:
        hasher = blake3()
        await _walk(file, threads, hasher.update)
        return file.size_bytes() == row.size_bytes and hasher.hexdigest() == row.name
    except OSError:
        return False
    finally:
        file.close()


async def adopt_unknown(table: BlobTable, shelves: Shelves, threads: Threads, clock: Clock) -> tuple[int, int]:
    """Gives a row to each blob file that has none and whose bytes are right; removes the others.

    Its origin is unknown, so it is given to nobody until a page names it. Gives (adopted, removed). Raises OSError.
    """
    known = {row.name for row in table.rows() if not row.inline}
    adopted = removed = 0
    for shelf in await shelves.disk.list(shelves.layout.blobs):
        for text in await shelves.disk.list(shelves.layout.blobs / shelf):
            name = _name(shelf, text)
            if name is None or name in known or shelves.is_moving(name):
                continue
            row = await _row_of(name, shelves, threads, clock)
            if shelves.is_moving(name) or (row is not None and table.row(row.sha256) is not None):
                continue
            if row is None:
                removed += len(await shelves.remove([name]))
                continue
            with shelves.naming(name), suppress(OSError):
                await shelves.disk.sync_directory(shelves.layout.shelf(name))
                await table.write(lambda rows, row=row: put_row(rows, row), row.sha256)  # type: ignore[misc]
                adopted += 1
    return adopted, removed


def _name(shelf: str, text: str) -> BlobName | None:
    try:
        return BlobName(text) if text.startswith(shelf) and len(shelf) == 2 else None
    except ValueError:
        return None


async def _row_of(name: BlobName, shelves: Shelves, threads: Threads, clock: Clock) -> BlobRow | None:
    try:
        file = await shelves.disk.open(shelves.layout.blob(name))
    except OSError:
        return None
    try:
        hashes = TwoHashes()
        await _walk(file, threads, hashes.update)
    except OSError:
        return None
    finally:
        file.close()
    if hashes.blob_name() != name:
        return None
    now = clock.now()
    return BlobRow(name, hashes.sha256(), hashes.size_bytes, UNKNOWN, now, now)


async def _walk(file: DiskFile, threads: Threads, update: Callable[[bytes], object]) -> None:
    offset = 0
    while content := await file.pread(UNIT_SIZE_BYTES, offset):
        await threads.run(update, content)
        offset += len(content)
