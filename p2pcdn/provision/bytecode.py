"""Byte code of trees: compiled once for an interpreter, by that interpreter itself, and taken from nobody else."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from p2pcdn.digest import Sha256
from p2pcdn.envs.listing import Listing
from p2pcdn.errors import P2pcdnError
from p2pcdn.flight import Flights
from p2pcdn.provision.spoken import GONE, Answers, log_errors
from p2pcdn.store import Made, Store, Tree
from p2pcdn.world import Process, Processes, Threads

log = logging.getLogger(__name__)

# A core each; the node serves files meanwhile.
COMPILERS_MAX = 2
# The largest wheels have some 10,000 sources, which take a slow machine a minute.
COMPILE_TIME_S_MAX = 300.0
ANSWER_SIZE_BYTES_MAX = 16 * 1024 * 1024
_SCRIPT = str(Path(__file__).with_name("compile_script.py"))
_CACHE_TAG = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)


class CompileFailed(P2pcdnError):
    """The interpreter did not compile (500): it ended, or took too long. Everything works without byte code, slower."""


@dataclass(frozen=True, slots=True)
class Bytecode:
    """For whom byte code is: the interpreter's path, and its cache tag (PEP 3147), which names the byte code's trees.

    wait: whether who asks waits for it; else it is made afterwards, for the next one.
    """

    interpreter: str
    cache_tag: str
    wait: bool = False

    def is_sound(self) -> bool:
        return bool(_CACHE_TAG.fullmatch(self.cache_tag)) and Path(self.interpreter).is_absolute()


@dataclass(slots=True)
class Compiler:
    """Used by one trio loop. What is compiled is kept beside the wheel's tree, and goes with it."""

    store: Store
    processes: Processes
    threads: Threads
    nursery: trio.Nursery
    _flights: Flights[tuple[Sha256, str], Tree] = field(init=False)
    _places: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(COMPILERS_MAX))

    def __post_init__(self) -> None:
        self._flights = Flights(self.nursery)

    async def compile(self, trees: Sequence[Tree], bytecode: Bytecode) -> None:
        """Makes what is missing of these trees' byte code. Raises CompileFailed, StoreStopped."""
        missing = [tree for tree in trees if self.store.tree(tree.key.sha256, bytecode.cache_tag) is None]
        if not missing:
            return
        shares = [missing[at::COMPILERS_MAX] for at in range(min(COMPILERS_MAX, len(missing)))]
        failures: list[P2pcdnError] = []

        async def work(share: list[Tree]) -> None:
            try:
                await self._compile_all(share, bytecode)
            except P2pcdnError as error:  # raised below, for a nursery makes a group of it
                failures.append(error)

        async with trio.open_nursery() as nursery:
            for share in shares:
                nursery.start_soon(work, share)
        if failures:
            raise failures[0]

    async def _compile_all(self, trees: list[Tree], bytecode: Bytecode) -> None:
        async with self._places, self._interpreter(bytecode) as interpreter:
            for tree in trees:
                key = (tree.key.sha256, bytecode.cache_tag)

                async def make(tree: Tree = tree) -> Tree:
                    # Another compiler may have been there: what is made again takes the place of what somebody links.
                    made = self.store.tree(tree.key.sha256, bytecode.cache_tag)
                    return made or await self._keep(tree, bytecode, interpreter)

                await self._flights.join(key, make)

    async def _keep(self, tree: Tree, bytecode: Bytecode, interpreter: _Interpreter) -> Tree:
        sources = sources_of(await self.threads.run(Listing.decode, tree.listing))

        async def make(_: Path, directory: Path) -> Made:
            directory.mkdir(0o755)  # noqa: ASYNC240 - one system call
            compiled = await interpreter.compile(tree.path, directory, sources)
            size_bytes = await self.threads.run(_size_bytes, directory)
            return Made(json.dumps(compiled).encode(), size_bytes)

        return await self.store.keep_tree(tree.key.sha256, make, bytecode.cache_tag)

    @asynccontextmanager
    async def _interpreter(self, bytecode: Bytecode) -> AsyncIterator[_Interpreter]:
        # -S: no site-packages, whose .pth files would run code. -I: nothing of the user's. -W: what an interpreter has
        # to say of other people's sources is for them.
        command = [bytecode.interpreter, "-I", "-S", "-B", "-W", "ignore", _SCRIPT]
        try:
            opened = self.processes.open(command, {"LC_ALL": "C.UTF-8"})
            process = await opened.__aenter__()
        except OSError as error:
            raise CompileFailed(f"The interpreter {bytecode.interpreter} cannot be started: {error}.") from error
        self.nursery.start_soon(log_errors, process, "a compiler")
        try:
            yield _Interpreter(process)
        finally:
            await opened.__aexit__(None, None, None)


class _Interpreter:
    """The interpreter that compiles; one question after another."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._answers = Answers(process, ANSWER_SIZE_BYTES_MAX)

    async def compile(self, tree: Path, directory: Path, sources: Sequence[str]) -> list[str]:
        """The paths of what was compiled, below the directory. Raises CompileFailed."""
        question = json.dumps([str(tree), str(directory), list(sources)]).encode() + b"\n"
        with trio.move_on_after(COMPILE_TIME_S_MAX):
            try:
                await self._process.stdin.send_all(question)
                return [str(path) for path in json.loads(await self._answers.line())]
            except (*GONE, ValueError) as error:
                raise CompileFailed(f"The interpreter ended while it compiled {tree.name}.") from error
        raise CompileFailed(f"The interpreter did not compile {tree.name} within {COMPILE_TIME_S_MAX:.0f} s.")


def sources_of(listing: Listing) -> list[str]:
    """The modules of a wheel that an import can find: those below its root, scripts and data not."""
    return [entry.path for entry in listing.entries if entry.part == "root" and entry.path.endswith(".py")]


def compiled_of(tree: Tree) -> tuple[str, ...]:
    """What a tree of byte code holds, as its listing says."""
    return tuple(json.loads(tree.listing))


def _size_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*.pyc"))
