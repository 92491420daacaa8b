"""Files as clients get them: whole or in ranges, held or still arriving, under an ETag that can be trusted."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from contextlib import ExitStack, aclosing
from typing import Literal

import trio

from p2pcdn.counters import Counters
from p2pcdn.digest import Sha256
from p2pcdn.errors import DigestMismatch, NotFound, StoreStopped
from p2pcdn.fetch import FOR_ROOM, Delivery, Fetch, Metadata, Wanted
from p2pcdn.http1 import (
    UNSATISFIABLE,
    FileSlice,
    Request,
    Response,
    content_range,
    etag_matches,
    if_range_matches,
    parse_range,
)
from p2pcdn.store import Blob, Partial
from p2pcdn.web.remembered import Remembered
from p2pcdn.web.routes import problem_response

# A client that gets no head for 15 s hangs up (pip). By then either a byte is there or the head goes out without one.
FIRST_BYTE_WAIT_S = 10.0
# Where there is no upstream, a neighbour that does not answer is waited for longer, and that it never did is a status.
FIRST_BYTE_WAIT_OFFLINE_S = 14.5
# Metadata in memory, some 10 KB a wheel: what a resolver reads of a few environments.
READY_SIZE_BYTES_MAX = 8 * 1024 * 1024

_IMMUTABLE = "max-age=365000000, immutable"
_TYPES = {".whl": "application/zip", ".gz": "application/gzip", ".zip": "application/zip"}


class FileDesk:
    """Answers requests for files and for the metadata beside them."""

    def __init__(self, fetch: Fetch, metadata: Metadata, delivery: Delivery, counters: Counters) -> None:
        self._fetch = fetch
        self._metadata = metadata
        self._delivery = delivery
        self._counters = counters
        # By the sha256 of the metadata, and whether its index is private: the answer, and the size of its body.
        self._ready: Remembered[tuple[Sha256, bool], tuple[Response, int]] = Remembered(READY_SIZE_BYTES_MAX)

    async def answer(self, request: Request, wanted: Wanted) -> Response:
        """The file or a range of it. Raises what keeps it from coming, as long as no head has gone out."""
        if request.method == "HEAD" and self._fetch.held(wanted) is None and wanted.file.size_bytes is not None:
            # A look at what the page describes well enough; it starts no download.
            return _described(wanted, wanted.file.size_bytes)
        for _ in range(2):
            held: Blob | Partial | None = None
            try:
                held = await self._fetch.open(wanted, for_room=_is_for_room(request))
                if isinstance(held, Blob):
                    return await self._whole(request, wanted, held)
                return await self._growing(request, wanted, held)
            except StoreStopped:
                return await self._passing(wanted)
            except NotFound:
                if not isinstance(held, Blob):
                    raise
                # The blob was lost between the look-up and the opening (evicted, or its file is gone): fetch it again.
        raise NotFound(f"{wanted.file.filename} vanished twice while it was being opened.")

    async def metadata(self, request: Request, wanted: Wanted) -> Response:
        """The METADATA of a wheel (PEP 658). Raises DigestMismatch where it is not what the page names."""
        content, declared = await self._metadata.of(wanted), wanted.file.core_metadata
        if isinstance(declared, Sha256) and (got := Sha256.of(content)) != declared:
            name = f"{wanted.file.filename}.metadata"
            raise DigestMismatch(name, expected=f"sha256:{declared}", got=f"sha256:{got}")
        return self._metadata_response(request, wanted, content)

    def ready_metadata(self, request: Request, wanted: Wanted) -> Response | None:
        """The same, if it needs no waiting."""
        name = self._metadata.name_of(wanted)
        if name is None or request.method == "HEAD" or "if-none-match" in request.headers:
            return None
        ready = self._ready.get((name, wanted.index.private))
        if ready is not None:
            self._counters.served_bytes += ready[1]
            return ready[0]
        content = self._metadata.at_hand(wanted)
        if content is None:
            return None
        response = self._metadata_response(request, wanted, content)
        self._ready.put((name, wanted.index.private), (response, len(content)), len(content))
        return response

    def _metadata_response(self, request: Request, wanted: Wanted, content: bytes) -> Response:
        etag = f'"{Sha256.of(content)}"'
        headers = [*_headers(wanted, etag), ("Cache-Status", "p2pcdn; hit")]
        if _not_modified(request, etag):
            return Response(304, headers)
        self._counters.served_bytes += 0 if request.method == "HEAD" else len(content)
        return Response(200, [("Content-Type", "text/plain; charset=utf-8"), *headers], content)

    # -- out of the store -----------------------------------------------------------------------------------------

    async def _whole(self, request: Request, wanted: Wanted, blob: Blob) -> Response:
        etag = f'"{wanted.key}"'
        headers = [*_headers(wanted, etag), ("Cache-Status", "p2pcdn; hit")]
        if _not_modified(request, etag):
            return Response(304, headers)
        attempt = self._fetch.attempt_of(wanted)
        # A client that was cut off while the file arrived may go on in the whole one.
        etags = [etag] if attempt is None else [etag, _attempt_etag(wanted, attempt)]
        extent = _extent(request, blob.size_bytes, etags)
        if extent == UNSATISFIABLE:
            return _unsatisfiable(blob.size_bytes)
        start, end = extent or (0, blob.size_bytes)
        status, partial_headers = _status(extent, blob.size_bytes)
        if request.method != "HEAD":
            self._counters.file_hits += extent is None
            self._counters.served_bytes += end - start
            self._counters.store_bytes += end - start
        headers = [*headers, *partial_headers, _type(wanted)]
        if blob.content is not None:
            return Response(status, headers, blob.content[start:end])
        file = await blob.open()
        return Response(status, headers, FileSlice(file, start, end - start), release=file.close)

    # -- while it arrives -----------------------------------------------------------------------------------------

    async def _growing(self, request: Request, wanted: Wanted, growing: Partial) -> Response:
        """Holds the file open from here on: it may be whole, and closed, before the body begins."""
        self._counters.file_misses += 1
        with ExitStack() as hold:
            hold.enter_context(growing.reader())
            await self._first_byte(growing)
            response = self._arriving(request, wanted, growing)
            response.release = hold.pop_all().close
            return response

    def _arriving(self, request: Request, wanted: Wanted, growing: Partial) -> Response:
        etag = _attempt_etag(wanted, growing.attempt)
        size = growing.size_bytes
        headers = [*_headers(wanted, etag), ("Cache-Status", "p2pcdn; fwd=miss; collapsed"), _type(wanted)]
        if size is None:
            return Response(200, headers, self._counted(self._delivery.follow(wanted, growing, 0, None)))
        extent = _extent(request, size, [etag])
        if extent == UNSATISFIABLE:
            return _unsatisfiable(size)
        start, end = extent or (0, size)
        status, partial_headers = _status(extent, size)
        body = self._counted(self._delivery.follow(wanted, growing, start, end, size))
        return Response(status, [*headers, *partial_headers], body, size_bytes=end - start)

    async def _first_byte(self, growing: Partial) -> None:
        """Waits a while for a size and a first byte, so that a failure still becomes a status."""
        with trio.move_on_after(FIRST_BYTE_WAIT_OFFLINE_S if self._fetch.offline else FIRST_BYTE_WAIT_S):
            await growing.readable(0)

    async def _passing(self, wanted: Wanted) -> Response:
        headers = [*_headers(wanted, None), ("Cache-Status", "p2pcdn; fwd=bypass; detail=store-stopped"), _type(wanted)]
        body = self._counted(self._delivery.pass_through(wanted, 0, None))
        await anext(body)
        return Response(200, headers, body, size_bytes=wanted.file.size_bytes)

    # -- small parts ----------------------------------------------------------------------------------------------

    async def _counted(self, body: AsyncGenerator[bytes | FileSlice]) -> AsyncGenerator[bytes | FileSlice]:
        async with aclosing(body):
            async for part in body:
                self._counters.served_bytes += len(part) if isinstance(part, bytes) else part.size_bytes
                yield part


def _is_for_room(request: Request) -> bool:
    name, value = FOR_ROOM
    return request.headers.get(name) == value


def _attempt_etag(wanted: Wanted, attempt: str) -> str:
    """The ETag of a file that is still arriving. After a mismatch the next attempt has another one, and a client that
    goes on where it was cut off starts over instead of joining right bytes to wrong ones."""
    return f'"{str(wanted.key)[:32]}-{attempt}"'


def _headers(wanted: Wanted, etag: str | None) -> list[tuple[str, str]]:
    life = f"{_IMMUTABLE}, private" if wanted.index.private else f"{_IMMUTABLE}, public"
    # A file without a hash may be replaced behind its URL; it is checked like a page.
    headers = [("Accept-Ranges", "bytes"), ("Cache-Control", life if wanted.file.sha256 else "max-age=600")]
    return [*headers, ("ETag", etag)] if etag is not None else headers


def _described(wanted: Wanted, size_bytes: int) -> Response:
    async def nothing() -> AsyncGenerator[bytes]:
        return
        yield b""

    headers = [*_headers(wanted, None), ("Cache-Status", "p2pcdn; fwd=miss; detail=not-fetched"), _type(wanted)]
    return Response(200, headers, nothing(), size_bytes=size_bytes)


def _type(wanted: Wanted) -> tuple[str, str]:
    ending = f".{wanted.file.filename.rpartition('.')[2]}"
    return ("Content-Type", _TYPES.get(ending, "application/octet-stream"))


def _not_modified(request: Request, etag: str) -> bool:
    if_none_match = request.headers.get("if-none-match")
    return if_none_match is not None and etag_matches(if_none_match, etag)


def _extent(request: Request, size: int, etags: Collection[str]) -> tuple[int, int] | Literal["unsatisfiable"] | None:
    """The part [start, end) that is asked for; None means all (RFC 9110, section 14.2)."""
    wished = request.headers.get("range")
    if wished is None or request.method != "GET":  # of other methods nobody knows a range (RFC 9110, section 14.2)
        return None
    if_range = request.headers.get("if-range")
    if if_range is not None and not any(if_range_matches(if_range, etag) for etag in etags):
        return None
    return parse_range(wished, size)


def _status(extent: tuple[int, int] | None, size: int) -> tuple[int, list[tuple[str, str]]]:
    if extent is None:
        return 200, []
    return 206, [("Content-Range", content_range(*extent, size))]


def _unsatisfiable(size: int) -> Response:
    return problem_response(416, "No such range", f"The file has {size} bytes.", [("Content-Range", f"bytes */{size}")])
