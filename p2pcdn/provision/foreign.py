"""Builds for environments that somebody else keeps: `zephyr pip` brings the build requirements, the sandbox is ours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from p2pcdn.build import Builder, Built, Environment, Options, Sdist, Tree
from p2pcdn.digest import Sha256
from p2pcdn.errors import P2pcdnError, RemoteProtocolError
from p2pcdn.provision.building import FreshShelf, StoreShelf
from p2pcdn.store import Store
from p2pcdn.world import Processes, Threads

Goal = Literal["metadata", "editable-metadata", "wheel", "editable"]


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be built.

    source: a directory, or an archive with its hash. python: the interpreter that builds. environment: where its
    requirements are installed. satisfies: the requirements that it was made for; None where it is to do as it is.
    fresh: it is built even where the same inputs have made a wheel before (--no-cache-dir).
    """

    goal: Goal
    source: Path
    sha256: Sha256 | None
    python: Path
    environment: Environment
    satisfies: frozenset[str] | None
    options: Options
    allow_unsandboxed: bool = False
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it. needs: requirements that the environment lacks, and nothing else then."""

    needs: tuple[str, ...] = ()
    metadata: str = ""
    wheel: Path | None = None
    log: Path | None = None


class Lacking(P2pcdnError):
    """The environment does not hold what the build requires."""

    def __init__(self, needs: tuple[str, ...]) -> None:
        super().__init__("The build requires more than its environment holds.")
        self.needs = needs


@dataclass(slots=True)
class ForeignBuilds:
    """Used by one trio loop."""

    store: Store
    threads: Threads
    processes: Processes

    async def build(self, job: Job) -> Outcome:
        """Raises BuildFailed, SandboxUnusable, Refused, DigestMismatch."""

        async def environment(requirements: tuple[str, ...], python: Path) -> Environment:
            if job.satisfies is not None and not job.satisfies.issuperset(requirements):
                raise Lacking(requirements)
            return job.environment

        shelf = (FreshShelf if job.fresh else StoreShelf)(self.store, self.threads)
        builder = Builder(self.processes, self.threads, environment, shelf, self.store.workshop)
        try:
            return await self._built(builder, job)
        except Lacking as lacking:
            return Outcome(needs=lacking.needs)

    async def _built(self, builder: Builder, job: Job) -> Outcome:
        source = Tree(job.source, in_place=True) if job.sha256 is None else Sdist(job.source, job.sha256)
        unsandboxed = job.allow_unsandboxed
        if job.goal in ("metadata", "editable-metadata"):
            ask = builder.metadata
            if job.goal == "editable-metadata" and isinstance(source, Tree):
                ask = partial(builder.metadata, editable=True)
            told = await ask(source, job.python, job.options, allow_unsandboxed=unsandboxed)
            return Outcome(metadata=told.decode("utf-8", "replace"), log=builder.latest_log)
        made: Built
        if job.goal == "editable":
            if not isinstance(source, Tree):
                raise RemoteProtocolError("An editable build is of a directory.")
            made = await builder.editable(source, job.python, job.options, allow_unsandboxed=unsandboxed)
        else:
            made = await builder.wheel(source, job.python, job.options, allow_unsandboxed=unsandboxed)
        return Outcome(wheel=made.wheel, log=made.log)
