"""Source distributions on their way into locks and environments: their metadata, and the wheels that they become.

The room `build` does the building; here it gets what it asks for: environments with build requirements in them, made as
any other environment is, and a shelf for its wheels, which is the store.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import zipfile
import zlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from p2pcdn import frames
from p2pcdn.build import Builder, Built, Environment, Options, Sdist
from p2pcdn.build import Tree as SourceTree
from p2pcdn.build.key import Settings
from p2pcdn.digest import Sha256
from p2pcdn.envs.model import Directory
from p2pcdn.errors import BuildFailed
from p2pcdn.fetch import Fetch, Wanted
from p2pcdn.fetch.wheel import METADATA_SIZE_BYTES_MAX
from p2pcdn.provision.asked import Ready, Wheel
from p2pcdn.provision.links import named_link
from p2pcdn.provision.local import keep_file
from p2pcdn.provision.toolchain import Toolchain, installed
from p2pcdn.resolve import NoSolution, read_metadata
from p2pcdn.resolve import Source as Named
from p2pcdn.store import Store
from p2pcdn.world import Processes, Threads

# A build requirement that must itself be built, and so on: honest chains have two or three links.
NESTED_BUILDS_MAX = 8
# PKG-INFO is among the first members; who hides it behind more than these hides it.
MEMBERS_LOOKED_AT_MAX = 5_000

# The sdists that are being built above this one.
_above: ContextVar[tuple[str, ...]] = ContextVar("_above", default=())


_toolchain: ContextVar[Toolchain] = ContextVar("_toolchain")

# Resolves requirements for a toolchain and makes all their trees ready. Raises what that raises.
# The last argument: the builds that wait for it, the outermost first.
MakeReady = Callable[[tuple[str, ...], Toolchain, tuple[str, ...]], Awaitable[Ready]]


Kind = Literal["sdist", "wheel"]
# Told how many of how many are made, and which came last.
Made = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Distribution:
    """A file that a project hands out. path: under its own name, in the store's workshop; copy it, it is a link."""

    kind: Kind
    path: Path
    how: str


