"""Project pages as clients get them: negotiated, rendered and packed once, a 304 where the client has them."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import trio
import zstandard
from blake3 import blake3

from p2pcdn.digest import Sha256
from p2pcdn.fetch import Wanted, digest_of
from p2pcdn.flight import Flights
from p2pcdn.http1 import Request, Response, etag_matches
from p2pcdn.index import HeldPage, path_of
from p2pcdn.simple import File, MediaType, ProjectPage, negotiate, render_html, render_json
from p2pcdn.simple.described import METADATA_KEYS
from p2pcdn.store import Store
from p2pcdn.web.remembered import Remembered
from p2pcdn.web.routes import problem_response
from p2pcdn.world import Share, Threads

# Rendered pages in memory. A page of 5,000 files has 1.5 MB plain, 0.2 MB packed.
RENDERED_SIZE_BYTES_MAX = 24 * 1024 * 1024
# Below this a page is one packet or two; packing would cost more than it saves.
PACK_SIZE_BYTES_MIN = 1024
RENDER_INLINE_FILES_MAX = 50

# How long it is remembered which files of a page are near, and of how many pages: somebody in the room has perhaps
# fetched another meanwhile.
NEAR_KNOWN_S = 5.0
NEAR_FILES_MAX = 50_000
# Files looked up in the store before others have a turn: a millisecond.
FILES_AT_ONCE = 256

# What Cache-Status says of a page (RFC 9211).
_HIT, _STALE, _ASKED = b"hit", b"hit; detail=stale", b"fwd=miss"

IDENTITY, GZIP, ZSTD = "identity", "gzip", "zstd"


@dataclass(frozen=True, slots=True)
class Rendered:
    """One representation of a page: a body in one media type and one content coding, under its own strong ETag."""

    body: bytes
    etag: str
    head_lines: bytes


@dataclass(frozen=True, slots=True)
class _Key:
    """near: None where all files are listed; else 16 bytes that change with which of them are."""

    index: str
    project: str
    version: str
    media_type: MediaType
    coding: str
    near: bytes | None


@dataclass(frozen=True, slots=True)
class _Near:
    """What is left of a page where only near files are listed. held: the store's blobs and bytes at that time."""

    page: ProjectPage
    mark: bytes
    held: tuple[int, int]
    until: float


# Which of these files a neighbour would give; the likeliest to be wanted first. See `Nearby.held_nearby`.
HeldNearby = Callable[[Sequence[Sha256], Share], Awaitable[Collection[Sha256]]]


async def _nobody(sha256s: Sequence[Sha256], share: Share) -> Collection[Sha256]:
    return ()


