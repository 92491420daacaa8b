"""Files: out of the store, else from neighbours, else from the upstream; ONE download per file, however many ask."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from functools import partial as bind

import trio

from p2pcdn.counters import Counters
from p2pcdn.digest import Sha256
from p2pcdn.errors import DigestMismatch, NotFound, P2pcdnError, Refused, StoreStopped, Unavailable
from p2pcdn.flight import Flights
from p2pcdn.origin import OriginReader, Sink, Wanted
from p2pcdn.store import Blob, Partial, Store
from p2pcdn.swarm import Swarm
from p2pcdn.wheel import METADATA_SIZE_BYTES_MAX, wheel_metadata

log = logging.getLogger(__name__)

# Small writes cost a journal step each; the first bytes go out at once all the same.
WRITE_SIZE_BYTES = 512 * 1024
# pip hangs up after 15 s without a byte. While only a peer's unproven bytes arrive, the upstream is asked for a few
# at the place where the client stands, each time that so long has passed.
DRIP_AFTER_S = 8.0
DRIP_SIZE_BYTES = 64 * 1024
# Attempts that came to a good end, by which a client that was cut off may go on in the whole file.
ATTEMPTS_REMEMBERED = 1024


class Fetch:
    """All downloads of a node. They run in the nursery given here: an impatient client cancels nobody's."""

    def __init__(
        self,
        *,
        store: Store,
        swarm: Swarm,
        origin: OriginReader,
        counters: Counters,
        nursery: trio.Nursery,
        offline: bool,
        on_change: Callable[[str], None],
    ) -> None:
        """on_change: told the project when a file of it, or metadata of one, is held now and was not before."""
        self._store = store
        self._swarm = swarm
        self._origin = origin
        self._counters = counters
        self._nursery = nursery
        self._offline = offline
        self._on_change = on_change
        self._running: dict[Sha256 | str, Partial] = {}
        self._attempts: OrderedDict[Sha256 | str, str] = OrderedDict()
        self._opening: Flights[Sha256 | str, Blob | Partial] = Flights(nursery)
        self._metadata: Flights[str, bytes] = Flights(nursery)

    async def open(self, wanted: Wanted) -> Blob | Partial:
        """The whole file, or the growing one that everybody who asks now shares.

        Raises StoreStopped where nothing can be kept: the caller then passes the file through.
        """
        held = self.held(wanted)
        if held is not None:
            return held
        return await self._opening.join(wanted.key, bind(self._begin, wanted))

    def held(self, wanted: Wanted) -> Blob | Partial | None:
        """What is here already: the blob, or the download that runs."""
        running = self._running.get(wanted.key)
        if running is not None:
            return running
        digest = self._digest(wanted)
        return self._store.blob(digest) if digest is not None else None

    def _digest(self, wanted: Wanted) -> Sha256 | None:
        """The file's sha256: the index's, or, where it gives none, that of the bytes that came first."""
        if wanted.file.sha256 is not None:
            return wanted.file.sha256
        trusted = self._store.value("trusted", wanted.key)
        return Sha256(trusted.decode()) if trusted is not None else None

    def attempt_of(self, wanted: Wanted) -> str | None:
        """The attempt that gave the whole file, if it came since this node started."""
        return self._attempts.get(wanted.key)

    async def _begin(self, wanted: Wanted) -> Partial:
        partial = await self._store.grow(wanted.key, wanted.file.size_bytes, wanted.origin)
        self._running[wanted.key] = partial
        self._nursery.start_soon(self._download, wanted, partial)
        return partial

    # -- the one download -----------------------------------------------------------------------------------------

    async def _download(self, wanted: Wanted, partial: Partial) -> None:
        name = wanted.file.filename
        try:
            blob = await self._fill_and_finish(wanted, partial)
            log.info("kept", extra={"file": name, "size_bytes": blob.size_bytes})
            self._attempts[wanted.key] = partial.attempt
            while len(self._attempts) > ATTEMPTS_REMEMBERED:
                self._attempts.popitem(last=False)
            if wanted.file.sha256 is None:
                await self._store.change(values={("trusted", wanted.key): blob.sha256.encode()})
            self._on_change(wanted.project)
        except P2pcdnError as error:
            log.warning("did not arrive: %s", error, extra={"file": name})
            partial.fail(error)
            return
        except Exception:
            log.exception("%s did not arrive", name)
            partial.fail(Unavailable(f"A fault of this node stopped the download of {name}; its log has the details."))
            return
        finally:
            del self._running[wanted.key]
        if name.endswith(".whl") and not isinstance(wanted.file.core_metadata, Sha256):
            try:
                await self._make_metadata_of(wanted, blob)
            except (P2pcdnError, OSError) as error:
                log.info("no metadata could be taken out of the wheel: %s", error, extra={"file": name})

    async def _fill_and_finish(self, wanted: Wanted, partial: Partial) -> Blob:
        await self._from_peers(wanted, partial)
        await self._from_upstream(wanted, partial)
        try:
            return await partial.finish()
        except DigestMismatch as error:
            self._counters.digest_mismatches += 1
            log.error(
                "wrong bytes: %s", error, extra={"file": error.what, "expected": error.expected, "got": error.got}
            )
            if not partial.is_provisional():
                raise
        # A peer's manifest was a lie. Its bytes go, it is remembered, and the upstream gives what is missing now.
        self._swarm.distrust(partial)
        await partial.forget_provisional()
        await self._from_upstream(wanted, partial)
        return await partial.finish()

    async def _from_peers(self, wanted: Wanted, partial: Partial) -> None:
        if partial.sha256 is None or wanted.index.share == "never":
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._drip, wanted, partial)
            try:
                await self._swarm.fill(partial)
            except Unavailable as error:
                log.debug("no neighbour: %s", error, extra={"file": wanted.file.filename})
            nursery.cancel_scope.cancel()

    async def _drip(self, wanted: Wanted, partial: Partial) -> None:
        """Keeps waiting clients hearing something while a slow peer's bytes are not proven yet."""
        while not self._offline:
            before = partial.frontier()
            await trio.sleep(DRIP_AFTER_S)
            if partial.frontier() != before or not partial.missing():
                continue
            end = min(before + DRIP_SIZE_BYTES, partial.size_bytes or before + DRIP_SIZE_BYTES)
            try:
                await self._origin.read(wanted, partial.write, start=before, end=end)
            except P2pcdnError as error:
                log.debug("no drip: %s", error, extra={"file": wanted.file.filename})

    async def _from_upstream(self, wanted: Wanted, partial: Partial) -> None:
        for start, end in partial.missing():
            if self._offline:
                raise Unavailable(
                    f"This node is offline, and neither it nor a neighbour holds all of {wanted.file.filename}.",
                    retry_after_s=60,
                )
            last = end in (start, partial.size_bytes)  # with an unknown size, the last range is empty and open
            writer = _Gathered(partial)
            try:
                await self._origin.read(
                    wanted, writer.write, start=start, end=None if last else end, on_size=bind(_set_size, partial)
                )
            finally:
                await writer.flush()

    # -- metadata of wheels (PEP 658) -----------------------------------------------------------------------------

    async def metadata(self, wanted: Wanted) -> bytes:
        """The METADATA of a wheel: kept, else from a neighbour or the upstream, else read out of the wheel itself.

        Raises NotFound where the file is no wheel or has none, Unavailable, DigestMismatch.
        """
        kept = self.kept_metadata(wanted)
        if kept is not None:
            return kept
        if not wanted.file.filename.endswith(".whl"):
            raise NotFound(f"{wanted.file.filename} is not a wheel; only wheels have metadata of their own.")
        return await self._metadata.join(wanted.file.url, bind(self._fetch_metadata, wanted))

    def kept_metadata(self, wanted: Wanted) -> bytes | None:
        """The METADATA if it is in the store."""
        named = self.metadata_name(wanted)
        blob = self._store.blob(named) if named is not None else None
        return blob.content if blob is not None else None

    def metadata_name(self, wanted: Wanted) -> Sha256 | None:
        """The sha256 of the METADATA: as the index gives it, else as this node made it."""
        if isinstance(wanted.file.core_metadata, Sha256):
            return wanted.file.core_metadata
        made = self._store.value("metadata", wanted.key)
        return Sha256(made.decode()) if made is not None else None

    async def _fetch_metadata(self, wanted: Wanted) -> bytes:
        declared = wanted.file.core_metadata
        if not isinstance(declared, Sha256):
            held = self.held(wanted)
            if isinstance(held, Blob):
                return await self._make_metadata_of(wanted, held)
            return await self._read_metadata_out_of(wanted)
        content = None
        if wanted.index.share != "never":
            content = await self._swarm.read(declared, METADATA_SIZE_BYTES_MAX)
        if content is None:
            content = await self._read_declared(wanted)
        await self._keep_small(content, wanted, declared)
        return content

    async def _read_declared(self, wanted: Wanted) -> bytes:
        self._refuse_offline(wanted)
        content = bytearray()
        await self._origin.read(wanted.metadata(), _capped(content, wanted))
        return bytes(content)

    async def _read_metadata_out_of(self, wanted: Wanted) -> bytes:
        """Range-reads the few places of the wheel at the upstream where its METADATA stands."""
        self._refuse_offline(wanted)
        size = wanted.file.size_bytes if wanted.file.size_bytes is not None else await self._size_at_origin(wanted)

        async def read(offset: int, size_bytes: int) -> bytes:
            content = bytearray()
            await self._origin.read(wanted, _capped(content, wanted), start=offset, end=offset + size_bytes)
            return bytes(content)

        content = await wheel_metadata(wanted.file.filename, size, read)
        await self._keep_made(content, wanted)
        return content

    async def _size_at_origin(self, wanted: Wanted) -> int:
        sizes: list[int] = []
        await self._origin.read(wanted, _capped(bytearray(), wanted), start=0, end=1, on_size=sizes.append)
        if not sizes:
            raise Unavailable(f"The upstream does not say how long {wanted.file.filename} is.")
        return sizes[0]

    async def _make_metadata_of(self, wanted: Wanted, blob: Blob) -> bytes:
        file = await blob.open()
        try:
            content = await wheel_metadata(
                wanted.file.filename, blob.size_bytes, lambda offset, size: file.pread(size, offset)
            )
        finally:
            file.close()
        await self._keep_made(content, wanted)
        return content

    async def _keep_made(self, content: bytes, wanted: Wanted) -> None:
        digest = Sha256.of(content)
        await self._keep_small(content, wanted, digest)
        try:
            await self._store.change(values={("metadata", wanted.key): digest.encode()})
            self._on_change(wanted.project)
        except StoreStopped as error:
            log.info("metadata was not kept: %s", error)

    async def _keep_small(self, content: bytes, wanted: Wanted, expected: Sha256) -> None:
        try:
            await self._store.keep_small(content, wanted.metadata().origin, expected=expected)
        except StoreStopped as error:
            log.info("metadata was not kept: %s", error)

    def _refuse_offline(self, wanted: Wanted) -> None:
        if self._offline:
            raise Unavailable(
                f"This node is offline and does not hold the metadata of {wanted.file.filename}.", retry_after_s=60
            )


class _Gathered:
    """Joins the upstream's small chunks into writes that are worth a step of the journal."""

    def __init__(self, partial: Partial) -> None:
        self._partial = partial
        self._at = 0
        self._content = bytearray()
        self._flush_at = 1

    async def write(self, at: int, content: bytes) -> None:
        if not self._content:
            self._at = at
        self._content += content
        if len(self._content) >= self._flush_at:
            await self.flush()
            self._flush_at = WRITE_SIZE_BYTES

    async def flush(self) -> None:
        content, self._content = self._content, bytearray()
        if content:
            await self._partial.write(self._at, content)


def _set_size(partial: Partial, size_bytes: int) -> None:
    if partial.size_bytes is None:
        partial.set_size(size_bytes)


def _capped(content: bytearray, wanted: Wanted) -> Sink:
    """Collects into `content` what no file's metadata exceeds."""

    async def take(_: int, chunk: bytes) -> None:
        content.extend(chunk)
        if len(content) > METADATA_SIZE_BYTES_MAX:
            raise Refused(f"The metadata of {wanted.file.filename} is too large; it was cut.")

    return take
