"""Wheels unpacked beside the node's loop: a few in its threads, many in processes of their own.

Unpacking is thousands of short steps, between which a thread wants the interpreter again that the loop has.
"""

from __future__ import annotations

import json
import logging
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from p2pcdn.envs.errors import BadWheel
from p2pcdn.envs.unpack import remove_leftovers, unpack
from p2pcdn.provision.spoken import GONE, Answers, log_errors
from p2pcdn.store import Made
from p2pcdn.world import Process, Processes, Threads

log = logging.getLogger(__name__)

# Unpacking writes and hashes; two of them keep two cores and a disk busy, and more gained nothing.
UNPACKINGS_MAX = 2
# To start a process takes as long as some ten small wheels; that pays where so many come in a row,
ROW_MIN = 4
# one at most so long after another.
ROW_PAUSE_S = 2.0
# An idle one has 14 MB for itself, and nobody knows whether another wheel comes.
IDLE_TIME_S = 0.5
# A listing of the most files that a wheel may have, with long names.
ANSWER_SIZE_BYTES_MAX = 64 * 1024 * 1024
# An isolated interpreter does not look where this package came from; so it is told.
_CODE = "import sys; sys.path.insert(0, sys.argv[1]); from p2pcdn.envs.unpacker import main; main()"
# As the node looks after its own memory (`allocator.py`): glibc else keeps what the largest wheel needed, 4 MB each.
_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "MALLOC_ARENA_MAX": "1"} | dict.fromkeys(
    ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(256 * 1024)
)
_ROOT = str(Path(__file__).parents[2])


@dataclass(slots=True)
class Unpackers:
    """Used by one trio loop. Each process is held open by a task of the nursery given here."""

    processes: Processes
    threads: Threads
    nursery: trio.Nursery
    code: str = _CODE  # what their interpreters run; a test runs a worse one
    _places: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(UNPACKINGS_MAX))
    _idle: list[_Unpacker] = field(default_factory=list)
    _started: int = 0
    _row: int = 0
    _last_s: float = -ROW_PAUSE_S

    async def unpack(self, wheel: Path, filename: str, tree: Path) -> Made:
        """See `envs.unpack`; it raises the same. Whoever comes when two unpack waits."""
        async with self._places:
            self._count()
            if not self._idle:
                return await self.threads.run(_unpacked, wheel, filename, tree)
            unpacker = self._idle.pop()
            try:
                made = await unpacker.unpack(wheel, filename, tree)
            except _Ended as error:
                unpacker.leave.cancel()
                await unpacker.gone.wait()  # one that makes no sense may still write
                log.warning("an unpacking process ended: %s; it is done in a thread", error)
                return await self.threads.run(_unpacked, wheel, filename, tree)
            except (BadWheel, OSError):
                self._rest(unpacker)
                raise
            except BaseException:
                unpacker.leave.cancel()
                raise
            self._rest(unpacker)
            return made

    @property
    def idle(self) -> int:
        """Processes that wait for a wheel."""
        return len(self._idle)

    def _count(self) -> None:
        now = trio.current_time()
        self._row = self._row + 1 if now - self._last_s < ROW_PAUSE_S else 1
        self._last_s = now
        if self._row >= ROW_MIN and self._started < UNPACKINGS_MAX:
            self._started += 1
            self.nursery.start_soon(self._live)

    def _rest(self, unpacker: _Unpacker) -> None:
        unpacker.leave.deadline = trio.current_time() + IDLE_TIME_S
        self._idle.append(unpacker)

    async def _live(self) -> None:
        command = [sys.executable, "-I", "-c", self.code, _ROOT]
        unpacker: _Unpacker | None = None
        try:
            async with self.processes.open(command, _ENVIRONMENT) as process:
                unpacker = _Unpacker(process)
                await self._serve(unpacker)
            if unpacker.tree is not None:
                await self.threads.run(remove_leftovers, unpacker.tree)
        except OSError as error:
            log.warning("no process could be started to unpack in: %s", error)
        finally:
            self._started -= 1
            if unpacker is not None:
                unpacker.gone.set()

    async def _serve(self, unpacker: _Unpacker) -> None:
        """Until it was idle for long enough, or has ended."""
        self._rest(unpacker)
        try:
            with unpacker.leave:
                await log_errors(unpacker.process, "an unpacking process")
        finally:
            with suppress(ValueError):
                self._idle.remove(unpacker)


class _Ended(Exception):
    """The process is gone, or makes no sense."""


@dataclass(slots=True, eq=False)
class _Unpacker:
    """One process; one question after another."""

    process: Process
    leave: trio.CancelScope = field(default_factory=trio.CancelScope)
    gone: trio.Event = field(default_factory=trio.Event)
    tree: Path | None = None  # what it unpacks
    answers: Answers = field(init=False)

    def __post_init__(self) -> None:
        self.answers = Answers(self.process, ANSWER_SIZE_BYTES_MAX)

    async def unpack(self, wheel: Path, filename: str, tree: Path) -> Made:
        """Raises BadWheel, OSError; _Ended: then nobody knows whether it is unpacked."""
        self.leave.deadline = float("inf")
        self.tree = tree
        question = json.dumps([str(wheel), filename, str(tree)]).encode() + b"\n"
        try:
            await self.process.stdin.send_all(question)
            said: dict[str, Any] = json.loads(await self.answers.line())
            listing = await self.answers.exactly(said.get("listing_bytes", 0))
            self.tree = None
            if "bad" in said:
                raise BadWheel(said["bad"])
            if "errno" in said:
                raise OSError(said["errno"], said["text"])
            return Made(listing, said["size_bytes"])
        except (*GONE, ValueError, LookupError, TypeError, AttributeError) as error:
            raise _Ended(f"{type(error).__name__} {error}") from error


def _unpacked(wheel: Path, filename: str, tree: Path) -> Made:
    listing = unpack(wheel, filename, tree)
    return Made(listing.encode(), listing.size_bytes)
