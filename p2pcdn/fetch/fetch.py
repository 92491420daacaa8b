"""Files: out of the store, else from neighbours, else from the upstream; ONE download per file, however many ask."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial as bind
from urllib.parse import urlsplit

import trio

from p2pcdn.bounded import forget_oldest
from p2pcdn.counters import Counters
from p2pcdn.digest import Sha256
from p2pcdn.errors import (
    DigestMismatch,
    NotFound,
    P2pcdnError,
    RemoteProtocolError,
    StoreStopped,
    Unanswered,
    Unavailable,
)
from p2pcdn.fetch.origin import OriginReader, Sink, Wanted
from p2pcdn.flight import Flights
from p2pcdn.store import UNKNOWN, Blob, Partial, Store
from p2pcdn.swarm import Swarm

log = logging.getLogger(__name__)

# Small writes cost a journal step each. The first bytes go out at once all the same, and those of a slow upstream
# long before a client gives up (pip: 15 s).
WRITE_SIZE_BYTES = 512 * 1024
WRITE_AFTER_S = 1.0
# pip hangs up after 15 s without a byte. While only a peer's unproven bytes arrive, the upstream is asked for a few
# at the place where the client stands, each time that so long has passed.
DRIP_AFTER_S = 8.0
DRIP_SIZE_BYTES = 2 * 1024
# Where there is no upstream, a neighbour that does not answer is asked again for so long (pip hangs up after 15 s
# without a byte, and the last question may take three), and with such a pause where it answers other questions.
SILENCE_WAIT_S = 11.0
ASK_AGAIN_S = 0.5
# Attempts that came to a good end, by which a client that was cut off may go on in the whole file.
ATTEMPTS_REMEMBERED = 1024
# Of those who gave a file's bytes so many are named beside it.
SOURCES_NAMED_MAX = 4


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
        on_kept: Callable[[Wanted, Blob], Awaitable[None]],
    ) -> None:
        """on_kept: called when a file is held that was not before; it may take its time. What it raises is logged."""
        self._store = store
        self._swarm = swarm
        self._origin = origin
        self._counters = counters
        self._nursery = nursery
        self.offline = offline
        self._on_kept = on_kept
        self._running: dict[Sha256 | str, Partial] = {}
        self._alone: dict[Sha256 | str, trio.Event] = {}  # of those that run: whether the room is left out
        self._attempts: dict[Sha256 | str, str] = {}
        self._opening: Flights[Sha256 | str, Blob | Partial] = Flights(nursery)

    async def open(self, wanted: Wanted, *, for_room: bool = False) -> Blob | Partial:
        """The whole file, or the growing one that everybody who asks now shares.

        for_room: who asks is a node that reads this for its room, perhaps ours. The room is left out then, also by a
        download that runs: it would wait for whoever waits for it.
        Raises StoreStopped where nothing can be kept: the caller then passes the file through.
        """
        held = self.held(wanted) or await self._opening.join(wanted.key, bind(self._begin, wanted))
        if for_room and wanted.key in self._alone:
            self._alone[wanted.key].set()
        if isinstance(held, Blob) and held.origin == UNKNOWN and wanted.file.sha256 is not None:
            await self._name(held, wanted)
        return held

    async def _name(self, blob: Blob, wanted: Wanted) -> None:
        """A page says what this is whose row was lost; from now on neighbours get it, too."""
        with suppress(NotFound, StoreStopped):
            await self._store.set_origin(blob.sha256, wanted.origin)

    def held(self, wanted: Wanted) -> Blob | Partial | None:
        """What is here already: the blob, or the download that runs."""
        running = self._running.get(wanted.key)
        if running is not None:
            # One that is whole is closed, while what it was trusted for is still being noted.
            return running.blob or running
        digest = digest_of(self._store, wanted)
        return self._store.blob(digest) if digest is not None else None

    def attempt_of(self, wanted: Wanted) -> str | None:
        """The attempt that gave the whole file, if it came since this node started."""
        return self._attempts.get(wanted.key)

    async def _begin(self, wanted: Wanted) -> Blob | Partial:
        digest = wanted.file.sha256
        if digest is not None and self._store.is_buried(digest):
            # One page withdrew it and another, which led here, lists it still: it is held again.
            await self._store.change(unearth=[digest])
            if (blob := self._store.blob(digest)) is not None:
                return blob
        partial = await self._store.grow(wanted.key, wanted.file.size_bytes, wanted.origin)
        self._running[wanted.key] = partial
        self._alone[wanted.key] = trio.Event()
        self._nursery.start_soon(self._download, wanted, partial)
        return partial

    # -- the one download -----------------------------------------------------------------------------------------

    async def _download(self, wanted: Wanted, partial: Partial) -> None:
        """After a lie that clients saw, another attempt runs than the one that began: see `_fill_and_finish`."""
        name = wanted.file.filename
        try:
            blob = await self._fill_and_finish(wanted, partial)
            log.info("kept", extra={"file": name, "size_bytes": blob.size_bytes})
            self._attempts[wanted.key] = self._running[wanted.key].attempt
            forget_oldest(self._attempts, ATTEMPTS_REMEMBERED)
            if wanted.file.sha256 is None:
                await self._store.change(values={("trusted", wanted.key): blob.sha256.encode()})
        except P2pcdnError as error:
            log.warning("did not arrive: %s", error, extra={"file": name})
            self._running[wanted.key].fail(error)
            return
        except Exception:
            log.exception("%s did not arrive", name)
            fault = Unavailable(f"A fault of this node stopped the download of {name}; its log has the details.")
            self._running[wanted.key].fail(fault)
            return
        finally:
            del self._running[wanted.key], self._alone[wanted.key]
        try:
            await self._on_kept(wanted, blob)
        except Exception:  # in the node's nursery it would end everything
            log.exception("%s was kept, and not all that goes with it was done", name)

    async def _fill_and_finish(self, wanted: Wanted, partial: Partial) -> Blob:
        try:
            await self._fill(wanted, partial)
            return await _finish(partial)
        except DigestMismatch as error:
            self._counters.digest_mismatches += 1
            log.error(
                "wrong bytes: %s", error, extra={"file": error.what, "expected": error.expected, "got": error.got}
            )
            if not partial.is_provisional():
                raise
            # Somebody's word was wrong. His bytes go, he is remembered, and the file is fetched without him.
            self._swarm.distrust(partial)
            spoilt = partial.has_shown_unproven()
            await partial.forget_provisional()
            partial.brought.clear()
            if spoilt:
                # Who has read wrong bytes begins anew, and so do we: a new attempt has a name of its own.
                partial.fail(error)
                partial = self._running[wanted.key] = await self._store.grow(
                    wanted.key, wanted.file.size_bytes, wanted.origin
                )
        return await self._once_more(wanted, partial)

    async def _once_more(self, wanted: Wanted, partial: Partial) -> Blob:
        """After a lie: once more with the room, without the liar; and then, if need be, alone."""
        try:
            await self._fill(wanted, partial)
            return await _finish(partial)
        except DigestMismatch:
            self._counters.digest_mismatches += 1
            if not partial.is_provisional():
                raise
            self._swarm.distrust(partial)
            spoilt = partial.has_shown_unproven()
            await partial.forget_provisional()  # or the next attempt would begin with them
            partial.brought.clear()
            if spoilt:
                raise
        log.info("the room gave wrong bytes twice; now from the upstream alone", extra={"file": wanted.file.filename})
        await self._from_upstream(wanted, partial)
        return await _finish(partial)

    async def _fill(self, wanted: Wanted, partial: Partial) -> None:
        """From the room, which reads the upstream once for all; what it cannot give, straight from the upstream."""
        began = trio.current_time()
        lacking = await self._from_room(wanted, partial)
        if lacking is not None and self.offline:
            lacking = await self._from_silent_room(wanted, partial, lacking, began + SILENCE_WAIT_S)
        if lacking is None:
            return
        if partial.size_bytes is None:
            # Where the file ends, only peers have said; what they gave beyond the upstream's bytes may be too much.
            await partial.forget_provisional()
        await self._from_upstream(wanted, partial, lacking)

    async def _from_silent_room(
        self, wanted: Wanted, partial: Partial, lacking: P2pcdnError | None, until: float
    ) -> P2pcdnError | None:
        """Asks again, as long as a client waits and somebody owes an answer: there is nobody else to ask."""
        present_bytes = partial.present_bytes()
        while isinstance(lacking, Unanswered) and trio.current_time() < until:
            if not await self._swarm.heard_again(until):
                await trio.sleep(min(ASK_AGAIN_S, max(0.0, until - trio.current_time())))  # it answers, but not that
            lacking = await self._from_room(wanted, partial)
            if partial.present_bytes() > present_bytes:
                present_bytes, until = partial.present_bytes(), trio.current_time() + SILENCE_WAIT_S
        return lacking

    async def _from_room(self, wanted: Wanted, partial: Partial) -> P2pcdnError | None:
        """Why not all that was missing came; None where it did.

        Raises what the upstream said when this node read it for the room.
        """
        alone = self._alone[wanted.key]
        if partial.sha256 is None or alone.is_set():
            return Unavailable(f"{wanted.file.filename} is not asked of the room.")
        origin_failed: list[P2pcdnError] = []

        async def read_origin(start: int, end: int | None, sink: Sink) -> None:
            try:
                counted = _counted(wanted, partial, sink)
                await self._origin.read(
                    wanted, counted, start=start, end=end, on_size=bind(_set_size, partial), for_room=True
                )
            except _OtherSize:
                raise  # the room shares files of the size that is said of them; this one we read ourselves
            except P2pcdnError as error:
                origin_failed.append(error)
                raise

        failed: P2pcdnError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._drip, wanted, partial)
            nursery.start_soon(_cancel_after, alone, nursery.cancel_scope)
            try:
                wire_bytes_s = self._origin.wires.of(wanted.index.key, trio.current_time())
                await self._swarm.fill(partial, None if self.offline else read_origin, wire_bytes_s=wire_bytes_s)
            except P2pcdnError as error:  # raised below, for a nursery makes a group of it
                failed = error
            nursery.cancel_scope.cancel()
        if failed is not None and (failed in origin_failed or not isinstance(failed, Unavailable)):
            raise failed
        if failed is not None:
            log.debug("not from the room: %s", failed, extra={"file": wanted.file.filename})
        if failed is None and any(start != end for start, end in partial.missing()):
            # A drip that was stopped in the middle of its write has left a hole.
            return Unavailable(f"A part of {wanted.file.filename} is missing.")
        return failed

    async def _drip(self, wanted: Wanted, partial: Partial) -> None:
        """Keeps waiting clients hearing something while a slow peer's bytes are not proven yet."""
        while not self.offline:
            before = partial.frontier()
            await trio.sleep(DRIP_AFTER_S)
            if partial.frontier() != before or not partial.missing():
                continue
            end = min(before + DRIP_SIZE_BYTES, partial.size_bytes or before + DRIP_SIZE_BYTES)
            try:
                await self._origin.read(wanted, partial.write, start=before, end=end)
            except P2pcdnError as error:
                log.debug("no drip: %s", error, extra={"file": wanted.file.filename})

    async def _from_upstream(self, wanted: Wanted, partial: Partial, lacking: P2pcdnError | None = None) -> None:
        """lacking: why the room did not give it."""
        said = [partial.size_bytes]

        def on_size(size_bytes: int) -> None:
            said.append(size_bytes)
            _set_right_size(partial, size_bytes)

        try:
            await self._read_missing(wanted, partial, lacking, on_size)
        except RemoteProtocolError:
            if partial.sha256 is not None and said[-1] != partial.size_bytes:
                await (
                    partial.discard()
                )  # begun under the page's size, it never ends; the next attempt has the right one
            raise

    async def _read_missing(
        self, wanted: Wanted, partial: Partial, lacking: P2pcdnError | None, on_size: Callable[[int], None]
    ) -> None:
        for start, end in partial.missing():
            if self.offline:
                raise _offline(wanted, lacking)
            last = end in (start, partial.size_bytes)  # with an unknown size, the last range is empty and open
            writer = _Gathered(partial)
            try:
                await self._origin.read(
                    wanted,
                    _counted(wanted, partial, writer.write),
                    start=start,
                    end=None if last else end,
                    on_size=on_size,
                )
            finally:
                await writer.flush()
        if partial.size_bytes is not None and partial.missing():
            raise RemoteProtocolError(
                f"The upstream gave {partial.present_bytes()} bytes of {wanted.file.filename}, "
                f"and its index says {partial.size_bytes}."
            )


