"""A file read from the place its index names: in order, going on by Range after a cut, with patience and its limits."""

from __future__ import annotations

import logging
import math
import random
import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace

import trio
from blake3 import blake3

from p2pcdn.answers import refusal
from p2pcdn.counters import Counters
from p2pcdn.digest import Sha256
from p2pcdn.errors import P2pcdnError, Refused, RemoteProtocolError, Unavailable
from p2pcdn.fetch.wires import Meter, Wires
from p2pcdn.simple import File
from p2pcdn.store import Origin
from p2pcdn.trust import is_trusted
from p2pcdn.world import Index, Upstream, UpstreamResponse

log = logging.getLogger(__name__)

# No file of an index is larger: PyPI's own limit is far below, the largest CUDA wheels have 4 GiB.
FILE_SIZE_BYTES_MAX = 64 * 1024**3
# Attempts in a row that brought no byte. With the pauses below that is some 8 s of a dead upstream.
ATTEMPTS_WITHOUT_PROGRESS = 4
PAUSE_FIRST_S = 0.5
PAUSE_MAX_S = 8.0

# Said to an upstream that this node asks for its whole room. Where that is a node too (a warm seed), and of the same
# room, it must not ask the room in its turn: it would wait for us, who wait for it.
FOR_ROOM = ("p2pcdn-for", "room")

# Takes bytes at an offset of the file.
Sink = Callable[[int, bytes], Awaitable[None]]