class PageDesk:
    """Gives representations of pages, made when first asked for. Used by one trio loop."""

    def __init__(
        self,
        store: Store,
        threads: Threads,
        nursery: trio.Nursery,
        *,
        private_prefix: str,
        held_nearby: HeldNearby = _nobody,
    ) -> None:
        """private_prefix: where the files of indexes with credentials are; see `IndexFace`."""
        self._held_nearby = held_nearby
        self._near_pages: Remembered[tuple[str, str, str], _Near] = Remembered(NEAR_FILES_MAX)
        self._looking: Flights[tuple[str, str, str], _Near] = Flights(nursery)
        self._private_prefix = private_prefix
        self._store = store
        self._threads = threads
        self._rendered: Remembered[_Key, Rendered] = Remembered(RENDERED_SIZE_BYTES_MAX)
        self._making: Flights[_Key, Rendered] = Flights(nursery)

    def ready(self, request: Request, held: HeldPage, now: float, near_only: bool) -> Response | None:
        """The answer, if its representation is in memory."""
        near = self._known_near(held) if near_only else None
        if near_only and near is None:
            return None
        key = self._key(request, held, near)
        if key is None:
            return _not_acceptable()
        rendered = self._rendered.get(key)
        return _respond(request, held, rendered, now, _HIT) if rendered is not None else None

    async def answer(self, request: Request, held: HeldPage, now: float, near_only: bool, *, asked: bool) -> Response:
        """The answer, rendered now if need be. asked: whether the upstream was asked for the sake of this request."""
        page = held.page
        near = await self._near(held, page) if near_only and page is not None else None
        key = self._key(request, held, near)
        if key is None or page is None:
            return _not_acceptable()
        rendered = self._rendered.get(key)
        if rendered is None:
            # A class that asks for the same large page at once has it rendered once.
            shown = page if near is None else near.page
            rendered = await self._making.join(key, functools.partial(self._render, key, held, shown))
        return _respond(request, held, rendered, now, _ASKED if asked else _HIT)

    async def _render(self, key: _Key, held: HeldPage, page: ProjectPage) -> Rendered:
        prefix = self._private_prefix if held.index.private else ""
        make = functools.partial(_make, key, held, page, prefix, self._made_metadata(page))
        rendered = make() if len(page.files) <= RENDER_INLINE_FILES_MAX else await self._threads.run(make)
        self._rendered.put(key, rendered, len(rendered.body))
        return rendered

    def forget(self, project: str) -> None:
        """Renders the project's pages anew when next asked: metadata was made for one of its files."""
        self._rendered.forget(lambda key: key.project == project)

    def _key(self, request: Request, held: HeldPage, near: _Near | None) -> _Key | None:
        media_type = negotiate(request.headers.get("accept"), _format_of(request.query))
        if media_type is None:
            return None
        coding = _coding(request.headers.get("accept-encoding", ""))
        mark = None if near is None else near.mark
        return _Key(held.index.key, held.project, held.version, media_type, coding, mark)

    # -- which files are near -------------------------------------------------------------------------------------

    def _known_near(self, held: HeldPage) -> _Near | None:
        near = self._near_pages.get((held.index.key, held.project, held.version))
        if near is None or near.held != self._held_now() or trio.current_time() >= near.until:
            return None
        return near

    def _held_now(self) -> tuple[int, int]:
        """Changes with what the store holds."""
        summary = self._store.summary()
        return summary.blobs, summary.size_bytes

    async def _near(self, held: HeldPage, page: ProjectPage) -> _Near:
        key = (held.index.key, held.project, held.version)
        return self._known_near(held) or await self._looking.join(
            key, functools.partial(self._look_for_near, held, page)
        )

    async def _look_for_near(self, held: HeldPage, page: ProjectPage) -> _Near:
        """The page with the files that this node holds or a living neighbour would give.

        Metadata that nobody near has is not advertised: an installer would ask for nothing else first, and fail.
        """
        held_now = self._held_now()
        digests: list[Sha256 | None] = []
        own: set[Sha256] = set()
        for number, file in enumerate(page.files):
            digests.append(digest_of(self._store, Wanted(held.index, held.project, file)))
            own.update(one for one in (digests[-1], _metadata_of(file)) if one is not None and self._store.holds(one))
            if number % FILES_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
        # The newest version stands last on most pages, and upload times say it where they are given.
        newest_first = sorted(page.files, key=lambda file: file.upload_time or "")[::-1]
        asked = [one for file in newest_first for one in (file.sha256, _metadata_of(file)) if one is not None]
        distant = [one for one in asked if one not in own]
        near = own.union(await self._held_nearby(distant, held.index.share))
        files = tuple(
            file if (beside := _metadata_of(file)) is None or beside in near else _without_metadata(file)
            for file, digest in zip(page.files, digests, strict=True)
            if digest in near
        )
        mark = blake3(repr([(file.filename, file.sha256, file.core_metadata) for file in files]).encode()).digest(16)
        found = _Near(replace(page, files=files), mark, held_now, trio.current_time() + NEAR_KNOWN_S)
        self._near_pages.put((held.index.key, held.project, held.version), found, len(files) + 1)
        return found

    def _made_metadata(self, page: ProjectPage) -> dict[str, Sha256]:
        """By file name, the metadata that this node made and holds, for wheels whose index gives none."""
        made = {}
        for file in page.files:
            if file.sha256 is None or isinstance(file.core_metadata, Sha256):
                continue
            name = self._store.value("metadata", file.sha256)
            if name is not None and self._store.holds(digest := Sha256(name.decode())):
                made[file.filename] = digest
        return made


