"""The control face: whatever looks into the node or changes it, over a unix socket that only its user can open."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

import trio

from p2pcdn.carry import export_store, import_store
from p2pcdn.counters import Counters
from p2pcdn.errors import NotFound, P2pcdnError, RemoteProtocolError
from p2pcdn.http1 import Request, Response
from p2pcdn.names import normalize_project
from p2pcdn.store import BlobRow, Store
from p2pcdn.web.metrics import metrics_response
from p2pcdn.web.routes import json_response, problem, problem_response
from p2pcdn.world import Index, Installed

# Our own commands send a few words.
BODY_SIZE_BYTES_MAX = 1024 * 1024
VERIFY_LINES_WAITING_MAX = 64
# A silent neighbour does not make `status` silent.
LOOK_AROUND_S = 1.0

log = logging.getLogger(__name__)

Route = Callable[[Request], Awaitable[Response]]


class ControlFace:
    """Answers the commands of `p2pcdn`; docs/protocol.md lists what is asked and answered."""

    def __init__(
        self,
        *,
        store: Store,
        counters: Counters,
        indexes: tuple[Index, ...],
        status: Callable[[], dict[str, Any]],
        peers: Callable[[], list[dict[str, Any]]],
        nursery: trio.Nursery,
        look_around: Callable[[], Awaitable[None]] | None = None,
        more: Mapping[tuple[str, str], Route] | None = None,
        installed: Installed | None = None,
    ) -> None:
        """look_around: asks the room what it holds, so that `status` is of now; takes a moment, and does not raise.

        more: routes of other files, which may start other programs: `installed` is checked before each.
        """
        self._look_around = look_around
        self._store = store
        self._counters = counters
        self._indexes = indexes
        self._status = status
        self._peers = peers
        self._nursery = nursery
        self._more = more or {}
        self._installed = installed
        self._routes: dict[tuple[str, str], Route] = {
            ("GET", "/v1/status"): self._get_status,
            ("GET", "/v1/peers"): self._get_peers,
            ("GET", "/v1/blobs"): self._get_blobs,
            ("GET", "/v1/export"): self._get_export,
            ("GET", "/metrics"): self._get_metrics,
            ("POST", "/v1/gc"): self._post_gc,
            ("POST", "/v1/verify"): self._post_verify,
            ("POST", "/v1/pin"): self._post_pin,
            ("POST", "/v1/import"): self._post_import,
            **self._more,
        }

    async def __call__(self, request: Request) -> Response:
        route = self._routes.get((request.method, request.path))
        if route is None:
            return problem_response(404, "Not found", f"The node has no {request.method} {request.path[:200]}.")
        try:
            if self._installed is not None and (request.method, request.path) in self._more:
                self._installed.check()
            return await route(request)
        except RemoteProtocolError as error:  # here the remote is the command that asked
            return problem_response(400, "Bad request", str(error))
        except P2pcdnError as error:
            return problem(error)

    async def _get_status(self, _: Request) -> Response:
        await self._look()
        return json_response(self._status())

    async def _get_peers(self, _: Request) -> Response:
        await self._look()
        return json_response({"peers": self._peers(), "room": self._status().get("room")})

    async def _look(self) -> None:
        if self._look_around is not None:
            with trio.move_on_after(LOOK_AROUND_S):
                await self._look_around()

    async def _get_metrics(self, _: Request) -> Response:
        return metrics_response(self._counters, self._status())

    async def _get_blobs(self, _: Request) -> Response:
        urls = {index.key: index.url for index in self._indexes}
        rows = [_listed(row, urls) for row in self._store.rows() if not row.buried]
        return json_response({"blobs": rows})

    async def _get_export(self, request: Request) -> Response:
        projects = {_project(name) for name in parse_qs(request.query).get("project", ())}
        self._rows_of(projects)
        return Response(200, [("Content-Type", "application/x-tar")], export_store(self._store, projects))

    async def _post_gc(self, request: Request) -> Response:
        to_bytes = (await asked_object(request)).get("to_bytes")
        if not (to_bytes is None or (type(to_bytes) is int and to_bytes >= 0)):
            raise RemoteProtocolError("to_bytes is a number of bytes, 0 or more.")
        freed = await self._store.collect(to_bytes)
        return json_response({"freed_bytes": freed.bytes, "blobs": freed.blobs})

    async def _post_pin(self, request: Request) -> Response:
        asked = await asked_object(request)
        names = asked.get("projects", [])
        if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise RemoteProtocolError("projects is a list of names.")
        projects = {_project(name) for name in names}
        rows = self._rows_of(projects)
        for row in rows:
            await self._store.pin(row.sha256, bool(asked.get("pinned", True)))
        return json_response({"blobs": len(rows)})

    def _rows_of(self, projects: set[str]) -> list[BlobRow]:
        """Raises NotFound where there is none of one of them: it may be misspelled."""
        rows = [row for row in self._store.rows() if not row.buried and row.origin.project in projects]
        if missing := projects - {row.origin.project for row in rows}:
            raise NotFound(f"The store holds no file of {', '.join(sorted(missing))}.")
        return rows

    async def _post_import(self, request: Request) -> Response:
        imported = await import_store(self._store, request.body, {index.key for index in self._indexes})
        return json_response(imported.as_dict())

    async def _post_verify(self, _: Request) -> Response:
        send, receive = trio.open_memory_channel[dict[str, Any]](VERIFY_LINES_WAITING_MAX)
        self._nursery.start_soon(self._verify, send)
        return Response(200, [("Content-Type", "application/x-ndjson")], _lines(receive))

    async def _verify(self, send: trio.MemorySendChannel[dict[str, Any]]) -> None:
        """Scrubs in the node's nursery: who asked may leave. A line of progress that finds no room is lost."""

        def note(checked: int, of: int) -> None:
            with contextlib.suppress(trio.WouldBlock, trio.BrokenResourceError):
                send.send_nowait({"checked": checked, "of": of})

        with send, contextlib.suppress(trio.BrokenResourceError):
            try:
                report = await self._store.verify(note)
            except (P2pcdnError, OSError) as error:  # a node does not end because its disk cannot be read
                await send.send({"error": str(error)})
                return
            except Exception:  # in the node's nursery it would end everything
                log.exception("the store was not verified")
                await send.send({"error": "A fault of this node stopped it; its log says why."})
                return
            names = [row.origin.filename for row in report.rotten]
            trees = list(report.rotten_trees)
            found = {"checked": report.checked, "rotten": names, "refetchable": True, "rotten_trees": trees}
            await send.send(found)


