"""Filling one file: from the room, which reads the upstream once for all, and what it cannot give from the upstream."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial as bind
from urllib.parse import urlsplit

import trio

from p2pcdn.errors import P2pcdnError, RemoteProtocolError, Unanswered, Unavailable
from p2pcdn.fetch.origin import OriginReader, Sink, Wanted
from p2pcdn.store import Partial
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


class Filling:
    """Used by all downloads of a node."""

    def __init__(self, swarm: Swarm, origin: OriginReader, *, is_offline: Callable[[], bool]) -> None:
        self._swarm = swarm
        self._origin = origin
        self._is_offline = is_offline

    async def fill(self, wanted: Wanted, partial: Partial, alone: trio.Event) -> None:
        """From the room, which reads the upstream once for all; what it cannot give, straight from the upstream.

        alone: set when the room is to be left out.
        """
        began = trio.current_time()
        lacking = await self._from_room(wanted, partial, alone)
        if lacking is not None and self._is_offline():
            lacking = await self._from_silent_room(wanted, partial, alone, lacking, began + SILENCE_WAIT_S)
        if lacking is None:
            return
        if partial.size_bytes is None:
            # Where the file ends, only peers have said; what they gave beyond the upstream's bytes may be too much.
            await partial.forget_provisional()
        await self.from_upstream(wanted, partial, lacking)

    async def from_upstream(self, wanted: Wanted, partial: Partial, lacking: P2pcdnError | None = None) -> None:
        """What is missing, from there alone. lacking: why the room did not give it."""
        said = [partial.size_bytes]

        def on_size(size_bytes: int) -> None:
            said.append(size_bytes)
            _set_right_size(partial, size_bytes)

        try:
            await self._read_missing(wanted, partial, lacking, on_size)
        except RemoteProtocolError:
            if partial.sha256 is not None and said[-1] != partial.size_bytes:
                # Begun under the page's size, it never ends; the next attempt has the right one.
                await partial.discard()
            raise

    # --- below

    async def _from_silent_room(
        self, wanted: Wanted, partial: Partial, alone: trio.Event, lacking: P2pcdnError | None, until: float
    ) -> P2pcdnError | None:
        """Asks again, as long as a client waits and somebody owes an answer: there is nobody else to ask."""
        present_bytes = partial.present_bytes()
        while isinstance(lacking, Unanswered) and trio.current_time() < until:
            if not await self._swarm.heard_again(until):
                await trio.sleep(min(ASK_AGAIN_S, max(0.0, until - trio.current_time())))  # it answers, but not that
            lacking = await self._from_room(wanted, partial, alone)
            if partial.present_bytes() > present_bytes:
                present_bytes, until = partial.present_bytes(), trio.current_time() + SILENCE_WAIT_S
        return lacking

    async def _from_room(self, wanted: Wanted, partial: Partial, alone: trio.Event) -> P2pcdnError | None:
        """Why not all that was missing came; None where it did.

        Raises what the upstream said when this node read it for the room.
        """
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
                await self._swarm.fill(partial, None if self._is_offline() else read_origin, wire_bytes_s=wire_bytes_s)
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
        while not self._is_offline():
            before = partial.frontier()
            await trio.sleep(DRIP_AFTER_S)
            if partial.frontier() != before or not partial.missing():
                continue
            end = min(before + DRIP_SIZE_BYTES, partial.size_bytes or before + DRIP_SIZE_BYTES)
            try:
                await self._origin.read(wanted, partial.write, start=before, end=end)
            except P2pcdnError as error:
                log.debug("no drip: %s", error, extra={"file": wanted.file.filename})

    async def _read_missing(
        self, wanted: Wanted, partial: Partial, lacking: P2pcdnError | None, on_size: Callable[[int], None]
    ) -> None:
        for start, end in partial.missing():
            if self._is_offline():
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
    return Unavailable(
        f"This node is offline, and neither it nor a neighbour holds all of {name}.", retry_after_s=math.inf
    )


def _counted(wanted: Wanted, partial: Partial, sink: Sink) -> Sink:
    """The same sink; what comes through is noted as the upstream's."""
    host = urlsplit(wanted.file.url).netloc.rpartition("@")[2]
    source = f"upstream {host}" if host else "a directory of this machine"

    async def take(at: int, content: bytes) -> None:
        await sink(at, content)
        partial.brought[source] += len(content)

    return take


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