@dataclass(slots=True)
class Builds:
    """Used by one trio loop."""

    store: Store
    fetch: Fetch
    threads: Threads
    processes: Processes
    make_ready: MakeReady
    _builder: Builder = field(init=False)

    def __post_init__(self) -> None:
        shelf = StoreShelf(self.store, self.threads)
        workshop = self.store.workshop
        self._builder = Builder(self.processes, self.threads, self._environment, shelf, workshop)

    async def metadata(self, wanted: Wanted, toolchain: Toolchain, subdirectory: str = "") -> bytes:
        """What an sdist's wheel will say of itself: as its PKG-INFO says, if that is final (PEP 643), else as its
        backend does.

        Raises BuildFailed, SandboxUnusable, Refused, and what fetching raises.
        """
        path, sha256 = await self._sdist(wanted)
        found = await self.threads.run(pkg_info, path) if not subdirectory else None
        if found is not None and not _is_open(found):
            return found
        return await self._metadata(Sdist(path, sha256), wanted.file.filename, subdirectory, toolchain)

    async def metadata_of_directory(self, directory: Directory, toolchain: Toolchain) -> bytes:
        """The same of a source tree. Raises BuildFailed, SandboxUnusable."""
        tree = SourceTree(Path(directory.path))
        return await self._metadata(tree, directory.path, directory.subdirectory or "", toolchain)

    async def _metadata(self, source: Sdist | SourceTree, name: str, subdirectory: str, toolchain: Toolchain) -> bytes:
        with _building(name, toolchain):
            return await self._builder.metadata(
                source,
                toolchain.python,
                Options(subdirectory=subdirectory),
                allow_unsandboxed=toolchain.allow_unsandboxed,
            )

    async def wheel(self, wanted: Wanted, toolchain: Toolchain, subdirectory: str = "") -> Wheel:
        """The wheel of an sdist, a blob of the store then. Raises as `metadata` does."""
        key = _wheel_key(wanted, toolchain, subdirectory)
        if (known := self._known(key)) is not None:
            return known
        path, sha256 = await self._sdist(wanted)
        with _building(wanted.file.filename, toolchain):
            built = await self._builder.wheel(
                Sdist(path, sha256),
                toolchain.python,
                Options(subdirectory=subdirectory),
                allow_unsandboxed=toolchain.allow_unsandboxed,
            )
        return await self._noted(key, built)

    def has_wheel(self, wanted: Wanted, toolchain: Toolchain, subdirectory: str = "") -> bool:
        """Whether that is here, so that it asks nobody."""
        return self._known(_wheel_key(wanted, toolchain, subdirectory)) is not None

    async def directory(self, directory: Directory, state: str, toolchain: Toolchain) -> Wheel:
        """The wheel of a source tree, editable where it is to be. Raises BuildFailed, SandboxUnusable.

        state: names what decides an editable wheel; while it stays, that is not made again. "": it always is.
        """
        named = hashlib.sha256(f"{directory.path} {directory.subdirectory} {state}".encode()).hexdigest()
        key = f"editable/{named}/{toolchain.digest()}"
        known = self._known(key) if state and directory.editable else None
        if known is None:
            options = Options(subdirectory=directory.subdirectory or "")
            build = self._builder.editable if directory.editable else self._builder.wheel
            with _building(directory.path, toolchain):
                built = await build(
                    SourceTree(Path(directory.path)),
                    toolchain.python,
                    options,
                    allow_unsandboxed=toolchain.allow_unsandboxed,
                )
            known = await self._noted(key, built)
        place = Path(directory.path, directory.subdirectory or "")
        where = {"url": place.as_uri(), "dir_info": {"editable": True} if directory.editable else {}}
        return replace(known, direct_url=json.dumps(where, sort_keys=True))

    async def distributions(
        self, directory: Directory, kinds: Sequence[Kind], settings: Settings, toolchain: Toolchain, made: Made
    ) -> list[Distribution]:
        """What a project hands out. With both kinds, the wheel is built from the sdist, as whoever gets that will.

        made: told of each when it is there. Raises BuildFailed, SandboxUnusable.
        """
        options = Options(settings=settings, subdirectory=directory.subdirectory or "")
        source: Sdist | SourceTree = SourceTree(Path(directory.path))
        found: list[Distribution] = []
        for kind in kinds:
            with _building(directory.path, toolchain):
                built = await self._distribution(source, kind, options, toolchain)
            found.append(Distribution(kind, built.wheel, _how(built)))
            made(len(found), len(kinds), built.wheel.name)
            if kind == "sdist":
                source, options = Sdist(built.wheel, Sha256(built.wheel.parent.name)), Options(settings=settings)
        return found

    async def _distribution(
        self, source: Sdist | SourceTree, kind: Kind, options: Options, toolchain: Toolchain
    ) -> Built:
        python, by_word = toolchain.python, toolchain.allow_unsandboxed
        if kind == "sdist" and isinstance(source, SourceTree):
            return await self._builder.sdist(source, python, options, allow_unsandboxed=by_word)
        return await self._builder.wheel(source, python, options, allow_unsandboxed=by_word)

    async def _noted(self, key: str, built: Built) -> Wheel:
        made = Wheel(Sha256(built.wheel.parent.name), built.wheel.name, _how(built))
        if built.bare_because is None:  # the other kind is built at each wish, for the wish may end
            record = [made.sha256, made.filename, made.how]
            await self.store.change(values={("environments", key): frames.encode(record)})
        return made

    def _known(self, key: str) -> Wheel | None:
        """What this toolchain made of the same before, if the store has it still."""
        octets = self.store.value("environments", key)
        if octets is None:
            return None
        sha256, filename, how = frames.decode(octets)
        return Wheel(Sha256(sha256), filename, how) if self.store.blob(Sha256(sha256)) is not None else None

    async def _sdist(self, wanted: Wanted) -> tuple[Path, Sha256]:
        """Its file under its own name, by which the backend and its errors know it."""
        blob = await self.fetch.whole(wanted)
        return await self.threads.run(named_link, self.store, blob.sha256, wanted.file.filename), blob.sha256

    async def _environment(self, requirements: tuple[str, ...], python: Path) -> Environment:
        """Build requirements, installed where they stay for the next build with the same ones."""
        toolchain, above = _toolchain.get(), _above.get()
        try:
            ready = await self.make_ready(requirements, toolchain, above)
        except NoSolution as error:
            lacking = f"{', '.join(requirements)} cannot be had for its build"
            raise BuildFailed(f"{above[-1]} could not be built: {lacking}.\n{error}") from error
        directory = await self.threads.run(installed, self.store.workshop / "environments", ready, toolchain)
        pins = tuple(f"{one.project}=={one.version} --hash=sha256:{one.sha256}" for one in ready.wheels)
        return Environment(directory, directory / "bin" / "python", pins)