# How upstreams say that they do not take `bytes=-65536`.
_NO_SUFFIX = frozenset({400, 416, 501})
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)
_LENGTH = re.compile(r"\d{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file of a project page: what is wanted, and where the page says that it is."""

    index: Index
    project: str
    file: File

    @property
    def key(self) -> Sha256 | str:
        """What names the file: its sha256, or, where the index gives none, its URL (trusted on first use)."""
        return self.file.sha256 or f"url-{blake3(self.file.url.encode()).hexdigest(length=16)}"

    @property
    def origin(self) -> Origin:
        """What the store keeps beside the bytes. A file without a hash is never shared: nobody could check it."""
        share = self.index.share if self.file.sha256 else "never"
        return Origin(self.file.filename, self.project, self.index.key, share)

    def metadata(self) -> Wanted:
        """The metadata file that stands beside a wheel (PEP 658)."""
        declared = self.file.core_metadata
        beside = replace(
            self.file,
            filename=f"{self.file.filename}.metadata",
            url=f"{self.file.url}.metadata",
            sha256=declared if isinstance(declared, Sha256) else None,
            size_bytes=None,
            core_metadata=False,
        )
        return replace(self, file=beside)


@dataclass(slots=True)
class _Reading:
    """Where a reading stands. end: None while nobody knows it. ranged: a part was asked for, not all to the end.

    validator: the ETag or Last-Modified of what was read so far.
    """

    at: int
    end: int | None
    for_room: bool
    ranged: bool = field(init=False)
    validator: str | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.ranged = self.end is not None

    def is_over(self) -> bool:
        return self.end is not None and self.at >= self.end


class OriginReader:
    """Reads files from upstreams; from none where `offline`. wires: how fast that went, all that it remembers."""

    def __init__(self, upstream: Upstream, counters: Counters, dice: random.Random, *, offline: bool = False) -> None:
        self._upstream = upstream
        self._offline = offline
        self._counters = counters
        self._dice = dice
        self.wires = Wires()

    async def read(
        self,
        wanted: Wanted,
        sink: Sink,
        *,
        start: int = 0,
        end: int | None = None,
        on_size: Callable[[int], None] = lambda _: None,
        for_room: bool = False,
    ) -> None:
        """Gives the sink the bytes [start, end) in order; to the end of the file where `end` is None.

        on_size is told the size of the whole file as soon as the upstream says it. Whether the bytes are right is for
        the sink's owner to decide. Raises NotFound, Refused, Unavailable, and RemoteProtocolError where a file without
        a hash is another one after a cut.
        """
        if self._offline:
            raise Unavailable(
                f"This node is offline and does not hold all of {wanted.file.filename}.", retry_after_s=math.inf
            )
        _refuse_open_and_unhashed(wanted)
        reading = _Reading(start, end, for_room)
        fruitless = 0
        while not reading.is_over():
            before = reading.at
            try:
                await self._read_on(wanted, sink, reading, on_size)
            except Unavailable as error:
                fruitless = 0 if reading.at > before else fruitless + 1
                if fruitless >= ATTEMPTS_WITHOUT_PROGRESS:
                    raise
                await self._pause(wanted, fruitless, error)

    async def tail(self, wanted: Wanted, size_bytes: int) -> tuple[int, bytes] | None:
        """(the size of the whole file, its last bytes, at most so many): one question, of whoever knows neither.

        None where the upstream does not know such ranges: to some both ends must be named (RFC 9110, section 14.1.2).
        Raises NotFound, Refused, Unavailable; it is not tried again.
        """
        _refuse_open_and_unhashed(wanted)
        headers = {"accept-encoding": "identity", "range": f"bytes=-{size_bytes}"}
        self._counters.upstream_file_requests += 1
        content = bytearray()
        async with self._upstream.get(wanted.index, wanted.file.url, headers) as response:
            if response.status in _NO_SUFFIX:
                return None
            error = refusal(response.status, response.headers, response.url, f"file {wanted.file.filename}")
            if error is not None:
                raise error
            match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
            if response.status != 206 or match is None or int(match[2]) + 1 != int(match[3]):
                return None
            async for chunk in response.body:
                self._counters.upstream_bytes[wanted.index.label] += len(chunk)
                content += chunk
                if len(content) > size_bytes:
                    return None
        first, size = int(match[1]), int(match[3])
        return (size, bytes(content)) if len(content) == size - first else None

    async def _read_on(self, wanted: Wanted, sink: Sink, reading: _Reading, on_size: Callable[[int], None]) -> None:
        """One request, from where the reading stands."""
        async with self._ask(wanted, reading) as response:
            if reading.at and response.headers.get("content-range") == f"bytes */{reading.at}":
                reading.end = reading.at  # 416: there is nothing behind what we have (RFC 9110, section 15.5.17)
                return
            error = refusal(response.status, response.headers, response.url, f"file {wanted.file.filename}")
            if error is not None:
                raise error
            _refuse_another(wanted, response, reading)
            size = _size_of(wanted, response, reading.at)
            if size is not None:
                on_size(size)
                reading.end = size if reading.end is None else reading.end
            await self._drain(wanted, response, sink, reading)
        if reading.end is None:
            # Without a length a cut looks like the end; the index's size tells them apart.
            reading.end = max(reading.at, wanted.file.size_bytes or 0)
        if not reading.is_over():
            raise Unavailable(f"The connection for {wanted.file.filename} was cut at byte {reading.at}.")

    def _ask(self, wanted: Wanted, reading: _Reading) -> AbstractAsyncContextManager[UpstreamResponse]:
        headers = {"accept-encoding": "identity"}
        if reading.at or reading.ranged:
            last = reading.end - 1 if reading.ranged and reading.end is not None else ""
            headers["range"] = f"bytes={reading.at}-{last}"
        if reading.for_room:
            headers |= [FOR_ROOM]
        self._counters.upstream_file_requests += 1
        return self._upstream.get(wanted.index, wanted.file.url, headers)

    async def _drain(self, wanted: Wanted, response: UpstreamResponse, sink: Sink, reading: _Reading) -> None:
        # An upstream that does not know Range sends the file from its first byte; what we have already is passed over.
        position = reading.at if response.status == 206 else 0
        announced, body_bytes = _length_of(response), 0
        meter = Meter()
        async for chunk in response.body:
            meter.came(len(chunk), trio.current_time())
            self._counters.upstream_bytes[wanted.index.label] += len(chunk)
            if position + len(chunk) > FILE_SIZE_BYTES_MAX:
                raise Refused(f"{wanted.file.filename} is larger than {FILE_SIZE_BYTES_MAX >> 30} GiB; it was cut.")
            fresh = chunk[max(0, reading.at - position) :]
            if reading.end is not None:
                fresh = fresh[: reading.end - reading.at]
            position += len(chunk)
            if fresh:
                await sink(reading.at, fresh)
                reading.at += len(fresh)
            meter.waits(trio.current_time())
            body_bytes += len(chunk)
            if reading.is_over() and body_bytes != announced:
                break  # else the body's own end comes without waiting, and the connection serves the next question
        self.wires.note(wanted.index.key, meter)

    async def _pause(self, wanted: Wanted, fruitless: int, error: P2pcdnError) -> None:
        pause_s = min(PAUSE_FIRST_S * 2**fruitless, PAUSE_MAX_S)
        if isinstance(error, Unavailable) and fruitless:
            pause_s = max(pause_s, min(error.retry_after_s, PAUSE_MAX_S))
        log.info("trying again: %s", error, extra={"file": wanted.file.filename})
        # Full jitter: a fleet that lost its upstream together does not come back together.
        await trio.sleep(pause_s * (0.5 + self._dice.random() / 2))


def _refuse_open_and_unhashed(wanted: Wanted) -> None:
    """An index that is asked over TLS, and gives no hash, must not lead where anybody on the way can change things."""
    open_file = wanted.file.sha256 is None and wanted.file.url.startswith("http://")
    if open_file and wanted.index.url.startswith("https://") and not is_trusted(wanted.file.url, ()):
        raise Refused(
            f"{wanted.index.url} links {wanted.file.filename} over plain http and gives no hash of it, so anybody on "
            "the way could change it; nothing was fetched."
        )


def _refuse_another(wanted: Wanted, response: UpstreamResponse, reading: _Reading) -> None:
    """Where there is no hash, nobody else would notice that a file changed between two of its parts."""
    validator = response.headers.get("etag") or response.headers.get("last-modified")
    changed = validator is not None and reading.validator not in (None, validator)
    if changed and wanted.file.sha256 is None:
        raise RemoteProtocolError(f"{wanted.file.filename} changed at the upstream while it was being read; ask again.")
    reading.validator = validator


def _size_of(wanted: Wanted, response: UpstreamResponse, at: int) -> int | None:
    if response.status == 206:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
        if match is None or int(match[1]) != at:
            raise Unavailable(f"The upstream's answer to a Range request for {wanted.file.filename} makes no sense.")
        return int(match[3])
    coded = response.headers.get("content-encoding", "identity") != "identity"
    return _length_of(response) if not coded else None


def _length_of(response: UpstreamResponse) -> int | None:
    """What the upstream says of the length of this body."""
    length = response.headers.get("content-length", "")
    return int(length) if _LENGTH.fullmatch(length) else None
