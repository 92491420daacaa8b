"""A user of a node: asks its index face over loopback as pip does, the page first and then the file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import trio

RECEIVE_SIZE_BYTES = 1 << 20


class Failed(Exception):
    """The node did not give what was asked for."""


@dataclass(frozen=True)
class Got:
    """One answer. sha256: of the body, as it came; content: the body, where it was asked to be kept."""

    status: int
    headers: dict[str, str]
    sha256: str
    size_bytes: int
    content: bytes


async def get(port: int, path: str, *, keep: bool = False, headers: str = "", host: str = "127.0.0.1") -> Got:
    """One GET over a connection of its own. Raises Failed where the answer is no whole answer, OSError without one."""
    stream = await trio.open_tcp_stream(host, port)
    try:
        return await _converse(stream, path, port, keep, headers)
    except trio.BrokenResourceError as error:
        raise Failed("the connection broke") from error
    finally:
        await trio.aclose_forcefully(stream)


async def install(port: int, project: str) -> Got:
    """The page of a project, and its first file. Raises Failed and OSError."""
    where = f"/simple/{project}/"
    page = await get(port, where, keep=True)
    if page.status != 200:
        raise Failed(f"the page has status {page.status}: {page.content[:200]!r}")
    link = re.search(rb'href="([^"#]+)', page.content)
    if link is None:
        raise Failed("the page lists no file")
    url = urlsplit(urljoin(where, link[1].decode()))
    got = await get(port, url.path)
    if got.status != 200:
        raise Failed(f"the file has status {got.status}")
    return got


async def _converse(stream: trio.SocketStream, path: str, port: int, keep: bool, headers: str) -> Got:
    await stream.send_all(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{headers}\r\n".encode())
    seen = b""
    while b"\r\n\r\n" not in seen:
        part = await stream.receive_some(RECEIVE_SIZE_BYTES)
        if not part:
            raise Failed("the connection ended before an answer")
        seen += part
    head, _, body = seen.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    sha256, kept, size_bytes = hashlib.sha256(), [], 0
    coming = _chunked(stream, body) if "transfer-encoding" in fields else _counted(stream, body, fields)
    async with aclosing(coming) as parts:
        async for part in parts:
            sha256.update(part)
            size_bytes += len(part)
            if keep:
                kept.append(part)
    return Got(int(status_line.split(" ")[1]), fields, sha256.hexdigest(), size_bytes, b"".join(kept))


async def _counted(stream: trio.SocketStream, body: bytes, fields: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
    if "content-length" not in fields:
        raise Failed("the answer does not say how long it is")
    left = int(fields["content-length"])
    while True:
        left -= len(body)
        if body:
            yield body
        if left <= 0:
            return
        body = await stream.receive_some(RECEIVE_SIZE_BYTES)
        if not body:
            raise Failed(f"the answer was cut {left} bytes before its end")


async def _chunked(stream: trio.SocketStream, seen: bytes) -> AsyncGenerator[bytes, None]:
    while True:
        line, end, rest = seen.partition(b"\r\n")
        size = int(line, 16) if end else 0
        if end and len(rest) >= size + 2:
            if not size:
                return
            yield rest[:size]
            seen = rest[size + 2 :]
            continue
        part = await stream.receive_some(RECEIVE_SIZE_BYTES)
        if not part:
            raise Failed("the answer was cut before its last chunk")
        seen += part