def _wheel_key(wanted: Wanted, toolchain: Toolchain, subdirectory: str) -> str:
    return f"wheel/{wanted.key}/{toolchain.digest()}/{hashlib.sha256(subdirectory.encode()).hexdigest()[:16]}"


def _how(built: Built) -> str:
    return "built in a sandbox" if built.bare_because is None else f"built without a sandbox: {built.bare_because}"


@contextmanager
def _building(filename: str, toolchain: Toolchain) -> Iterator[None]:
    above = _above.get()
    if filename in above or len(above) >= NESTED_BUILDS_MAX:
        chain = " -> ".join((*above, filename))
        raise BuildFailed(f"{filename} cannot be built: to build it, it would have to be built before ({chain}).")
    marks = _above.set((*above, filename)), _toolchain.set(toolchain)
    try:
        yield
    finally:
        _toolchain.reset(marks[1])
        _above.reset(marks[0])


@dataclass(slots=True)
class StoreShelf:
    """Built wheels are blobs that are never shared; which build made them stands in the catalog."""

    store: Store
    threads: Threads

    async def find(self, key: Sha256) -> Path | None:
        record = self.store.value("environments", f"built/{key}")
        if record is None:
            return None
        sha256, _, filename = record.decode().partition(" ")
        if self.store.blob(Sha256(sha256)) is None:
            return None
        return await self.threads.run(named_link, self.store, Sha256(sha256), filename)

    async def keep(self, key: Sha256, wheel: Path) -> Path:
        project = wheel.name.split("-", 1)[0].lower().replace("_", "-")
        sha256 = (await keep_file(self.store, self.threads, wheel, project)).sha256
        await self.store.change(values={("environments", f"built/{key}"): f"{sha256} {wheel.name}".encode()})
        return await self.threads.run(named_link, self.store, sha256, wheel.name)


class FreshShelf(StoreShelf):
    """Where everything is made anew, and kept in the place of what was there."""

    async def find(self, key: Sha256) -> Path | None:
        return None


# What decides how a project is installed so that its sources stay in use. Its sources themselves do not.
SETTINGS_FILES = ("pyproject.toml", "setup.py", "setup.cfg")


def state_of(project: Path) -> str:
    """Names the settings of a project's build. Blocks."""
    whole = hashlib.sha256()
    for name in SETTINGS_FILES:
        with suppress(OSError):
            whole.update(f"{name}\0".encode() + (project / name).read_bytes())
    return whole.hexdigest()


def pkg_info(sdist: Path) -> bytes | None:
    """The PKG-INFO at an sdist's top; None where it has none that can be read. Blocks."""
    try:
        if sdist.name.endswith(".zip"):
            return _from_zip(sdist)
        with tarfile.open(sdist) as archive:
            for _, member in zip(range(MEMBERS_LOOKED_AT_MAX), archive, strict=False):
                if member.isfile() and _is_pkg_info(member.name) and member.size <= METADATA_SIZE_BYTES_MAX:
                    file = archive.extractfile(member)
                    return file.read() if file is not None else None
    except (OSError, tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError):
        return None  # the build says what is wrong with it
    return None


def _from_zip(sdist: Path) -> bytes | None:
    with zipfile.ZipFile(sdist) as archive:
        for member in archive.infolist()[:MEMBERS_LOOKED_AT_MAX]:
            if _is_pkg_info(member.filename) and member.file_size <= METADATA_SIZE_BYTES_MAX:
                return archive.read(member)
    return None


def _is_pkg_info(name: str) -> bool:
    parts = name.removeprefix("./").split("/")
    return len(parts) == 2 and parts[1] == "PKG-INFO"


def _is_open(content: bytes) -> bool:
    return bool(read_metadata(Named("x", "0"), content.decode("utf-8", "replace"), built=False).broken)
