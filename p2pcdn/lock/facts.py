"""What indexes say of projects, as a resolver wants to hear it: version tables and metadata, parsed once and kept.

Both are kept in the catalog as they cross the solver's pipe, keyed by the content they were parsed from; so the node's
loop only looks them up.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Literal

import trio

from p2pcdn.digest import Sha256
from p2pcdn.envs.model import Directory, LockedFile, Vcs
from p2pcdn.errors import (
    DigestMismatch,
    NotFound,
    RemoteProtocolError,
    StoreStopped,
    Unavailable,
)
from p2pcdn.fetch import Metadata as WheelMetadata
from p2pcdn.fetch import MetadataTooLarge, Wanted
from p2pcdn.index import Pages
from p2pcdn.index.held import HeldPage
from p2pcdn.lock.kept import (
    FORMAT,
    encode_broken,
    encode_metadata,
    encode_page,
    encode_table,
    file_for_metadata,
    name_in,
    rank_of,
    status_of,
)
from p2pcdn.lock.kept_files import Files, decode_files
from p2pcdn.lock.looked import LOOKED_SIZE_BYTES_MAX, NOTHING_LOOKED_AT, Looked, decode_looked, encode_looked
from p2pcdn.names import is_normalized
from p2pcdn.resolve import Source, Table, moment_of, table_and_places_of
from p2pcdn.simple import File, plain, told
from p2pcdn.store import Store
from p2pcdn.world import Index, Threads

log = logging.getLogger(__name__)

# Reading the names of more files than this takes milliseconds that other clients would wait; it goes to a thread.
PARSE_INLINE_FILES_MAX = 200
# Reading the head of a METADATA of this size takes less than a trip to a thread.
READ_INLINE_BYTES_MAX = 16 * 1024
# pip breaks off after 15 s, a resolver need not: of a hundred pages at once, over a slow line or on a machine that does
# much else, some come late. The upstream itself is given up after 30 s of silence, twice.
PAGE_WAIT_S = 60.0
# Parsed things that wait for one transaction.
PENDING_SIZE_BYTES_MAX = 4 * 1024 * 1024
# What a store that does not write leaves in memory: enough for a lock of a hundred packages.
UNWRITABLE_SIZE_BYTES_MAX = 32 * 1024 * 1024


# The METADATA of the wheel that an sdist becomes. Raises BuildFailed, SandboxUnusable, and what fetching raises.
OfSdist = Callable[[Wanted], Awaitable[bytes]]
# The METADATA of what stands at a direct URL, and what a lock says of it. Raises Refused, NotFound, and the same.
OfUrl = Callable[[Source], Awaitable[tuple[bytes, LockedFile | Directory | Vcs]]]


@dataclass(frozen=True, slots=True)
class Makers:
    """How metadata is made where no index has it; None: it is not."""

    of_sdist: OfSdist | None = None
    of_url: OfUrl | None = None


NO_MAKERS = Makers()


@dataclass(frozen=True, slots=True)
class Listed:
    """Where a project is listed: the index that owns it, and the version of its page, which says what it is.

    until: only its files of before count, in UTC; None: all.
    """

    index: Index
    project: str
    version: str
    until: datetime | None = None

    def key(self, kind: str) -> str:
        """Under which its table (t), its files (f), what locks looked at of it (l) are kept."""
        until = f"@{self.until:%Y%m%dT%H%M%S.%f}" if self.until is not None else ""
        return f"{kind}{FORMAT}/{self.index.key}/{self.project}/{self.version}{until}"


@dataclass(slots=True)
class Facts:
    """Used by one trio loop. Whoever asks for the same at the same time asks the index once (`Pages`, `Metadata`).

    needs_files: where nobody is asked (`Pages.asks`), and what is found is installed at once. "one": the versions are
    known of which a file is in the store, with all their files, for a lock of many machines; "each": those files alone,
    for the one machine that is asked for. Else the versions whose metadata is there.
    until: what was uploaded later does not exist (`as_of`). renews: of all projects (True) or of these the page must be
    of now.
    """

    pages: Pages
    metadata: WheelMetadata
    store: Store
    threads: Threads
    needs_files: Literal["", "one", "each"] = ""
    until: datetime | None = None
    renews: bool | frozenset[str] = False
    _pending: dict[str, bytes] = field(default_factory=dict)
    _unwritten_size_bytes: int = 0
    _rereading: dict[str, trio.Lock] = field(default_factory=dict)

    def as_of(self, exclude_newer: str | None) -> Facts:
        """The same indexes as they were at a time (ISO 8601); of what is no time, the resolver says so."""
        if exclude_newer is None:
            return self
        with suppress(ValueError):
            return replace(self, until=moment_of(exclude_newer))
        return self

    def renewing(self, projects: bool | frozenset[str]) -> Facts:
        """The same, for somebody who wants to have what is new of all (True) or of these."""
        return replace(self, renews=projects) if projects else self

    def fresh_version(self, project: str) -> tuple[Index, str] | None:
        """See `Pages`."""
        return self.pages.fresh_version(project, insist=self._renews(project))

    def _renews(self, project: str) -> bool:
        return self.renews if isinstance(self.renews, bool) else project in self.renews

    def table_at_hand(self, project: str) -> tuple[bytes, Listed] | None:
        """The encoded Table of a project, and the page that it is of, if that needs no waiting."""
        fresh = self.fresh_version(project)
        if fresh is None:
            return None
        listed = Listed(fresh[0], project, fresh[1], self.until)
        octets = self._kept(listed.key("t"))
        return (octets, listed) if octets is not None else None

    async def table(self, project: str) -> tuple[bytes, Listed | None]:
        """The same, whatever it takes; no page where no index has the project.

        Raises Unavailable, Refused, RemoteProtocolError: then nobody can say.
        """
        if not is_normalized(project):
            return encode_table(Table(project, missing=f"{project[:80]!r} is not the name of a project")), None
        if (at_hand := self.table_at_hand(project)) is not None:
            return at_hand
        if not self.pages.asks:
            return await self._table_of_what_is_here(project)
        known = self.pages.fresh(project, insist=self._renews(project))
        try:
            held = known or await self.pages.project(project, insist=self._renews(project), wait_s=PAGE_WAIT_S)
        except NotFound as error:
            return encode_table(Table(project, missing=str(error))), None
        listed = Listed(held.index, project, held.version, self.until)
        octets = self._kept(listed.key("t")) or (await self._read(held, listed, whole=False))[0]
        if known is None:
            self.pages.let_go(held)  # no client asked for it: the next lock does without
        return octets, listed

    async def _table_of_what_is_here(self, project: str) -> tuple[bytes, Listed | None]:
        """The versions that can be had of the store; not kept, for that may change at any time."""
        offline = f"of {project} is in this node's store, and offline no index is asked"
        try:
            held = await self.pages.project(project)
        except NotFound as error:
            return encode_table(Table(project, missing=str(error))), None
        except Unavailable:
            return encode_table(Table(project, missing=f"no page {offline}")), None
        files = held.page.files if held.page is not None else ()
        _, places = await self.threads.run(table_and_places_of, project, told(files))
        here = [files[at] for some in places.values() for at in self._here(held, project, some)]
        if not here:
            return encode_table(Table(project, missing=f"no version {offline}")), None
        encode = partial(encode_page, project, here, held.index.url, whole=True, until=self.until)
        octets, _ = await self.threads.run(encode)
        return octets, Listed(held.index, project, held.version, self.until)

    def _here(self, held: HeldPage, project: str, places: Sequence[int]) -> list[int]:
        """Of the places of a version's files on the page those that count; none where its metadata is not here."""
        files = held.page.files if held.page is not None else ()
        wanted = Wanted(held.index, project, files[min(places, key=lambda at: rank_of(plain(files, at)))])
        if not (self._holds(self.metadata.name_of(wanted)) or self._holds(wanted.file.sha256)):
            return []
        here = [at for at in places if self._holds(files[at].sha256)]
        if self.needs_files == "each":
            return here
        return list(places) if here or not self.needs_files else []

    def _holds(self, digest: Sha256 | None) -> bool:
        return digest is not None and self.store.holds(digest)

    async def _read(self, held: HeldPage, listed: Listed, *, whole: bool) -> tuple[bytes, Mapping[str, bytes]]:
        """The table and the files of a page, kept from now on; of a large one the newest, or, as a whole, all."""
        files = held.page.files if held.page is not None else ()
        if len(files) <= PARSE_INLINE_FILES_MAX:
            table, rows = encode_page(listed.project, files, held.index.url, whole=True, until=listed.until)
        else:
            encode = partial(encode_page, listed.project, files, held.index.url, whole=whole, until=listed.until)
            table, rows = await self.threads.run(encode)
        if not files and held.page is not None and (status := status_of(held.page.raw)):
            table = encode_table(Table(listed.project, index=held.index.url, missing=f"{listed.project} {status}"))
        await self._keep(listed.key("t"), table)
        for end, octets in rows.items():
            await self._keep(listed.key("f") + end, octets)
        return table, rows

    def files_at_hand(self, listed: Listed, version: str) -> Mapping[str, Files] | None:
        """The files of a version, as the project's table has it, and of those beside it, if that needs no waiting."""
        return decode_files(lambda end: self._kept(listed.key("f") + end), version)

    async def files(self, listed: Listed, version: str) -> Mapping[str, Files]:
        """The same, whatever it takes. Raises what `Pages.project` raises; Unavailable for a page that has changed."""
        key = listed.key("f")
        turn = self._rereading.setdefault(key, trio.Lock())
        try:
            async with turn:  # whoever looks for another version of the same page finds it kept then
                known = self.files_at_hand(listed, version)
                return known if known is not None else await self._read_again(listed, version)
        finally:
            if not turn.locked():
                self._rereading.pop(key, None)

    async def _read_again(self, listed: Listed, version: str) -> Mapping[str, Files]:
        fresh = self.pages.fresh(listed.project)
        held = fresh or await self.pages.project(listed.project, wait_s=PAGE_WAIT_S)
        if (held.index.key, held.version) != (listed.index.key, listed.version):
            raise Unavailable(f"The page of {listed.project} has just changed; ask again.")
        _, rows = await self._read(held, listed, whole=True)
        if fresh is None:
            self.pages.let_go(held)
        return decode_files(rows.get, version) or {}

    def looked_at(self, listed: Listed) -> Looked:
        """What locks of before have looked at, if the page has stayed the same."""
        octets = self._kept(listed.key("l"))
        return decode_looked(octets) if octets is not None else NOTHING_LOOKED_AT

    async def note_looked_at(self, listed: Listed, by_version: Mapping[str, Files]) -> None:
        """The next lock finds these versions in one row, as far as they are kept at all."""
        known = self.looked_at(listed)
        metadata = {
            version: octets
            for version, files in by_version.items()
            if version not in known.metadata and (octets := self.metadata_at_hand(listed, files)) is not None
        }
        if not metadata:
            return
        row = encode_looked(known.and_of(metadata, {version: by_version[version] for version in metadata}))
        if len(row) <= LOOKED_SIZE_BYTES_MAX:
            await self._keep(listed.key("l"), row)

    def metadata_at_hand(self, listed: Listed, files: Sequence[File]) -> bytes | None:
        """As `metadata_of` gives it, if that needs no waiting."""
        file = file_for_metadata(files)
        if file is None:
            return None
        wanted = Wanted(listed.index, listed.project, file)
        if not file.filename.endswith(".whl"):
            return self._kept(f"s{FORMAT}/{wanted.key}")
        name = self.metadata.name_of(wanted)
        known = self._kept(f"m{FORMAT}/{name}") if name is not None else None
        if known is None and (own := self.metadata.own_name_of(wanted)) is not None:
            known = self._kept(f"m{FORMAT}/{own}")
        return known

    async def metadata_of(
        self,
        source: Source,
        listed: Listed,
        files: Sequence[File],
        of_sdist: OfSdist | None,
        spoilt: MutableMapping[Source, str],
    ) -> bytes:
        """The encoded rest of a Metadata: all but its source. files: those of the version, of the page `listed`.

        spoilt: gets why it is a `broken` one where no such bytes came as the index names. Raises Unavailable, Refused:
        then nobody can say; and BuildFailed, SandboxUnusable. What is wrong with a wheel itself is a `broken` one.
        """
        if (known := self.metadata_at_hand(listed, files)) is not None:
            return known
        file = file_for_metadata(files)
        if file is None:
            return encode_broken(f"{listed.index.url} lists no file of {source.project} {source.version} any more")
        wanted = Wanted(listed.index, listed.project, file)
        if not file.filename.endswith(".whl"):
            return await self._of_sdist(source, wanted, of_sdist)
        try:
            content = await self.metadata.of(wanted)
        except (NotFound, RemoteProtocolError, DigestMismatch, MetadataTooLarge) as error:
            if isinstance(error, DigestMismatch | MetadataTooLarge):
                spoilt[source] = str(error)
            return encode_broken(error)
        if len(content) <= READ_INLINE_BYTES_MAX:
            octets = encode_metadata(source, content)
        else:
            octets = await self.threads.run(encode_metadata, source, content)
        await self._keep(f"m{FORMAT}/{Sha256.of(content)}", octets)
        return octets

    async def _of_sdist(self, source: Source, wanted: Wanted, of_sdist: OfSdist | None) -> bytes:
        if of_sdist is None:
            return encode_broken("it has no wheel, and there is no interpreter here to build one with")
        octets = await self.threads.run(encode_metadata, source, await of_sdist(wanted))
        await self._keep(f"s{FORMAT}/{wanted.key}", octets)
        return octets

    async def at_url(self, source: Source, of_url: OfUrl | None) -> tuple[bytes, LockedFile | Directory | Vcs | None]:
        """The encoded rest of the Metadata of a direct URL, and what a lock says of it; None for a `broken` one.

        Raises Unavailable, Refused, BuildFailed, SandboxUnusable.
        """
        if of_url is None:
            return encode_broken("nothing is taken from URLs here"), None
        try:
            content, place = await of_url(source)
        except (NotFound, RemoteProtocolError, DigestMismatch) as error:
            return encode_broken(error), None
        if (name := name_in(content)) != source.project:
            return encode_broken(f"what is there calls itself {name or 'nothing'}"), None
        return await self.threads.run(encode_metadata, source, content), place

    def _kept(self, key: str) -> bytes | None:
        return self._pending.get(key) or self.store.value("parsed", key)

    async def _keep(self, key: str, octets: bytes) -> None:
        self._pending[key] = octets
        self._unwritten_size_bytes += len(octets)
        if self._unwritten_size_bytes >= PENDING_SIZE_BYTES_MAX:
            await self.flush()

    async def flush(self) -> None:
        """Writes what was parsed, in one transaction. Where the store does not write, some of it stays in memory."""
        pending = dict(self._pending)
        if not pending:
            return
        self._unwritten_size_bytes = 0
        try:
            await self.store.change(values={("parsed", key): octets for key, octets in pending.items()})
        except StoreStopped as error:
            log.info("what was parsed was not kept: %s", error)
            while sum(map(len, self._pending.values())) > UNWRITABLE_SIZE_BYTES_MAX:
                self._pending.pop(next(iter(self._pending)))
        else:
            for key in pending:
                self._pending.pop(key, None)