def _offline(wanted: Wanted, lacking: P2pcdnError | None) -> Unavailable:
    name = wanted.file.filename
    if isinstance(lacking, Unanswered):
        return Unavailable(
            f"This node is offline and does not hold all of {name}; a neighbour that may hold it did not answer in"
            " time. It may be busy: ask again."
        )
    return Unavailable(f"This node is offline, and neither it nor a neighbour holds all of {name}.", retry_after_s=60)


def digest_of(store: Store, wanted: Wanted) -> Sha256 | None:
    """The file's sha256: the index's, or, where it gives none, that of the bytes that came first."""
    if wanted.file.sha256 is not None:
        return wanted.file.sha256
    trusted = store.value("trusted", wanted.key)
    return Sha256(trusted.decode()) if trusted is not None else None


def _counted(wanted: Wanted, partial: Partial, sink: Sink) -> Sink:
    """The same sink; what comes through is noted as the upstream's."""
    host = urlsplit(wanted.file.url).netloc.rpartition("@")[2]
    source = f"upstream {host}" if host else "a directory of this machine"

    async def take(at: int, content: bytes) -> None:
        await sink(at, content)
        partial.brought[source] += len(content)

    return take


async def _finish(partial: Partial) -> Blob:
    """The file, proven; and kept with who gave its bytes, the most first."""
    sources = [source for source, _ in partial.brought.most_common()]
    others = [f"{len(sources) - SOURCES_NAMED_MAX} others"] if len(sources) > SOURCES_NAMED_MAX else []
    partial.origin = replace(partial.origin, came=", ".join([*sources[:SOURCES_NAMED_MAX], *others]))
    return await partial.finish()


