"""Peers that lie or say nothing, and a way to the upstream that spoils what comes."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import trio

from p2pcdn.http1 import FileSlice, Handler, Request, Response
from p2pcdn.world import Index, Upstream, UpstreamResponse
from simnet.marks import sometimes
from simnet.scenarios.faults.plan import Fault

PIECES = ("/v1/blob/", "/v1/small/")
ENDLESS_CHUNK_SIZE_BYTES = 4096


class BadPeer:
    """A peer face that is asked like any other, and gives pieces as its kind does: lies, nothing, a byte a second."""

    def __init__(self, honest: Handler, fault: Fault, dice: random.Random) -> None:
        self._honest = honest
        self._fault = fault
        self._dice = dice
        self._former = b""

    def __call__(self, request: Request) -> Response | Awaitable[Response]:
        silent = self._fault.word == "all" and not request.path.startswith("/v1/hello")
        if not request.path.startswith(PIECES) and not silent:
            return self._honest(request)
        return self._answer(request)

    async def _answer(self, request: Request) -> Response:
        answer = self._honest(request)
        response = answer if isinstance(answer, Response) else await answer
        if response.status not in (200, 206):
            return response
        try:
            body = await _whole(response)
        finally:
            if response.release is not None:
                response.release()
        sometimes("a peer lied" if self._fault.kind == "liar" else "a peer fell silent")
        if self._fault.kind == "mute":
            await trio.sleep_forever()
        if self._fault.kind == "drip":
            return Response(response.status, response.headers, _drip(body), len(body), None, response.head_lines)
        return self._lie(response, body)

    def _lie(self, response: Response, body: bytes) -> Response:
        content: bytes | AsyncIterator[bytes | FileSlice] = body
        size_bytes = None
        match self._fault.word:
            case "flip":
                octets = bytearray(body or b"\0")
                octets[self._dice.randrange(len(octets))] ^= 1 << self._dice.randrange(8)
                content = bytes(octets)
            case "truncate":
                content = body[: self._dice.randrange(len(body))] if body else b""
            case "overlong":
                content = body + self._dice.randbytes(self._dice.randrange(1, 5000))
            case "endless":
                content, size_bytes = _endless(body), self._dice.choice([None, 1 << 40])
            case "cut":
                content, size_bytes = _cut(body), len(body) + 1
            case "another":
                content, self._former = self._former, body
        return Response(response.status, response.headers, content, size_bytes, None, response.head_lines)


class LyingProxy:
    """The door Upstream of a node whose way to the upstream spoils files, as long as it `lies`.

    Such a node is honest: it signs what it reads, and learns at the end that it was wrong.
    """

    def __init__(self, honest: Upstream, lies: Callable[[], bool], dice: random.Random) -> None:
        self._lies = lies
        self._honest = honest
        self._dice = dice

    @asynccontextmanager
    async def get(
        self, index: Index, url: str, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[UpstreamResponse]:
        async with self._honest.get(index, url, headers) as response:
            if self._lies() and "/simple/" not in url:
                response = replace(response, body=self._spoilt(response.body))
            yield response

    async def _spoilt(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for part in body:
            octets = bytearray(part)
            if octets:
                octets[self._dice.randrange(len(octets))] ^= 1
            yield bytes(octets)


async def _whole(response: Response) -> bytes:
    body = response.body
    if isinstance(body, bytes):
        return body
    if isinstance(body, FileSlice):
        return await body.file.pread(body.size_bytes, body.offset)
    parts = []
    async for part in body:
        parts.append(part if isinstance(part, bytes) else await part.file.pread(part.size_bytes, part.offset))
    return b"".join(parts)


async def _drip(body: bytes) -> AsyncIterator[bytes]:
    for octet in body:
        yield bytes([octet])
        await trio.sleep(1)


async def _endless(body: bytes) -> AsyncIterator[bytes]:
    yield body
    while True:
        yield bytes(ENDLESS_CHUNK_SIZE_BYTES)
        await trio.sleep(0.001)


async def _cut(body: bytes) -> AsyncIterator[bytes]:
    yield body[: len(body) // 2]
    raise ConnectionError("this peer cuts its answers")
