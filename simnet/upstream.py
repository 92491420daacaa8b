"""The simulated upstream: an index and its file host, HTTP by our own server on simulated sockets; and its faults."""

from __future__ import annotations

import hashlib
import io
import json
import random
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio

from p2pcdn.errors import Unavailable
from p2pcdn.http1 import Handler, Limits, Request, Response, serve
from simnet.net.host import HERE, Host
from simnet.net.network import Net
from simnet.net.tcp import listen

PORT = 80
# A body leaves in parts of this size, so that it can stop, or lie, in its middle.
PART_SIZE_BYTES = 64 * 1024
PACED_SIZE_BYTES = 16 * 1024
LIMITS = Limits(connections_max=100_000, idle_time_s=75.0)


@dataclass
class Faults:
    """What is wrong with an upstream now; a scenario changes it while the world runs.

    latency_s: before each answer. status: instead of any answer. hang_after, cut_after: bytes of a body, after which
    nothing more comes, or the connection breaks. lies: the first byte of each body of a file is wrong. Each is for as
    many answers as `times` says, None for all.
    """

    latency_s: float = 0.0
    status: int | None = None
    hang_after: int | None = None
    cut_after: int | None = None
    lies: bool = False
    times: int | None = None

    def taken(self) -> Faults:
        """What holds for the next answer."""
        if self.times is None:
            return Faults(self.latency_s, self.status, self.hang_after, self.cut_after, self.lies)
        if self.times <= 0:
            return Faults()
        self.times -= 1
        return Faults(self.latency_s, self.status, self.hang_after, self.cut_after, self.lies)


@dataclass(frozen=True)
class Published:
    """A file that the index lists."""

    project: str
    filename: str
    content: bytes
    sha256: str

    @property
    def path(self) -> str:
        return f"/files/{self.sha256[:2]}/{self.filename}"


