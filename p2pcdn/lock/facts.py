"""What indexes say of projects, as a resolver wants to hear it: version tables and metadata, parsed once and kept.

Both are kept in the catalog as they cross the solver's pipe, keyed by the content they were parsed from; so the node's
loop only looks them up.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from p2pcdn import frames
from p2pcdn.digest import Sha256
from p2pcdn.envs.model import Directory, LockedFile
from p2pcdn.errors import DigestMismatch, NotFound, Refused, RemoteProtocolError, StoreStopped
from p2pcdn.fetch import Metadata as WheelMetadata
from p2pcdn.fetch import Wanted
from p2pcdn.index import Pages
from p2pcdn.index.held import HeldPage
from p2pcdn.names import is_normalized
from p2pcdn.resolve import Source, Table, read_metadata, table_of, to_plain, version_of
from p2pcdn.simple import File
from p2pcdn.store import Store
from p2pcdn.world import Threads

log = logging.getLogger(__name__)

# Counted up when the tables or metadata of this version could not be read by another one.
FORMAT = 1
# Reading the names of more files than this takes milliseconds that other clients would wait; it goes to a thread.
PARSE_INLINE_FILES_MAX = 200
# pip breaks off after 15 s, a resolver need not: of a hundred pages at once, over a slow line or on a machine that does
# much else, some come late. The upstream itself is given up after 30 s of silence, twice.
PAGE_WAIT_S = 60.0
# Parsed things that wait for one transaction.
PENDING_MAX = 256


# The METADATA of the wheel that an sdist becomes. Raises BuildFailed, SandboxUnusable, and what fetching raises.
OfSdist = Callable[[Wanted], Awaitable[bytes]]
# The METADATA of what stands at a direct URL, and what a lock says of it. Raises Refused, NotFound, and the same.
OfUrl = Callable[[Source], Awaitable[tuple[bytes, LockedFile | Directory]]]


@dataclass(frozen=True, slots=True)
class Makers:
    """How metadata is made where no index has it; None: it is not."""

    of_sdist: OfSdist | None = None
    of_url: OfUrl | None = None


NO_MAKERS = Makers()


@dataclass(slots=True)
class Facts:
    """Used by one trio loop. Whoever asks for the same at the same time asks the index once (`Pages`, `Metadata`)."""

    pages: Pages
    metadata: WheelMetadata
    store: Store
    threads: Threads
    _pending: dict[str, bytes] = field(default_factory=dict)

    async def page(self, project: str) -> HeldPage:
        """Raises what `Pages.project` raises."""
        if not is_normalized(project):
            raise NotFound(f"{project[:80]!r} is not the name of a project.")
        return self.pages.fresh(project) or await self.pages.project(project, wait_s=PAGE_WAIT_S)

    async def table(self, project: str) -> tuple[bytes, HeldPage | None]:
        """The encoded Table of a project, and the page that it is of; None where no index has the project.

        Raises Unavailable, Refused, RemoteProtocolError: then nobody can say.
        """
        try:
            held = await self.page(project)
        except NotFound as error:
            return frames.encode(to_plain(Table(project, missing=str(error)))), None
        key = f"t{FORMAT}/{held.index.key}/{project}/{held.version}"
        octets = self._kept(key)
        if octets is None:
            files = held.page.files if held.page is not None else ()
            if len(files) <= PARSE_INLINE_FILES_MAX:
                octets = _encoded_table(project, files, held.index.url)
            else:
                octets = await self.threads.run(_encoded_table, project, files, held.index.url)
            await self._keep(key, octets)
        return octets, held

    async def metadata_of(
        self, source: Source, held: HeldPage, files: Sequence[File], of_sdist: OfSdist | None
    ) -> bytes:
        """The encoded rest of a Metadata: all but its source. files: those of the version, of the page `held`.

        Raises Unavailable, Refused: then nobody can say; and BuildFailed, SandboxUnusable. What is wrong with a wheel
        itself is a `broken` one.
        """
        file = file_for_metadata(files)
        if file is None:
            return _broken(f"{held.index.url} lists no file of {source.project} {source.version} any more")
        wanted = Wanted(held.index, held.project, file)
        if not file.filename.endswith(".whl"):
            return await self._of_sdist(source, wanted, of_sdist)
        name = self.metadata.name_of(wanted)
        if name is not None and (octets := self._kept(f"m{FORMAT}/{name}")) is not None:
            return octets
        try:
            content = await self.metadata.of(wanted)
        except (NotFound, RemoteProtocolError, DigestMismatch) as error:
            return _broken(str(error).rstrip("."))
        octets = await self.threads.run(_encoded_metadata, source, content)
        await self._keep(f"m{FORMAT}/{Sha256.of(content)}", octets)
        return octets

    async def _of_sdist(self, source: Source, wanted: Wanted, of_sdist: OfSdist | None) -> bytes:
        key = f"s{FORMAT}/{wanted.key}"
        if (octets := self._kept(key)) is not None:
            return octets
        if of_sdist is None:
            return _broken("it has no wheel, and nobody named an interpreter to build one with")
        octets = await self.threads.run(_encoded_metadata, source, await of_sdist(wanted))
        await self._keep(key, octets)
        return octets

    async def at_url(self, source: Source, of_url: OfUrl | None) -> tuple[bytes, LockedFile | Directory | None]:
        """The encoded rest of the Metadata of a direct URL, and what a lock says of it; None for a `broken` one.

        Raises Unavailable, BuildFailed, SandboxUnusable.
        """
        if of_url is None:
            return _broken("nothing is taken from URLs here"), None
        try:
            content, place = await of_url(source)
        except (NotFound, Refused, RemoteProtocolError, DigestMismatch) as error:
            return _broken(str(error).rstrip(".")), None
        return await self.threads.run(_encoded_metadata, source, content), place

    def _kept(self, key: str) -> bytes | None:
        return self._pending.get(key) or self.store.value("parsed", key)

    async def _keep(self, key: str, octets: bytes) -> None:
        self._pending[key] = octets
        if len(self._pending) >= PENDING_MAX:
            await self.flush()

    async def flush(self) -> None:
        """Writes what was parsed; many in one transaction. A store that does not write costs only time."""
        pending, self._pending = self._pending, {}
        if pending:
            try:
                await self.store.change(values={("parsed", key): octets for key, octets in pending.items()})
            except StoreStopped as error:
                log.info("what was parsed was not kept: %s", error)


def files_by_version(project: str, files: Sequence[File]) -> dict[str, list[File]]:
    """The files of a page by their version, as the project's table has it."""
    found: dict[str, list[File]] = {}
    for file in files:
        version = version_of(project, file.filename)
        if version is not None:
            found.setdefault(version, []).append(file)
    return found


def file_for_metadata(files: Sequence[File]) -> File | None:
    """Whose metadata speaks for a version, the same for all targets: wheels of one version do not differ in it.

    A wheel before an sdist, one whose metadata lies beside it before others, a pure one, the smallest.
    """
    return min(files, key=_rank, default=None)


def _rank(file: File) -> tuple[bool, bool, bool, int, str]:
    wheel = file.filename.endswith(".whl")
    beside = isinstance(file.core_metadata, Sha256)
    return (not wheel, not beside, not file.filename.endswith("-none-any.whl"), file.size_bytes or 0, file.filename)


def _encoded_table(project: str, files: Sequence[File], index: str) -> bytes:
    return frames.encode(to_plain(table_of(project, files, index=index)))


def _encoded_metadata(source: Source, content: bytes) -> bytes:
    _, *rest = to_plain(read_metadata(source, content.decode("utf-8", "replace")))
    return frames.encode(rest)


def _broken(why: str) -> bytes:
    return frames.encode(["", [], [], "", why])
