"""The index face: what pip, uv, poetry and pdm ask on localhost. GET and HEAD only; nothing here changes anything."""

from __future__ import annotations

import functools
import hmac
import html
import math
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from urllib.parse import unquote

from p2pcdn.answers import refusal
from p2pcdn.counters import Counters
from p2pcdn.errors import NotFound, P2pcdnError, Refused, Unavailable
from p2pcdn.fetch import Wanted
from p2pcdn.http1 import Request, Response
from p2pcdn.index import HeldPage, Pages, file_at, known_file
from p2pcdn.names import normalize_project
from p2pcdn.simple import File
from p2pcdn.web.files import FileDesk
from p2pcdn.web.metrics import metrics_response
from p2pcdn.web.pages import PageDesk
from p2pcdn.web.routes import problem, problem_response
from p2pcdn.world import Clock, Index, Upstream

# The list of all projects has 40 MB at PyPI; it is passed on as it comes and never kept.
ROOT_SIZE_BYTES_MAX = 512 * 1024 * 1024
# `/pypi/<name>/json` of the project with the most releases has some 10 MiB.
JSON_API_SIZE_BYTES_MAX = 128 * 1024 * 1024

# A name has 200 characters at most. Longer paths are read each time, so that the remembered ones stay below 2 MB.
REMEMBERED_LENGTH_MAX = 256

# The fields that are passed on with a list or a JSON page. Nobody asks for a content coding; one that comes is named.
_PASSED_ON = ("content-type", "content-encoding", "cache-control", "etag", "last-modified", "x-pypi-last-serial")

_SIMPLE = re.compile(r"/simple/([^/]+)/?")
_JSON_API = re.compile(r"/pypi/([^/]+)(?:/([^/]+))?/json/?")