@dataclass
class SimUpstream:
    """index, files: the hosts. requests: of files, (path, Range), in their order."""

    net: Net
    index: Host
    files: Host
    published: dict[str, Published] = field(default_factory=dict)
    index_faults: Faults = field(default_factory=Faults)
    file_faults: Faults = field(default_factory=Faults)
    requests: list[tuple[str, str]] = field(default_factory=list)
    connection_bytes_s: float | None = None  # what one connection gives, where that and not the line is the limit
    says_sizes: bool = True  # as an index of the JSON API does; one of plain HTML does not
    hashless: str = ""  # the name of a file whose hash the pages leave out

    @property
    def index_url(self) -> str:
        return f"http://{self.index.name}/simple/"

    def publish(self, project: str, content: bytes, filename: str | None = None) -> Published:
        """Lists a wheel of this content; the index knows its sha256 and size."""
        filename = filename or f"{project.replace('-', '_')}-1.0-py3-none-any.whl"
        one = Published(project, filename, content, hashlib.sha256(content).hexdigest())
        self.published[one.path] = one
        return one

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves until it is cancelled; `started()` when both hosts accept."""
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(self._serve, self.index, self._page))
            await nursery.start(partial(self._serve, self.files, self._file))
            task_status.started()

    @property
    def sent_bytes(self) -> int:
        """Bytes that left the file host; what is small (a head, a drip) by its weight beside a byte of a piece."""
        traffic = self.files.given.get(PORT)
        return 0 if traffic is None else traffic.bulk_bytes + (traffic.all_bytes - traffic.bulk_bytes) // self.net.scale

    async def _serve(self, host: Host, handler: Handler, *, task_status: trio.TaskStatus[None]) -> None:
        HERE.set(host)
        listener = await listen(host.ip, PORT)
        now = self.net.kernel.wall_clock
        await serve([listener], handler, limits=LIMITS, cross_site=True, now=now, task_status=task_status)

    async def _page(self, request: Request) -> Response:
        faults = self.index_faults.taken()
        await self._delay(faults)
        if faults.status is not None:
            return Response(faults.status)
        project = request.path.removeprefix("/simple/").rstrip("/")
        files = [self._listed(one) for one in self.published.values() if one.project == project]
        if not files:
            return Response(404)
        page = json.dumps({"meta": {"api-version": "1.1"}, "name": project, "files": files}).encode()
        headers = [("content-type", "application/vnd.pypi.simple.v1+json"), ("cache-control", "max-age=600")]
        return Response(200, headers, page)

    def _listed(self, one: Published) -> dict[str, Any]:
        """A file, as its page lists it."""
        return {
            "filename": one.filename,
            "url": f"http://{self.files.name}{one.path}",
            "hashes": {} if one.filename == self.hashless else {"sha256": one.sha256},
            **({"size": len(one.content)} if self.says_sizes else {}),
        }

    async def _file(self, request: Request) -> Response:
        asked = request.headers.get("range", "")
        self.requests.append((request.path, asked))
        faults = self.file_faults.taken()
        await self._delay(faults)
        one = self.published.get(request.path)
        if faults.status is not None or one is None:
            return Response(faults.status or 404)
        size = len(one.content)
        start, end = _span(asked, size)
        headers = [("content-type", "application/octet-stream"), ("etag", f'"{one.sha256[:16]}"')]
        if start > end:
            return Response(416, [("content-range", f"bytes */{size}")])
        if asked:
            headers.append(("content-range", f"bytes {start}-{end - 1}/{size}"))
        body = _body(one.content, start, end, faults, max(PART_SIZE_BYTES, self.net.bulk_from_bytes))
        if self.connection_bytes_s is not None:
            body = _paced(body, self.connection_bytes_s)
        return Response(206 if asked else 200, headers, body, size_bytes=end - start)

    async def _delay(self, faults: Faults) -> None:
        if faults.latency_s:
            await trio.sleep(faults.latency_s)


def _span(asked: str, size: int) -> tuple[int, int]:
    if not asked:
        return 0, size
    first, _, last = asked.removeprefix("bytes=").partition("-")
    if not first:
        return max(0, size - int(last)), size
    if int(first) >= size:
        return 1, 0
    return int(first), min(int(last) + 1 if last else size, size)


async def _body(content: bytes, start: int, end: int, faults: Faults, part_size_bytes: int) -> AsyncIterator[bytes]:
    given = 0
    for at in range(start, end, part_size_bytes):
        part = content[at : min(at + part_size_bytes, end)]
        if faults.lies:
            part = bytes([part[0] ^ 1]) + part[1:]
        for limit in (faults.hang_after, faults.cut_after):
            if limit is not None and given + len(part) > limit:
                if limit > given:
                    yield part[: limit - given]
                if limit == faults.cut_after:
                    raise Unavailable("cut by the scenario")
                await trio.sleep_forever()
        given += len(part)
        yield part


async def _paced(body: AsyncIterator[bytes], bytes_s: float) -> AsyncIterator[bytes]:
    async for part in body:
        for at in range(0, len(part), PACED_SIZE_BYTES):
            paced = part[at : at + PACED_SIZE_BYTES]
            yield paced
            await trio.sleep(len(paced) / bytes_s)


def content_of(seed: object, size_bytes: int) -> bytes:
    """Bytes of which no two parts are alike."""
    return random.Random(f"content {seed}").randbytes(size_bytes)


def wheel_of(seed: object, size_bytes: int, project: str = "thing") -> bytes:
    """A wheel of exactly this size: its metadata, and a large file that no compression makes smaller."""
    room = size_bytes
    while True:
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as archive:
            for name, content in (
                (f"{project}/data.bin", content_of(seed, room)),
                (
                    f"{project}-1.0.dist-info/METADATA",
                    f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n".encode(),
                ),
                (f"{project}-1.0.dist-info/WHEEL", b"Wheel-Version: 1.0\nTag: py3-none-any\n"),
                (f"{project}-1.0.dist-info/RECORD", b""),
            ):
                archive.writestr(zipfile.ZipInfo(name), content)
        surplus = made.tell() - size_bytes
        if surplus == 0:
            return made.getvalue()
        room -= surplus
