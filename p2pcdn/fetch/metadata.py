"""The METADATA of wheels (PEP 658): kept, from a neighbour, from the upstream, or read out of the wheel itself."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from copy import copy
from functools import partial

import trio

from p2pcdn.digest import Sha256
from p2pcdn.errors import (
    DigestMismatch,
    NotFound,
    P2pcdnError,
    Refused,
    RemoteProtocolError,
    StoreStopped,
    Unavailable,
    not_here,
)
from p2pcdn.fetch.filling import SILENCE_WAIT_S
from p2pcdn.fetch.origin import OriginReader, Sink, Wanted
from p2pcdn.fetch.spoilt import or_once_more
from p2pcdn.fetch.wheel import METADATA_SIZE_BYTES_MAX, TAIL_SIZE_BYTES, wheel_metadata
from p2pcdn.flight import Flights
from p2pcdn.store import SMALL_BLOB_SIZE_BYTES_MAX, Blob, Store
from p2pcdn.swarm import Swarm

log = logging.getLogger(__name__)


class MetadataTooLarge(Refused):
    """A wheel's own fault: another version of the project may do."""


class Metadata:
    """Gives metadata, one flight per wheel. What it made itself is noted in the store's table "metadata"."""

    def __init__(
        self,
        *,
        store: Store,
        swarm: Swarm,
        origin: OriginReader,
        nursery: trio.Nursery,
        offline: bool,
        whole: Callable[[Wanted], Awaitable[Blob]],
        on_change: Callable[[str], None],
    ) -> None:
        """whole: fetches all of a file, and gives it only where its hash is right, as `Fetch.whole` does.
        on_change: told the project of a wheel whose page can say more now: a file or metadata of it is held.
        """
        self._store = store
        self._swarm = swarm
        self._origin = origin
        self._offline = offline
        self._whole = whole
        self._on_change = on_change
        self._flights: Flights[tuple[str, Sha256 | bool], bytes] = Flights(nursery)
        # Indexes, by key, that did not give the end of a file of unknown length.
        self._without_tails: set[str] = set()
        self._nursery = nursery
        self._asks = True

    def unasking(self) -> Metadata:
        """The same, for who wants nobody to be asked: what cannot be had from the store is Unavailable."""
        view = copy(self)
        view._asks = False
        view._flights = Flights(self._nursery)  # nobody else's question ends with this one's answer
        return view

    async def of(self, wanted: Wanted) -> bytes:
        """The METADATA of a wheel, or of an sdist whose index gives it (PEP 658 is for both).

        Where the index names a hash of it and a whole wheel has another METADATA, it is the wheel's: see `own_name_of`.
        Raises NotFound where there is none, Unavailable, Refused, DigestMismatch.
        """
        blob = self._held(wanted)
        if blob is not None:
            with suppress(NotFound):  # its file was lost: it is read again
                return await blob.read()
        own = self.own_name_of(wanted)
        if own is not None and (blob := self._store.blob(own)) is not None:
            with suppress(NotFound):
                return await blob.read()
        if not isinstance(wanted.file.core_metadata, Sha256) and not wanted.file.filename.endswith(".whl"):
            raise NotFound(f"{wanted.file.filename} is not a wheel, and its index gives no metadata of it.")
        # What one index says of a URL answers for no other's word.
        return await self._flights.join((wanted.file.url, wanted.file.core_metadata), partial(self._get, wanted))

    def at_hand(self, wanted: Wanted) -> bytes | None:
        """The METADATA, if it needs no waiting."""
        blob = self._held(wanted)
        return blob.content if blob is not None else None

    def _held(self, wanted: Wanted) -> Blob | None:
        named = self.name_of(wanted)
        return self._store.blob(named) if named is not None else None

    def own_name_of(self, wanted: Wanted) -> Sha256 | None:
        """The sha256 of the METADATA that a whole wheel was found to have, where its index declares another one and
        does not give it. None where nobody has had to look.
        """
        found = self._store.value("metadata", _own_key(wanted))
        return Sha256(found.decode()) if found is not None else None

    def name_of(self, wanted: Wanted) -> Sha256 | None:
        """Its sha256: as the index gives it, else as this node made it."""
        if isinstance(wanted.file.core_metadata, Sha256):
            return wanted.file.core_metadata
        made = self._store.value("metadata", wanted.key)
        return Sha256(made.decode()) if made is not None else None

    async def note_kept(self, wanted: Wanted, blob: Blob) -> None:
        """A file has come: takes the METADATA out of a wheel whose index gives none, so that its page can name it."""
        name = wanted.file.filename
        if name.endswith(".whl") and not isinstance(wanted.file.core_metadata, Sha256):
            try:
                await self._noted(wanted, await self._taken_out_of(wanted, blob))
            except (P2pcdnError, OSError) as error:
                log.info("no metadata could be taken out of the wheel: %s", error, extra={"file": name})
        self._on_change(wanted.project)

    # -- where it comes from --------------------------------------------------------------------------------------

    async def _get(self, wanted: Wanted) -> bytes:
        declared = wanted.file.core_metadata
        if isinstance(declared, Sha256) and self._asks:
            try:
                return await or_once_more(lambda: self._declared(wanted, declared))
            except (NotFound, DigestMismatch) as error:
                return await self._out_of_the_wheel(wanted, declared, error)
        blob = self._store.blob(wanted.file.sha256) if wanted.file.sha256 is not None else None
        if blob is not None:
            with suppress(NotFound):
                return await self._noted(wanted, await self._taken_out_of(wanted, blob))
        if not self._asks:
            raise not_here(f"the metadata of {wanted.file.filename}")
        return await self._noted(wanted, await self._range_read(wanted))

    async def _out_of_the_wheel(self, wanted: Wanted, declared: Sha256, missing: P2pcdnError) -> bytes:
        """What an index declares and does not give stands in the wheel, too; without it the version would count as
        broken, and an older one be locked in its place.

        What the index named is taken from anywhere. Something else only from a wheel that is whole and what the index
        says by its own hash: that is what would be installed. Raises `missing` where there is neither.
        """
        if not wanted.file.filename.endswith(".whl"):
            raise missing
        log.info("the metadata is read out of the wheel: %s", missing, extra={"file": wanted.file.filename})
        try:
            return await self._noted(wanted, await self._trusted(wanted, declared, missing))
        except NotFound:
            raise missing from None

    async def _trusted(self, wanted: Wanted, declared: Sha256, missing: P2pcdnError) -> bytes:
        if wanted.file.sha256 is None or not self._store.holds(wanted.file.sha256):
            with suppress(RemoteProtocolError):  # spoilt bytes, too: the whole wheel is checked
                content = await self._range_read(wanted)
                if Sha256.of(content) == declared:
                    return content
        if wanted.file.sha256 is None:
            raise missing
        return await self._taken_out_of(wanted, await self._whole(wanted))

    async def _declared(self, wanted: Wanted, declared: Sha256) -> bytes:
        content = await self._read_declared(wanted, declared)
        await self._keep(content, wanted, declared)
        return content

    async def _read_declared(self, wanted: Wanted, declared: Sha256) -> bytes:
        if self._swarm.may_ask_for(wanted.origin):
            content = await self._from_room(wanted, declared)
            if content is not None:
                return content
        self._refuse_offline(wanted)
        received = bytearray()
        await self._origin.read(wanted.metadata(), _capped(received, wanted))
        return bytes(received)

    async def _from_room(self, wanted: Wanted, declared: Sha256) -> bytes | None:
        """Where there is no upstream, a neighbour that does not answer is waited for as it is for files."""
        until = trio.current_time() + SILENCE_WAIT_S
        while True:
            content = await self._swarm.read(declared, METADATA_SIZE_BYTES_MAX, wanted.index.share)
            if content is not None or not self._offline or not await self._swarm.heard_again(until):
                return content

    async def _taken_out_of(self, wanted: Wanted, blob: Blob) -> bytes:
        file = await blob.open()
        try:

            async def read(offset: int, size_bytes: int) -> bytes:
                return await file.pread(size_bytes, offset)

            return await wheel_metadata(wanted.file.filename, blob.size_bytes, read)
        finally:
            file.close()

    async def _range_read(self, wanted: Wanted) -> bytes:
        """Reads the few places of the wheel at the upstream where its METADATA stands."""
        self._refuse_offline(wanted)
        size, tail = await self._size_and_tail(wanted)
        said = [size]

        async def read(offset: int, size_bytes: int) -> bytes:
            received = bytearray()
            end = offset + size_bytes
            await self._origin.read(wanted, _capped(received, wanted), start=offset, end=end, on_size=said.append)
            return bytes(received)

        try:
            return await wheel_metadata(wanted.file.filename, size, read, tail)
        except (RemoteProtocolError, Unavailable):
            if said[-1] == size:
                raise
        # The index's page has another size, and is wrong.
        return await wheel_metadata(wanted.file.filename, said[-1], read)

    async def _size_and_tail(self, wanted: Wanted) -> tuple[int, bytes]:
        """How long a wheel is, and its last bytes where they came with the answer."""
        if wanted.file.size_bytes is not None:
            return wanted.file.size_bytes, b""
        if wanted.index.key not in self._without_tails:
            with suppress(Unavailable):  # below, with patience
                found = await self._origin.tail(wanted, TAIL_SIZE_BYTES)
                if found is not None:
                    return found
                self._without_tails.add(wanted.index.key)
        return await self._size_of(wanted), b""

    async def _size_of(self, wanted: Wanted) -> int:
        sizes: list[int] = []
        await self._origin.read(wanted, _capped(bytearray(), wanted), start=0, end=1, on_size=sizes.append)
        if not sizes:
            raise Unavailable(f"The upstream does not say how long {wanted.file.filename} is.")
        return sizes[0]

    async def _noted(self, wanted: Wanted, content: bytes) -> bytes:
        """Keeps what was read out of a wheel, and under which name, where the index names none or another."""
        digest, declared = Sha256.of(content), wanted.file.core_metadata
        await self._keep(content, wanted, digest)
        if digest == declared:
            return content
        if isinstance(declared, Sha256):
            log.warning(
                "the index names other metadata than the wheel has; the whole wheel has the hash that the index names "
                "for it, so the wheel is believed",
                extra={"file": wanted.file.filename, "expected": declared, "got": digest},
            )
        key = _own_key(wanted) if isinstance(declared, Sha256) else wanted.key
        try:
            await self._store.change(values={("metadata", key): digest.encode()})
        except StoreStopped as error:
            log.info("metadata was not kept: %s", error)
        self._on_change(wanted.project)
        return content

    async def _keep(self, content: bytes, wanted: Wanted, digest: Sha256) -> None:
        """Raises DigestMismatch. That nothing can be kept now is no reason not to answer."""
        origin = wanted.metadata().origin
        try:
            if len(content) <= SMALL_BLOB_SIZE_BYTES_MAX:
                await self._store.keep_small(content, origin, expected=digest)
                return
            growing = await self._store.grow(digest, len(content), origin)
            try:
                await growing.write(0, content)
                await growing.finish()
            except P2pcdnError as error:
                growing.fail(error)
                raise
        except StoreStopped as error:
            log.info("metadata was not kept: %s", error)

    def _refuse_offline(self, wanted: Wanted) -> None:
        if not self._offline:
            return
        alone = f"This node is offline and does not hold the metadata of {wanted.file.filename}"
        if self._swarm.somebody_is_silent():
            raise Unavailable(f"{alone}; a neighbour that may hold it did not answer in time. Ask again.")
        raise Unavailable(f"{alone}.", retry_after_s=math.inf)


def _own_key(wanted: Wanted) -> str:
    """Under the wheel and what an index declares of it: what another index read of the same wheel's places, with no
    hash to check it by, stands under the wheel alone.
    """
    return f"{wanted.key}/{wanted.file.core_metadata}"


def _capped(content: bytearray, wanted: Wanted) -> Sink:
    """Collects into `content` what no file's metadata exceeds."""

    async def take(_: int, chunk: bytes) -> None:
        content.extend(chunk)
        if len(content) > METADATA_SIZE_BYTES_MAX:
            raise MetadataTooLarge(
                f"The metadata of {wanted.file.filename} has more than {METADATA_SIZE_BYTES_MAX >> 20} MiB; it was cut."
            )

    return take
