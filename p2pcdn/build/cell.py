"""Where a hook runs: in a sandbox, or, by the user's word, outside of any. Both look the same to the hook."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Protocol

from p2pcdn.build.interpreter import Interpreter
from p2pcdn.build.key import Options
from p2pcdn.build.seams import Environment
from p2pcdn.build.source import environments_in, repositories_in
from p2pcdn.errors import SandboxUnusable
from p2pcdn.sandbox.plan import SCRATCH
from p2pcdn.sandbox.run import Outcome, Sink, drive, run, user_outside
from p2pcdn.sandbox.spec import NOBODY, Bind, Limits, Spec
from p2pcdn.world import Processes

INPUT = PurePosixPath("/input")


@dataclass(frozen=True, slots=True)
class Places:
    """Paths as the hook sees them. copy_from: is copied to `source`; None where the sources lie there already."""

    copy_from: str | None
    source: str
    out: str
    home: str
    temporary: str


class Cell(Protocol):
    """One kind of surroundings; every `run` begins with fresh ones, but for a tree in place."""

    @property
    def places(self) -> Places: ...

    async def run(
        self, argv: list[str], environment: Mapping[str, str], stdin: bytes, stdout: Sink, stderr: Sink
    ) -> Outcome: ...


@dataclass(frozen=True, slots=True)
class SandboxCell:
    """In a sandbox, with what `spec` shows."""

    processes: Processes
    spec: Spec
    places: Places

    async def run(
        self, argv: list[str], environment: Mapping[str, str], stdin: bytes, stdout: Sink, stderr: Sink
    ) -> Outcome:
        spec = replace(self.spec, environment=environment)
        return await run(self.processes, spec, argv, stdin, stdout=stdout, stderr=stderr)


@dataclass(frozen=True, slots=True)
class BareCell:
    """As the node's user, with all that this user may do. The limits of time and output hold here too, no others."""

    processes: Processes
    limits: Limits
    places: Places

    async def run(
        self, argv: list[str], environment: Mapping[str, str], stdin: bytes, stdout: Sink, stderr: Sink
    ) -> Outcome:
        async with self.processes.open(argv, environment, Path(self.places.home)) as process:
            return await drive(process, self.limits, stdin, stdout=stdout, stderr=stderr)


def sandbox_cell(
    processes: Processes, limits: Limits, interpreter: Interpreter, environment: Environment, tree: Path
) -> SandboxCell:
    """The sources read-only, copied into scratch by the hook program; interpreter and requirements read-only."""
    spec = Spec((*_shown(interpreter, environment), Bind(tree, INPUT)), limits=limits, user=_who_reads(tree))
    places = Places(str(INPUT), f"{SCRATCH}/source", f"{SCRATCH}/out", f"{SCRATCH}/home", f"{SCRATCH}/tmp")
    return SandboxCell(processes, spec, places)


def cell_in_place(
    processes: Processes, limits: Limits, interpreter: Interpreter, environment: Environment, tree: Path
) -> SandboxCell:
    """The tree itself, writable at its own path: an editable wheel names it, and extensions are built in it.

    But for each `.git`, where a build could leave a hook that git runs outside of any sandbox, and for environments,
    whose files may be links to those of the store: all others would get what a build writes there. It runs in a thread.
    Raises SandboxUnusable where `is_roots`.
    """
    if is_roots(tree):
        raise SandboxUnusable(
            f"{tree} belongs to root, and a sandbox for an editable build runs as the tree's owner, who must not be"
            " root; give it to another user. Nothing was run."
        )
    # What the environment has in the tree (it may be installed there, editable) is writable, as all of the tree is.
    environment = replace(environment, also=tuple(one for one in environment.also if not _lies_in(one, tree)))
    environments = list(environments_in(tree))
    closed = [*repositories_in(tree, environments), *environments]
    binds = (*_shown(interpreter, environment), Bind(tree, writable=True), *map(Bind, closed))
    spec = Spec(binds, limits=limits, user=_who_reads(tree))
    places = Places(None, str(tree), f"{SCRATCH}/out", f"{SCRATCH}/home", f"{SCRATCH}/tmp")
    return SandboxCell(processes, spec, places)


def _lies_in(path: Path, tree: Path) -> bool:
    return path.resolve().is_relative_to(tree.resolve())


def is_roots(tree: Path) -> bool:
    """Whether a build in this tree would have to run as root, for whom no limit on processes holds.

    Not so in a container of one user, whose root is nobody special to the kernel, and does not become another.
    """
    return tree.stat().st_uid == 0 and user_outside(Spec())[0] != 0


def bare_cell(processes: Processes, limits: Limits, tree: Path, workplace: Path, *, in_place: bool) -> BareCell:
    """Fresh directories in the workplace. It runs in a thread."""
    fresh = Path(tempfile.mkdtemp(prefix="bare-", dir=workplace))
    for name in ("home", "tmp"):
        (fresh / name).mkdir()
    copy_from, source = (None, tree) if in_place else (str(tree), fresh / "source")
    places = Places(copy_from, str(source), f"{fresh}/out", f"{fresh}/home", f"{fresh}/tmp")
    return BareCell(processes, limits, places)


def surroundings(options: Options, environment: Environment, places: Places) -> dict[str, str]:
    """The variables of a build: what makes it the same everywhere, and what the user added."""
    return {
        "PATH": f"{environment.python.parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": places.home,
        "TMPDIR": places.temporary,
        "USER": "build",
        "LOGNAME": "build",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "SOURCE_DATE_EPOCH": str(options.source_date_epoch),
        # A setup.py that calls pip gets its answer at once, and not after pip's retries.
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        **options.environment,
    }


def _who_reads(tree: Path) -> tuple[int, int]:
    """Where the node is root: the owner of the tree, who can read it, unless that is root."""
    state = tree.stat()
    return (state.st_uid, state.st_gid) if state.st_uid else (NOBODY, NOBODY)


def _shown(interpreter: Interpreter, environment: Environment) -> tuple[Bind, ...]:
    return tuple(Bind(tree) for tree in (*interpreter.trees, environment.directory, *environment.also))