class _Gathered:
    """Joins the upstream's small chunks into writes that are worth a step of the journal."""

    def __init__(self, partial: Partial) -> None:
        self._partial = partial
        self._at = 0
        self._content = bytearray()
        self._flush_by = trio.current_time()

    async def write(self, at: int, content: bytes) -> None:
        if not self._content:
            self._at = at
        self._content += content
        if len(self._content) >= WRITE_SIZE_BYTES or trio.current_time() >= self._flush_by:
            await self.flush()
            self._flush_by = trio.current_time() + WRITE_AFTER_S

    async def flush(self) -> None:
        content, self._content = self._content, bytearray()
        if content:
            await self._partial.write(self._at, content)


async def _cancel_after(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


class _OtherSize(Unavailable):
    """The upstream says another size than the index's page."""


def _set_size(partial: Partial, size_bytes: int) -> None:
    """Raises _OtherSize."""
    if partial.size_bytes is None:
        partial.set_size(size_bytes)
    elif _is_wrong(partial, size_bytes):
        raise _OtherSize(f"{partial.origin.filename} has another size than its index says.")


def _set_right_size(partial: Partial, size_bytes: int) -> None:
    """The upstream's, where the index's page says another: the hash decides what is kept, as it does for pip."""
    if partial.size_bytes is None:
        partial.set_size(size_bytes)
    elif _is_wrong(partial, size_bytes):
        log.warning(
            "an index is wrong: it says %d bytes, and its file has %d", partial.size_bytes, size_bytes,
            extra={"file": partial.origin.filename},
        )  # fmt: skip
        partial.correct_size(size_bytes)


def _is_wrong(partial: Partial, size_bytes: int) -> bool:
    """Before the first byte of a file with a hash; later it may be this one answer that is not right."""
    return partial.size_bytes != size_bytes and partial.sha256 is not None and not partial.present_bytes()
