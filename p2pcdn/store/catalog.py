"""The catalog of a store: checksummed rows in one LMDB file; many readers on the loop, one writer in a thread."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import lmdb
import trio

from p2pcdn.store.health import Health
from p2pcdn.store.rows import KEY_SIZE_BYTES_MAX, TOTAL, TOTALS, opened
from p2pcdn.store.transaction import WEIGHED, Rows, Total
from p2pcdn.world import Threads

T = TypeVar("T")

# Address space and not memory, but a process may be held to some (RLIMIT_AS): begin small and double.
MAP_SIZE_BYTES_MIN = 64 * 1024 * 1024
# LMDB needs room to delete, too: beyond this share of the map it grows.
MAP_FILL_MAX = 0.8
# What a transaction copies beside its own values: the pages of the tree above them.
PAGES_TOUCHED_SIZE_BYTES = 256 * 1024
# Commits that wait are put into one transaction, up to this size: dirty pages live in memory until the end.
GROUP_SIZE_BYTES_MAX = 16 * 1024 * 1024
# Readers of other processes (`python -m lmdb`); this one needs a slot or two.
READERS_MAX = 64
# One rotten row is a row; this many are a disk that lies, and the next start makes the catalog anew.
ROTTEN_ROWS_MAX = 16
# Rows read in one read transaction. None stays open over a yield: it would keep old pages alive, and forbid growing.
SCAN_ROWS = 256

_DAMAGE = (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.InvalidError, lmdb.IncompatibleError)
_log = logging.getLogger("p2pcdn.store")


class _Step:
    def __init__(self, call: Callable[[Rows], Any], size_bytes: int) -> None:
        self.call = call
        self.size_bytes = size_bytes
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None


class Catalog:
    """Reads happen on trio's thread and never span an await; writes happen in a thread, one transaction at a time."""

    def __init__(
        self, environment: lmdb.Environment, totals: dict[bytes, Total], threads: Threads, health: Health
    ) -> None:
        self._environment = environment
        self._threads = threads
        self._health = health
        self._turn = trio.Lock()
        self._waiting: list[_Step] = []
        self._rotten: dict[bytes, None] = {}  # full keys, to be dropped with the next transaction
        self._rotten_found = 0
        self._closed = False
        self.totals = totals
        self.damaged: Callable[[], None] = lambda: None  # told when LMDB itself stumbles

    def get(self, table: bytes, key: bytes) -> bytes | None:
        """The value, or None where it is absent or rotten; a rotten one is dropped with the next transaction."""
        full = table + key
        if len(full) > KEY_SIZE_BYTES_MAX:
            return None
        try:
            with self._environment.begin() as transaction:
                stored = transaction.get(full)
        except lmdb.Error as error:
            self._stumbled(error)
            return None
        value = opened(full, stored)
        if value is None and stored is not None:
            self._found_rotten(full)
        return value

    def has(self, table: bytes, key: bytes) -> bool:
        return self.get(table, key) is not None

    def has_any(self, table: bytes) -> bool:
        """Whether the table has a row, be it rotten."""
        return next(self.keys(table), None) is not None

    def scan(self, table: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The rows of a table in the order of their keys; what changes meanwhile may be in it or not."""
        start = table
        while rows := self._chunk(table, start):
            for full, stored in rows:
                value = opened(full, stored)
                if value is None:
                    self._found_rotten(full)
                else:
                    yield full[1:], value
            start = rows[-1][0] + b"\0"

    def keys(self, table: bytes) -> Iterator[bytes]:
        """The keys of a table in their order, without a look at the values: a rotten one's is among them."""
        start = table
        while keys := self._keys_chunk(table, start):
            for full in keys:
                yield full[1:]
            start = keys[-1] + b"\0"

    def _keys_chunk(self, table: bytes, start: bytes) -> list[bytes]:
        keys: list[bytes] = []
        try:
            with self._environment.begin() as transaction, transaction.cursor() as cursor:
                if cursor.set_range(start):
                    for full in cursor.iternext(keys=True, values=False):
                        if full[:1] != table or len(keys) == SCAN_ROWS:
                            break
                        keys.append(full)
        except lmdb.Error as error:
            self._stumbled(error)
        return [full for full in keys if full >= start]

    def _chunk(self, table: bytes, start: bytes) -> list[tuple[bytes, bytes]]:
        rows: list[tuple[bytes, bytes]] = []
        try:
            with self._environment.begin() as transaction, transaction.cursor() as cursor:
                if cursor.set_range(start):
                    for full, stored in cursor:
                        if full[:1] != table or len(rows) == SCAN_ROWS:
                            break
                        rows.append((full, stored))
        except lmdb.Error as error:
            self._stumbled(error)
        # A rotten tree may lead backwards; a scan only ever goes on.
        return [row for row in rows if row[0] >= start]

    async def write(self, call: Callable[[Rows], T], size_bytes: int = 0) -> T:
        """Runs call in a write transaction, perhaps with those of others; returns when it is durable.

        call runs in a thread, and again when the map had to grow. size_bytes: about what it will write.
        Raises StoreStopped; then nothing of the transaction is there.
        """
        self._health.refuse_if_broken()
        await trio.lowlevel.checkpoint_if_cancelled()
        step = _Step(call, size_bytes)
        self._waiting.append(step)
        # A step that another's transaction takes along has an outcome that its caller must see: it is waited for.
        with trio.CancelScope(shield=True):
            async with self._turn:
                if not step.done:
                    await self._commit(self._group(step))
        if step.error is not None:
            raise step.error
        value: T = step.value
        return value

    def _group(self, mine: _Step) -> list[_Step]:
        group, size_bytes = [mine], mine.size_bytes
        self._waiting.remove(mine)
        while self._waiting and size_bytes + self._waiting[0].size_bytes <= GROUP_SIZE_BYTES_MAX:
            step = self._waiting.pop(0)
            group.append(step)
            size_bytes += step.size_bytes
        return group

    async def _commit(self, group: list[_Step]) -> None:
        rotten = list(self._rotten)
        error: BaseException | None = None
        try:
            self._make_room(sum(step.size_bytes for step in group) + len(group) * PAGES_TOUCHED_SIZE_BYTES)
            while True:
                try:
                    self.totals = await self._threads.run(self._transact, group, rotten)
                    break
                except lmdb.MapFullError:
                    self._environment.set_mapsize(self._environment.info()["map_size"] * 2)
            for key in rotten:
                self._rotten.pop(key, None)
            self._health.written("the catalog")
        except lmdb.Error as failure:
            self._stumbled(failure)
            self._read_on_after_a_panic()
            error = self._health.failed(self._named(failure), "the catalog")
            error.__cause__ = failure
        except Exception as failure:
            error = failure
        for step in group:
            step.done = True
            step.error = error

    def _named(self, error: lmdb.Error) -> lmdb.Error | OSError:
        # On a full disk LMDB says EIO where a write was cut short (mdb_page_flush); nothing of it is visible then.
        if error.code == errno.EIO:
            state = os.statvfs(self._environment.path())
            if state.f_bavail * state.f_frsize < GROUP_SIZE_BYTES_MAX:
                return OSError(errno.ENOSPC, str(error))
        return error

    def _transact(self, group: list[_Step], rotten: list[bytes]) -> dict[bytes, Total]:
        with self._environment.begin(write=True) as transaction:
            rows = Rows(transaction, dict(self.totals))
            for full in rotten:
                if opened(full, transaction.get(full)) is None:
                    rows.delete(full[:1], full[1:])
            for step in group:
                step.value = step.call(rows)
            rows.settle()
        return rows.totals

    def _make_room(self, size_bytes: int) -> None:
        # set_mapsize ends every read transaction; on trio's thread, with the turn held, there is none.
        state = self._environment.info()
        used = (state["last_pgno"] + 1) * self._environment.stat()["psize"]
        size = state["map_size"]
        while used + size_bytes > size * MAP_FILL_MAX:
            size *= 2
        if size != state["map_size"]:
            self._environment.set_mapsize(size)

    def _found_rotten(self, full: bytes) -> None:
        self._rotten[full] = None
        self._rotten_found += 1
        if self._rotten_found == ROTTEN_ROWS_MAX:
            _log.error("The catalog has %d rotten rows; it is rebuilt at the next start.", self._rotten_found)
            self.damaged()

    def _stumbled(self, error: lmdb.Error) -> None:
        if isinstance(error, _DAMAGE):
            _log.error("The catalog is damaged (%s); it is rebuilt at the next start.", error)
            self.damaged()

    def _read_on_after_a_panic(self) -> None:
        # A meta page that could not be written ends the environment, for readers too; what is on the disk is whole.
        try:
            self._environment.begin().abort()
        except lmdb.PanicError:
            path = self._environment.path()
            self._environment.close()
            self._environment = lmdb.open(path, readonly=True, lock=False, create=False, lib_version=0)
        except lmdb.Error:
            return  # each look-up says so itself

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._environment.close()


def open_environment(
    directory: Path, *, map_size_bytes: int = MAP_SIZE_BYTES_MIN
) -> tuple[lmdb.Environment, dict[bytes, Total]]:
    """Opens the catalog's file, frees the slots of dead readers and reads the totals. Raises lmdb.Error.

    Blocks: run it in a thread. A reading of all rows follows only where the totals themselves are absent or rotten.
    """
    data = directory / "data.mdb"
    size_bytes = data.stat().st_size if data.exists() else 0
    while size_bytes > map_size_bytes * MAP_FILL_MAX:
        map_size_bytes *= 2
    environment = lmdb.open(
        os.fspath(directory),
        map_size=map_size_bytes,
        mode=0o600,
        sync=True,
        metasync=True,
        writemap=False,
        max_readers=READERS_MAX,
        lib_version=0,
    )
    try:
        environment.reader_check()
        with environment.begin() as transaction:
            totals = {}
            for table in WEIGHED:
                key = TOTALS + table
                value = opened(key, transaction.get(key))
                if value is not None:
                    totals[table] = Total(*TOTAL.unpack(value))
        if len(totals) < len(WEIGHED):
            with environment.begin(write=True) as transaction:
                rows = Rows(transaction, {})
                rows.recount()
                totals = rows.totals
    except BaseException:
        environment.close()
        raise
    return environment, totals
