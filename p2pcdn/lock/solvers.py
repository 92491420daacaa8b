"""The solver's processes, as the node sees them: started when they are wanted, bounded, ended when they misbehave."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import trio

from p2pcdn.errors import P2pcdnError, RemoteProtocolError
from p2pcdn.lock import pipe
from p2pcdn.lock.feed import Feed
from p2pcdn.lock.worker import EXIT_OUT_OF_MEMORY, MEMORY_SIZE_BYTES_MAX
from p2pcdn.resolve import (
    BadRequirement,
    LacksFiles,
    Need,
    NoSolution,
    Solution,
    Source,
    Target,
    Wanted,
    from_plain,
    to_plain,
)
from p2pcdn.world import Process, Processes

log = logging.getLogger(__name__)

# Who wants to lock while so many others do waits for them: a solver takes a core.
SOLVERS_MAX = 2
# An idle one keeps some 40 MB; the next command of the same user comes soon or much later.
IDLE_TIME_S = 60.0
# The hardest known inputs take seconds. A solver that thinks for longer than this has lost its way.
SILENCE_TIME_S_MAX = 60.0
RECEIVE_SIZE_BYTES = 64 * 1024
# An isolated interpreter does not look where this package came from; so it is told.
_CODE = "import sys; sys.path.insert(0, sys.argv[1]); from p2pcdn.lock.worker import main; main()"
_ROOT = str(Path(__file__).parents[2])


class SolverFailed(P2pcdnError):
    """The solver's process ended, or was ended, before it had an answer (500). The node and its store are as before."""


class Solvers:
    """Those that run. Each is held open by a task of the nursery given here; used by one trio loop."""

    def __init__(
        self,
        processes: Processes,
        nursery: trio.Nursery,
        *,
        silence_s: float = SILENCE_TIME_S_MAX,
        code: str = _CODE,
    ) -> None:
        """silence_s: for how long one may think. code: what its interpreter runs (a test runs a worse one)."""
        self._processes = processes
        self._nursery = nursery
        self._silence_s = silence_s
        self._command = [sys.executable, "-I", "-c", code, _ROOT]
        self._places = trio.CapacityLimiter(SOLVERS_MAX)
        self._idle: list[_Child] = []

    @asynccontextmanager
    async def session(self, feed: Feed, *, within: bool = False) -> AsyncIterator[Session]:
        """A solver that knows nothing yet, for the targets of one lock. Raises SolverFailed.

        within: another session waits for this one (for what a build needs), so it waits for no place.
        """
        async with contextlib.nullcontext() if within else self._places:
            child = self._idle.pop() if self._idle else await self._start()
            child.wanted()
            try:
                yield Session(child, feed, for_build=within)
                await child.send({"do": "forget"})
            except BaseException:
                # In the middle of a resolution it would answer the next one with what belongs to this.
                child.end()
                raise
            child.leave_in(IDLE_TIME_S)
            self._idle.append(child)

    async def _start(self) -> _Child:
        child = _Child(self._silence_s)
        try:
            await self._nursery.start(self._live, child)
        except OSError as error:
            raise SolverFailed(f"The solver could not be started: {error}.") from error
        return child

    async def _live(self, child: _Child, *, task_status: trio.TaskStatus[None]) -> None:
        async with self._processes.open(self._command, {"LC_ALL": "C.UTF-8"}) as process:
            child.process = process
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_log_errors, process)
                task_status.started()
                await child.over()
                nursery.cancel_scope.cancel()
        with suppress(ValueError):
            self._idle.remove(child)


class Session:
    """One lock's use of a solver: resolution after resolution, each of which knows what those before it learned."""

    def __init__(self, child: _Child, feed: Feed, *, for_build: bool = False) -> None:
        """for_build: see `Resolver`."""
        self._for_build = for_build
        self._child = child
        self._feed = feed
        # What all of its resolutions looked at: see `Resolver`.
        self.looked_at: dict[str, dict[str, None]] = {}
        self.projects: dict[str, None] = {}

    async def resolve(self, wanted: Wanted, target: Target, *, spares: bool = False, advises: bool = True) -> Solution:
        """Raises NoSolution, BadRequirement, SolverFailed, and Unavailable where an index does not answer.

        spares: raises LacksFiles where only files are missing for this target. advises: a suggestion is looked for.
        """
        how = {"spares": spares, "advises": advises, "for_build": self._for_build}
        asked = {"do": "resolve", "wanted": to_plain(wanted), "target": to_plain(target), **how}
        said = await self._child.ask(asked)
        while said["say"] == "need":
            self._feed.stands_on(target, [from_plain(Source, one) for one in said["stands_on"]])
            tables, metadata = await self._feed.get(from_plain(Need, said["need"]))
            said = await self._child.ask({"do": "learn", "tables": tables, "metadata": metadata})
        if said["say"] == "none":
            raise NoSolution(tuple(said["sentences"]), said["suggestion"], tuple(said["requirements"]))
        if said["say"] == "bad":
            raise BadRequirement(said["sentence"])
        for project, keys in said["looked_at"].items():
            self.looked_at.setdefault(project, {}).update(dict.fromkeys(keys))
        self.projects |= dict.fromkeys(said["projects"])
        if said["say"] == "lacking":
            raise LacksFiles(said["clauses"])
        return from_plain(Solution, said["solution"])


class _Child:
    """One solver. Used by whoever has its session, else by nobody."""

    def __init__(self, silence_s: float) -> None:
        self.process: Process | None = None
        self._silence_s = silence_s
        self._messages = pipe.Messages()
        self._end = trio.Event()
        self._leaving = trio.CancelScope()

    async def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        await self.send(message)
        with trio.move_on_after(self._silence_s):
            return await self._receive()
        raise SolverFailed(
            f"The solver found no answer within {self._silence_s:.0f} s of thinking and was ended. "
            "Closer bounds in the requirements help it."
        )

    async def send(self, message: dict[str, Any]) -> None:
        assert self.process is not None
        try:
            await self.process.stdin.send_all(pipe.packed(message))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise await self._failed() from None

    async def _receive(self) -> dict[str, Any]:
        assert self.process is not None
        while True:
            try:
                chunk = await self.process.stdout.receive_some(RECEIVE_SIZE_BYTES)
                if not chunk:
                    raise await self._failed()
                for message in self._messages.receive(chunk):
                    return message
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise await self._failed() from None
            except RemoteProtocolError as error:
                raise SolverFailed(f"The solver's answer makes no sense: {error}.") from error

    async def _failed(self) -> SolverFailed:
        assert self.process is not None
        code = await self.process.wait()
        if code == EXIT_OUT_OF_MEMORY:
            limit = MEMORY_SIZE_BYTES_MAX >> 20
            return SolverFailed(f"The solver needed more than {limit} MiB and was ended. Closer bounds help it.")
        return SolverFailed(f"The solver ended by itself (exit code {code}); the node's log says more.")

    # -- its life -----------------------------------------------------------------------------------------------------

    async def over(self) -> None:
        """Returns when it is to end: told to, or idle for long enough."""
        with self._leaving:
            await self._end.wait()

    def end(self) -> None:
        self._end.set()

    def leave_in(self, time_s: float) -> None:
        self._leaving.deadline = trio.current_time() + time_s

    def wanted(self) -> None:
        self._leaving.deadline = float("inf")


async def _log_errors(process: Process) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while chunk := await process.stderr.receive_some(RECEIVE_SIZE_BYTES):
            log.warning("the solver says: %s", chunk.decode("utf-8", "replace").strip()[-4000:])