async def _lines(receive: trio.MemoryReceiveChannel[dict[str, Any]]) -> AsyncGenerator[bytes]:
    with receive:
        async for value in receive:
            yield json.dumps(value).encode() + b"\n"


def _listed(row: BlobRow, urls: dict[str, str]) -> dict[str, Any]:
    return {
        "filename": row.origin.filename,
        "project": row.origin.project,
        "sha256": row.sha256,
        "blob": row.name,
        "size_bytes": row.size_bytes,
        "index_url": urls.get(row.origin.index_key),
        "kept_at": row.kept_at,
        "used_at": row.used_at,
        "pinned": row.pinned,
        "share": row.origin.share,
    }


async def asked_object(request: Request, size_bytes_max: int = BODY_SIZE_BYTES_MAX) -> dict[str, Any]:
    """The JSON object that a request brings. Raises RemoteProtocolError."""
    content = bytearray()
    async for chunk in request.body:
        content += chunk
        if len(content) > size_bytes_max:
            raise RemoteProtocolError("The request's body is too large.")
    try:
        asked = json.loads(content or b"{}")
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError(f"The request's body is not JSON: {error}") from error
    if not isinstance(asked, dict):
        raise RemoteProtocolError("The request's body is not a JSON object.")
    return asked


def _project(name: str) -> str:
    try:
        return normalize_project(name)
    except ValueError as error:
        raise NotFound(str(error)) from error
