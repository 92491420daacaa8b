"""A real node that lies: python -m tests.real_hosts.liar LIE serve ...

LIE is `serves`: every piece that it gives has one bit turned over; or `reads`: already what it reads from the upstream
has, so that it vouches for wrong bytes in good faith of everybody else.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

from p2pcdn.http1 import FileSlice, Request, Response
from p2pcdn.swarm.giving.provide import Provider
from p2pcdn.world import DiskFile, Index, Upstream, UpstreamResponse
from p2pcdn_daemon.cli import main as p2pcdn
from p2pcdn_daemon.serve import run
from p2pcdn_daemon.upstream import upstream
from tests.bench.node import ROOT

# In what it reads, one bit in each of these: no piece is right.
EVERY_BYTES = 256 * 1024


def program(lie: str) -> list[str]:
    """What to run instead of `p2pcdn`."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.real_hosts.liar import main; main()"
    return [sys.executable, "-c", code, lie]


def main() -> None:
    LIES[sys.argv.pop(1)]()
    p2pcdn()


def lie_in_what_it_serves() -> None:
    honest = Provider.answer

    def answer(self: Provider, request: Request) -> Response | Awaitable[Response]:
        given = honest(self, request)
        if "/piece" not in request.path:
            return given
        return _turned(given) if isinstance(given, Response) else _turned_later(given)

    Provider.answer = answer  # type: ignore[method-assign]


def lie_in_what_it_reads() -> None:
    honest = upstream.open_upstream

    @asynccontextmanager
    async def open_upstream(*arguments: Any, **settings: Any) -> AsyncIterator[Upstream]:
        async with honest(*arguments, **settings) as door:
            yield _LyingUpstream(door)

    vars(run)["open_upstream"] = open_upstream


LIES = {"serves": lie_in_what_it_serves, "reads": lie_in_what_it_reads}


# --- pieces


async def _turned_later(given: Awaitable[Response]) -> Response:
    return _turned(await given)


def _turned(response: Response) -> Response:
    body = response.body
    if response.status != 200 or not body:
        return response
    if isinstance(body, bytes):
        return replace(response, body=_turn(body))
    if isinstance(body, FileSlice):
        return replace(response, body=FileSlice(_TurnedFile(body.file), body.offset, body.size_bytes))
    return replace(response, body=_turned_parts(body))


async def _turned_parts(parts: AsyncIterator[bytes | FileSlice]) -> AsyncIterator[bytes | FileSlice]:
    async for part in parts:
        if isinstance(part, bytes):
            yield _turn(part)
        else:
            yield FileSlice(_TurnedFile(part.file), part.offset, part.size_bytes)


def _turn(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1]) if content else content


class _TurnedFile:
    """A file of which each read has one bit turned over. It has no descriptor, so that nothing is sent around it."""

    def __init__(self, file: DiskFile) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def fileno(self) -> int:
        return -1

    async def pread(self, size_bytes: int, offset: int) -> bytes:
        return _turn(await self._file.pread(size_bytes, offset))


# --- the upstream


class _LyingUpstream:
    """An upstream whose wheels come with wrong bits, and whose pages are right."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._upstream, name)

    def get(
        self, index: Index, url: str, headers: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[UpstreamResponse]:
        honest = self._upstream.get(index, url, headers)
        return _turned_wheel(honest) if url.endswith(".whl") else honest


@asynccontextmanager
async def _turned_wheel(honest: AbstractAsyncContextManager[UpstreamResponse]) -> AsyncIterator[UpstreamResponse]:
    async with honest as response:
        yield replace(response, body=_turned_chunks(response.body))


async def _turned_chunks(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    until_next = 0
    async for chunk in chunks:
        until_next -= len(chunk)
        if chunk and until_next <= 0:
            chunk = _turn(chunk)
            until_next = EVERY_BYTES
        yield chunk