class IndexFace:
    """Answers requests.

    Behind `private_prefix`, which holds a secret, are the indexes with credentials too; `setup` writes it where only
    the user reads.
    """

    def __init__(
        self,
        *,
        pages: Pages,
        page_desk: PageDesk,
        file_desk: FileDesk,
        upstream: Upstream,
        counters: Counters,
        clock: Clock,
        private_prefix: str,
        status: Callable[[], dict[str, object]],
    ) -> None:
        self._pages = pages
        self._page_desk = page_desk
        self._file_desk = file_desk
        self._upstream = upstream
        self._counters = counters
        self._clock = clock
        self._private_prefix = private_prefix
        self._status = status

    def __call__(self, request: Request) -> Response | Awaitable[Response]:
        """Fresh pages that are rendered, and metadata at hand, go out without a task switch; everything else waits."""
        return self._ready_page(request) or self._ready_metadata(request) or self._answer(request)

    def _ready_page(self, request: Request) -> Response | None:
        project = _project_in(request.path) if len(request.path) <= REMEMBERED_LENGTH_MAX else None
        held = self._pages.fresh(project, insist=_insists(request)) if project is not None else None
        if held is None or held.index.private:
            return None
        near_only = self._pages.hides_distant_files(held.index)
        response = self._page_desk.ready(request, held, self._clock.now(), near_only)
        self._counters.page_hits += response is not None
        return response

    def _ready_metadata(self, request: Request) -> Response | None:
        if not request.path.endswith(".metadata"):
            return None
        known = known_file(self._pages, unquote(request.path.removesuffix(".metadata"), errors="replace"))
        if known is None or known[0].index.private:
            return None
        return self._file_desk.ready_metadata(request, _wanted(*known))

    async def _answer(self, request: Request) -> Response:
        # From here on the path shows no secret, not in a log line either.
        request.path, private = self._opened(request.path)
        try:
            return await self._route(request, request.path, private)
        except P2pcdnError as error:
            return problem(error)

    def _opened(self, path: str) -> tuple[str, bool]:
        """The path behind the private prefix, and whether the caller knew it."""
        prefix = path[: len(self._private_prefix)]
        if hmac.compare_digest(prefix.encode(), self._private_prefix.encode()):
            return path[len(self._private_prefix) :], True
        return path, False

    async def _route(self, request: Request, path: str, private: bool) -> Response:
        if path in ("/simple/", "/simple"):
            return await self._root(request, private)
        if match := _SIMPLE.fullmatch(path):
            return await self._page(request, _normalized(match[1]), private)
        if path.startswith(("/packages/", "/files/")):
            return await self._file(request, unquote(path, errors="replace"), private)
        if match := _JSON_API.fullmatch(path):
            return await self._json_api(_normalized(match[1]), match[2], private)
        if path == "/metrics":
            return metrics_response(self._counters, self._status())
        if path == "/health":
            return Response(200, [("Content-Type", "text/plain"), ("Cache-Control", "no-store")], b"ok\n")
        if path == "/":
            return Response(200, [("Content-Type", "text/html; charset=utf-8")], _WELCOME)
        return problem_response(
            404,
            "Not found",
            f"Nothing is at {path[:200]}. Point pip at /simple/; see docs/index.md for what else there is.",
        )

    # -- pages ----------------------------------------------------------------------------------------------------

    async def _page(self, request: Request, project: str, private: bool) -> Response:
        began = self._clock.now()
        held = await self._pages.project(project, insist=_insists(request))
        _open_to(held.index, private, project)
        asked = held.checked_at >= began
        self._counters.page_misses += asked
        self._counters.page_hits += not asked
        near_only = self._pages.hides_distant_files(held.index)
        return await self._page_desk.answer(request, held, self._clock.now(), near_only, asked=asked)

    async def _root(self, request: Request, private: bool) -> Response:
        """The list of all projects, as the default index gives it."""
        accept = request.headers.get("accept", "")
        headers = {"accept": accept if accept.isascii() and accept else "text/html", "accept-encoding": "identity"}
        index = self._pages.default
        _open_to(index, private, "The list of projects")
        return await self._passed_on(index, index.url, headers, ROOT_SIZE_BYTES_MAX)

    async def _json_api(self, project: str, version: str | None, private: bool) -> Response:
        """The JSON API of the index that owns the project; `version` is still percent-encoded."""
        index = (await self._pages.project(project)).index
        _open_to(index, private, project)
        if not index.url.endswith("/simple/"):
            raise NotFound(f"{index.url} is not known to have a JSON API.")
        where = project if version is None else f"{project}/{version}"
        url = f"{index.url.removesuffix('simple/')}pypi/{where}/json"
        return await self._passed_on(index, url, {"accept-encoding": "identity"}, JSON_API_SIZE_BYTES_MAX)

    async def _passed_on(self, index: Index, url: str, headers: dict[str, str], size_bytes_max: int) -> Response:
        if self._pages.offline:
            raise Unavailable("This node is offline and does not keep this page.", retry_after_s=math.inf)
        passed = [("Cache-Status", "p2pcdn; fwd=bypass")]

        async def body() -> AsyncGenerator[bytes]:
            size = 0
            async with self._upstream.get(index, url, headers) as response:
                error = refusal(response.status, response.headers, response.url)
                if error is not None:
                    raise error
                passed.extend(
                    (name, response.headers[name]) for name in _PASSED_ON if _is_plain(response.headers, name)
                )
                yield b""
                async for chunk in response.body:
                    size += len(chunk)
                    if size > size_bytes_max:
                        raise Refused(f"{url} is larger than {size_bytes_max >> 20} MiB; it was cut.")
                    self._counters.page_bytes[index.label] += len(chunk)
                    yield chunk

        passing = body()
        # It has begun when the head goes out: whoever closes it then closes the upstream's answer, too.
        await anext(passing)
        return Response(200, passed, passing)

    # -- files ----------------------------------------------------------------------------------------------------

    async def _file(self, request: Request, path: str, private: bool) -> Response:
        for_metadata = path.endswith(".metadata")
        held, file = await file_at(self._pages, path.removesuffix(".metadata") if for_metadata else path)
        _open_to(held.index, private, held.project)
        wanted = _wanted(held, file)
        if for_metadata:
            return await self._file_desk.metadata(request, wanted)
        return await self._file_desk.answer(request, wanted)


def _is_plain(headers: Mapping[str, str], name: str) -> bool:
    """Whether a field is there, and can be sent on as it is."""
    value = headers.get(name, "\n")
    return value.isascii() and value.isprintable()


def _wanted(held: HeldPage, file: File) -> Wanted:
    return Wanted(held.index, held.project, file)


def _open_to(index: Index, private: bool, what: str) -> None:
    if index.private and not private:
        raise Refused(
            f"{what} comes from an index with credentials. Ask for it at the private address that `p2pcdn setup` "
            "writes into your client's configuration."
        )


def _insists(request: Request) -> bool:
    """Whether the client wants its page checked (RFC 9111, section 5.2.1.4).

    `max-age=0` does not say so here: pip sends it with every page it asks for, whatever its user wants.
    """
    asked = request.headers.get("cache-control")
    return asked is not None and "no-cache" in asked.lower()


@functools.lru_cache(maxsize=4096)
def _project_in(path: str) -> str | None:
    match = _SIMPLE.fullmatch(path)
    try:
        return _normalized(match[1]) if match else None
    except NotFound:
        return None


def _normalized(name: str) -> str:
    try:
        return normalize_project(unquote(name))
    except ValueError as error:
        raise NotFound(f"{html.escape(name[:80])} is not a project name.") from error


_WELCOME = b"""<!DOCTYPE html><html lang="en"><title>p2pcdn</title>
<h1>This is a p2pcdn node</h1>
<p>Point pip or uv at <a href="/simple/">/simple/</a>. What it did so far is at <a href="/metrics">/metrics</a>
and in <code>p2pcdn status</code>.</p></html>
"""