def _metadata_of(file: File) -> Sha256 | None:
    return file.core_metadata if isinstance(file.core_metadata, Sha256) else None


def _without_metadata(file: File) -> File:
    raw = {name: value for name, value in file.raw.items() if name not in METADATA_KEYS}
    return replace(file, core_metadata=False, raw=raw)


def _make(key: _Key, held: HeldPage, page: ProjectPage, prefix: str, made: Mapping[str, Sha256]) -> Rendered:
    """Renders and packs; runs in a thread, so it touches nothing but what it is given."""

    def link(file: File) -> str:
        return prefix + path_of(held.index, held.project, file)

    render = render_json if key.media_type is MediaType.JSON else render_html
    body = render(page, link, lambda file: made.get(file.filename))
    coding = key.coding if len(body) >= PACK_SIZE_BYTES_MIN else IDENTITY
    body = _PACK[coding](body)
    etag = _etag(body, key)
    return Rendered(body, etag, _head_lines(key, coding, held, etag))


def _respond(request: Request, held: HeldPage, rendered: Rendered, now: float, how: bytes) -> Response:
    # What is left of the upstream's own freshness, in whole seconds; a stale page is not to be kept by anyone.
    left_s = 0 if held.stale else max(0, int(held.fresh_for_s(now)))
    scope = b"private" if held.index.private else b"public"
    head_lines = b"%bCache-Control: max-age=%d, %b\r\nCache-Status: p2pcdn; %b; ttl=%d\r\n" % (
        rendered.head_lines,
        left_s,
        scope,
        _STALE if held.stale else how,
        left_s,
    )
    if_none_match = request.headers.get("if-none-match")
    if if_none_match is not None and etag_matches(if_none_match, rendered.etag):
        return Response(304, (), b"", head_lines=head_lines)
    return Response(200, (), rendered.body, head_lines=head_lines)


def _head_lines(key: _Key, coding: str, held: HeldPage, etag: str) -> bytes:
    lines = [f"Content-Type: {key.media_type}", f"ETag: {etag}", "Vary: Accept, Accept-Encoding"]
    if key.media_type.startswith("text/"):
        lines[0] += "; charset=utf-8"
    if coding != IDENTITY:
        lines.append(f"Content-Encoding: {coding}")
    if held.serial is not None:
        lines.append(f"X-PyPI-Last-Serial: {held.serial}")
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


def _etag(body: bytes, key: _Key) -> str:
    """Strong, and different for each representation: uv ignores weak ones (RFC 9110, section 8.8.3)."""
    return f'"{blake3(body).hexdigest(length=16)}-{key.coding[0]}"'


def _not_acceptable() -> Response:
    return problem_response(
        406, "Not acceptable", "Project pages are given as application/vnd.pypi.simple.v1+json or +html, or text/html."
    )


@functools.lru_cache(maxsize=256)
def _format_of(query: str) -> str | None:
    """The value of `format` in a query (PEP 691)."""
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name == "format":
            return value.replace("%2B", "+").replace("%2b", "+").replace("%2F", "/").replace("%2f", "/")
    return None


@functools.lru_cache(maxsize=256)
def _coding(accept_encoding: str) -> str:
    """The coding we give: zstd before gzip before none, among those that the client takes."""
    taken = set()
    for part in accept_encoding.lower().split(","):
        name, _, quality = part.partition(";")
        if quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            taken.add(name.strip())
    return next((coding for coding in (ZSTD, GZIP) if coding in taken), IDENTITY)


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return packer.compress(body) + packer.flush()


_PACK: dict[str, Callable[[bytes], bytes]] = {
    IDENTITY: bytes,
    GZIP: _gzip,
    ZSTD: lambda body: zstandard.ZstdCompressor(level=6).compress(body),
}
