"""One build under way: the sources laid out, the environments made, the sandbox tried, the hooks called."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio

from p2pcdn.build.cell import Cell, SandboxCell, bare_cell, cell_in_place, sandbox_cell
from p2pcdn.build.failure import Unbuilt
from p2pcdn.build.hooks import HEAD_SIZE_BYTES_MAX, WHEEL_SIZE_BYTES_MAX, Answer, Ask, Hook, call
from p2pcdn.build.interpreter import Interpreter
from p2pcdn.build.key import Inputs, Options, build_key
from p2pcdn.build.log import BuildLog
from p2pcdn.build.project import BuildSystem, checked_requirements
from p2pcdn.build.seams import Environment, MakeEnvironment
from p2pcdn.build.source import environments_in, put_aside, repositories_in
from p2pcdn.digest import Sha256
from p2pcdn.errors import P2pcdnError
from p2pcdn.resolve import NoSolution
from p2pcdn.sandbox.probe import check
from p2pcdn.sandbox.run import Layers
from p2pcdn.sandbox.spec import Limits
from p2pcdn.world import Processes, Threads


def _limits() -> Limits:
    """A build may take half of the machine's memory, and its files, which lie in memory, a quarter."""
    limits = Limits(stdout_bytes=WHEEL_SIZE_BYTES_MAX + HEAD_SIZE_BYTES_MAX)
    if not hasattr(os, "sysconf"):
        return limits  # no Unix, no sandbox; what remains are limits of time and output
    machine_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return replace(
        limits,
        memory_bytes=min(limits.memory_bytes, machine_bytes // 2),
        scratch_bytes=min(limits.scratch_bytes, machine_bytes // 4),
    )


BUILD_LIMITS = _limits()


def _closed(tree: Path) -> tuple[set[Path], set[Path]]:
    """The environments of a tree, and its repositories beside them."""
    environments = set(environments_in(tree))
    return environments, set(repositories_in(tree, environments))


def _put_aside(tree: Path, environments: set[Path], repositories: set[Path]) -> list[str]:
    """All that have become repositories meanwhile; what was done, in sentences."""
    made = [one for one in repositories_in(tree, environments) if one not in repositories]
    return [f"{one} was not there before the build; it is {put_aside(one).name} now." for one in made]


@dataclass(frozen=True, slots=True)
class Tools:
    """What every build of a node works with. slots: how many hooks run at once; held by none that waits for others."""

    processes: Processes
    threads: Threads
    make_environment: MakeEnvironment
    slots: trio.CapacityLimiter
    limits: Limits = BUILD_LIMITS


@dataclass(slots=True)
class Work:
    """Belongs to one task. `environment` and `layers` are there after `prepare`.

    bare_because: None for the sandbox; else why it runs outside of any, as the user has allowed.
    in_place: in the tree itself, and not in a copy of it.
    """

    tools: Tools
    name: str
    workplace: Path
    tree: Path
    digest: Sha256
    system: BuildSystem
    interpreter: Interpreter
    options: Options
    log: BuildLog
    bare_because: str | None
    in_place: bool
    environment: Environment = field(init=False)
    layers: Layers | None = None

    async def prepare(self, ask_for_more: Hook | None) -> None:
        """Makes the environment of build-system.requires, tries the sandbox, and asks the backend what else it needs.

        Raises SandboxUnusable, Unbuilt, and what the maker of environments raises.
        """
        await self._make_environment(self.system.requires)
        async with self.tools.slots:
            await self._try_sandbox()
        if ask_for_more is None:
            return
        more = checked_requirements((await self.hook(ask_for_more)).value)
        if more:
            await self._make_environment((*self.system.requires, *more))

    async def hook(self, hook: Hook) -> Answer:
        """Calls a hook; the file that it makes is `answer`. Raises Unbuilt."""
        ask = Ask(hook, self.system, self.environment, self.options, self.answer)
        async with self.tools.slots, self._repositories_kept():
            return await call(await self._cell(), ask, self.tools.limits, self.log, self.tools.threads)

    @asynccontextmanager
    async def _repositories_kept(self) -> AsyncIterator[None]:
        """A sandboxed build in place makes no repository where there was none: the user's git would run its hooks.

        The user may have made one himself meanwhile, so none is removed.
        """
        if not self.in_place or self.bare_because is not None:
            yield
            return
        run = self.tools.threads.run
        environments, repositories = await run(_closed, self.tree)
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):
                for sentence in await run(_put_aside, self.tree, environments, repositories):
                    await self.log.write(f"p2pcdn: {sentence}\n".encode())

    @property
    def answer(self) -> Path:
        return self.workplace / "answer"

    def key(self, hook: Hook) -> Sha256:
        """What the hook's outcome is kept by; after `prepare`."""
        identity, platform = self.interpreter.identity, self.interpreter.platform
        sandboxed = self.layers is not None
        place = str(self.tree) if self.in_place else ""
        made_of = (self.digest, self.environment.pins, identity, platform, self.options)
        return build_key(Inputs(*made_of, hook, sandboxed, place))

    async def _make_environment(self, requirements: tuple[str, ...]) -> None:
        try:
            self.environment = await self.tools.make_environment(requirements, self.interpreter.python)
        except NoSolution as error:  # else it would pass for one of whoever needs what is built here
            needs = f"no versions fit of what it needs for that ({', '.join(requirements)})"
            raise Unbuilt(f"{needs}. {str(error).rstrip('.')}") from error
        except P2pcdnError as error:
            error.add_note(f"This was for the build of {self.name}, which needs {', '.join(requirements)}.")
            raise

    async def _try_sandbox(self) -> None:
        """Runs the escape probes. Raises SandboxUnusable."""
        if self.bare_because is not None:
            await self.log.write(f"p2pcdn: outside of a sandbox, as allowed. {self.bare_because}\n".encode())
            return
        python = str(self.environment.python)
        self.layers = await check(self.tools.processes, (await self._sandbox()).spec, python, self.workplace)

    async def _cell(self) -> Cell:
        if self.bare_because is None:
            return await self._sandbox()
        arguments = self.tools.processes, self.tools.limits, self.tree, self.workplace
        return await self.tools.threads.run(bare_cell, *arguments, in_place=self.in_place)

    async def _sandbox(self) -> SandboxCell:
        make = cell_in_place if self.in_place else sandbox_cell
        arguments = self.tools.processes, self.tools.limits, self.interpreter, self.environment, self.tree
        return await self.tools.threads.run(make, *arguments)
