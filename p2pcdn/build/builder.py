"""The door of the room: source distributions, trees and eggs become wheels, or tell their metadata."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import trio
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)

from p2pcdn.build.cell import is_roots
from p2pcdn.build.failure import Unbuilt, whole_sentence
from p2pcdn.build.hooks import Answer, Hook
from p2pcdn.build.interpreter import describe
from p2pcdn.build.key import PLAIN, Options
from p2pcdn.build.log import BuildLog, open_log
from p2pcdn.build.project import BuildSystem, build_system
from p2pcdn.build.seams import Built, MakeEnvironment, Shelf
from p2pcdn.build.source import Egg, Source, Tree, claimed_project, lay_out, read_pyproject
from p2pcdn.build.work import BUILD_LIMITS, Tools, Work
from p2pcdn.errors import BuildFailed, RemoteProtocolError, SandboxUnusable
from p2pcdn.fetch.wheel import METADATA_SIZE_BYTES_MAX, wheel_metadata
from p2pcdn.sandbox.spec import Limits
from p2pcdn.world import Processes, Threads

T = TypeVar("T")

# A build that is one compiler after another keeps one core busy.
BUILDS_AT_ONCE_MAX = os.cpu_count() or 1
_WHEEL_HOOKS: tuple[Hook, Hook] = ("get_requires_for_build_wheel", "prepare_metadata_for_build_wheel")
_EDITABLE_HOOKS: tuple[Hook, Hook] = ("get_requires_for_build_editable", "prepare_metadata_for_build_editable")
_CONVERTER = BuildSystem(("wheel",), "wheel")


class Builder:
    """Builds for one node, several at once.

    workshop: a directory of its own, mode 0700; what is laid out there is gone after each build, but for the logs.
    """

    def __init__(
        self,
        processes: Processes,
        threads: Threads,
        make_environment: MakeEnvironment,
        shelf: Shelf,
        workshop: Path,
        *,
        limits: Limits = BUILD_LIMITS,
        at_once_max: int = BUILDS_AT_ONCE_MAX,
    ) -> None:
        self._tools = Tools(processes, threads, make_environment, trio.CapacityLimiter(at_once_max), limits)
        self._shelf = shelf
        self._workshop = workshop
        # What the latest build wrote; for who has a builder to himself.
        self.latest_log: Path | None = None

    async def tidy(self) -> None:
        """Removes what a node that was killed in the middle of a build left in the workshop; before the first build."""
        for left in await self._tools.threads.run(lambda: list(self._workshop.glob("work-*"))):
            await self._tools.threads.run(shutil.rmtree, left, ignore_errors=True)

    async def wheel(
        self, source: Source, python: Path, options: Options = PLAIN, *, allow_unsandboxed: bool = False
    ) -> Built:
        """The wheel of a source, for an interpreter; from the shelf where the same inputs have made it before.

        allow_unsandboxed: the user's own word, for this build: where this machine has no sandbox, or it fails in it, it
        may run as this user. `Built.bare_because` says when that was done; the caller writes it into the audit log.

        Raises BuildFailed (with the last lines of its output, and the log), SandboxUnusable, Refused for a hostile
        archive, DigestMismatch, and what the maker of environments raises.
        """

        async def attempt(bare_because: str | None) -> Built:
            async with self._work(source, python, options, bare_because, editable=False) as work:
                egg = isinstance(source, Egg)
                await work.prepare(None if egg else "get_requires_for_build_wheel")
                return await self._made(work, "convert_egg" if egg else "build_wheel", claimed_project(source))

        return await _by_the_users_word(allow_unsandboxed, attempt)

    async def editable(
        self, tree: Tree, python: Path, options: Options = PLAIN, *, allow_unsandboxed: bool = False
    ) -> Built:
        """The editable wheel of a tree (PEP 660), built in the tree itself. Raises like `wheel`."""

        async def attempt(bare_because: str | None) -> Built:
            async with self._work(tree, python, options, bare_because, editable=True) as work:
                await work.prepare("get_requires_for_build_editable")
                return await self._made(work, "build_editable", None)

        return await _by_the_users_word(allow_unsandboxed, attempt)

    async def sdist(
        self, tree: Tree, python: Path, options: Options = PLAIN, *, allow_unsandboxed: bool = False
    ) -> Built:
        """The source distribution of a tree (PEP 517, `build_sdist`), as `Built.wheel`. Raises like `wheel`."""

        async def attempt(bare_because: str | None) -> Built:
            async with self._work(tree, python, options, bare_because, editable=False) as work:
                await work.prepare("get_requires_for_build_sdist")
                return await self._made(work, "build_sdist", None)

        return await _by_the_users_word(allow_unsandboxed, attempt)

    async def metadata(
        self,
        source: Source,
        python: Path,
        options: Options = PLAIN,
        *,
        allow_unsandboxed: bool = False,
        editable: bool = False,
    ) -> bytes:
        """The METADATA of the wheel that a source would become; without building it where its backend can.

        editable: of a tree, the metadata of its editable wheel. Where the backend cannot, the wheel is built and kept.
        Raises like `wheel`.
        """
        requires, prepare = _EDITABLE_HOOKS if editable else _WHEEL_HOOKS

        async def attempt(bare_because: str | None) -> bytes | None:
            async with self._work(source, python, options, bare_because, editable=editable) as work:
                await work.prepare(requires)
                answer = await work.hook(prepare)
                return None if answer.missing else await self._tools.threads.run(_read_metadata, work.answer)

        told = None if isinstance(source, Egg) else await _by_the_users_word(allow_unsandboxed, attempt)
        if told is not None:
            return told
        if editable and isinstance(source, Tree):
            built = await self.editable(source, python, options, allow_unsandboxed=allow_unsandboxed)
        else:
            built = await self.wheel(source, python, options, allow_unsandboxed=allow_unsandboxed)
        return await self._metadata_of(built.wheel)

    async def _made(self, work: Work, hook: Hook, project: str | None) -> Built:
        key = work.key(hook)
        # A build in a tree does some of its work there, and no wheel that is kept has done that.
        kept = None if work.in_place else await self._shelf.find(key)
        wheel = kept or await self._shelf.keep(key, await self._make(work, hook, project))
        pins = work.environment.pins
        return Built(wheel, key, pins, kept is not None, work.layers, work.bare_because, work.log.path)

    async def _make(self, work: Work, hook: Hook, project: str | None) -> Path:
        answer = await work.hook(hook)
        if hook == "build_sdist":
            sdist = work.workplace / _checked_sdist(answer, work.system)
            await self._tools.threads.run(work.answer.rename, sdist)
            return sdist
        wheel = work.workplace / _checked_name(answer, hook, work.system, project)
        await self._tools.threads.run(work.answer.rename, wheel)
        try:
            await self._metadata_of(wheel)
        except RemoteProtocolError as error:
            raise Unbuilt(f"what its backend made is no wheel ({error})") from error
        return wheel

    @asynccontextmanager
    async def _work(
        self, source: Source, python: Path, options: Options, bare_because: str | None, *, editable: bool
    ) -> AsyncIterator[Work]:
        """One build from its workplace to its end. What stops it leaves as a whole sentence."""
        run, name = self._tools.threads.run, source.path.name
        workplace, log = await run(self._begin, name)
        self.latest_log = log.path
        try:
            interpreter = await describe(self._tools.processes, self._tools.threads, python)
            tree, digest = await run(lay_out, source, workplace)
            system = _CONVERTER
            if not isinstance(source, Egg):
                system = build_system(await run(read_pyproject, tree, options.subdirectory))
            in_place = editable or (isinstance(source, Tree) and source.in_place and not is_roots(tree))
            told = (self._tools, name, workplace, tree, digest, system, interpreter, options, log)
            yield Work(*told, bare_because, in_place)
        except (Unbuilt, OSError) as error:
            raise whole_sentence(name, error, log) from error
        finally:
            log.close()
            with trio.CancelScope(shield=True):
                await run(shutil.rmtree, workplace, ignore_errors=True)

    def _begin(self, name: str) -> tuple[Path, BuildLog]:
        """It runs in a thread. Readable inside the sandbox, whoever it runs as; the workshop above it is private."""
        self._workshop.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark = secrets.token_hex(4)
        workplace = self._workshop / f"work-{mark}"
        workplace.mkdir()
        workplace.chmod(0o755)
        return workplace, open_log(self._workshop / "logs", f"{name[:100]}-{mark}", self._tools.threads)

    async def _metadata_of(self, wheel: Path) -> bytes:
        async with await trio.open_file(wheel, "rb") as file:

            async def read(offset: int, size_bytes: int) -> bytes:
                await file.seek(offset)
                return await file.read(size_bytes)

            size_bytes = await file.seek(0, os.SEEK_END)
            return await wheel_metadata(wheel.name, size_bytes, read)


async def _by_the_users_word(allowed: bool, attempt: Callable[[str | None], Awaitable[T]]) -> T:
    """In the sandbox. Outside of it, once more, only where that failed and the user has said that it may be so."""
    try:
        return await attempt(None)
    except (SandboxUnusable, BuildFailed) as error:
        if not allowed:
            raise
        because = str(error)
    return await attempt(because)


def _checked_name(answer: Answer, hook: Hook, system: BuildSystem, project: str | None) -> str:
    """The file name of the wheel. Raises Unbuilt for none, or one of another project."""
    if answer.name is None:
        raise Unbuilt(f"its backend {system.backend} has no {hook}")
    try:
        made = parse_wheel_filename(answer.name)[0]
    except InvalidWheelFilename as error:
        raise Unbuilt(f"its backend made {answer.name!r}, which is not the name of a wheel") from error
    if project is not None and canonicalize_name(project) != made:
        raise Unbuilt(f"its backend made {answer.name!r}, the wheel of another project")
    return answer.name


def _checked_sdist(answer: Answer, system: BuildSystem) -> str:
    """The file name of the source distribution. Raises Unbuilt for none, or one that no installer would read."""
    if answer.name is None:
        raise Unbuilt(f"its backend {system.backend} has no build_sdist")
    try:
        parse_sdist_filename(answer.name)
    except InvalidSdistFilename as error:
        raise Unbuilt(
            f"its backend made {answer.name!r}, which is not the name of a source distribution (PEP 625)"
        ) from error
    return answer.name


def _read_metadata(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(METADATA_SIZE_BYTES_MAX + 1)
    if len(content) > METADATA_SIZE_BYTES_MAX or not content.strip():
        raise Unbuilt("its METADATA is empty or too long")
    return content
