"""A face that answers a little of everything, served on a real socket or over memory."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from p2pcdn.http1 import AllowedHosts, FileSlice, Request, Response, serve, serve_connection

PAGE = b"<a>numpy</a>" * 100
METHODS = frozenset({"GET", "HEAD", "POST"})


class OpenFile:
    """A file of the real disk, read in the loop; `real=False` hides its descriptor."""

    def __init__(self, path: Path, real: bool = True) -> None:
        self._fd = os.open(path, os.O_RDONLY)
        self._real = real

    def fileno(self) -> int:
        return self._fd if self._real else -1

    async def pread(self, size_bytes: int, offset: int) -> bytes:
        await trio.lowlevel.checkpoint()
        return os.pread(self._fd, size_bytes, offset)

    def close(self) -> None:
        os.close(self._fd)


class SmallFace:
    """Routes by path; remembers what it was asked."""

    def __init__(self, file: Any = None, hidden: Any = None) -> None:
        self.requests: list[Request] = []
        self.released = 0
        self.answers: list[tuple[str, int, int]] = []
        self.let_go = trio.Event()
        self.file = file
        self.hidden = hidden

    def __call__(self, request: Request) -> Any:
        self.requests.append(request)
        path = request.path
        if path == "/file" or path == "/hidden":
            file = self.file if path == "/file" else self.hidden
            return Response(200, (), FileSlice(file, 10, 3_000_000), release=self.release)
        if path == "/fails":
            raise ZeroDivisionError
        if path == "/not-modified":
            return Response(304, [("etag", '"a"')])
        if path == "/empty":
            return Response(204)
        if path == "/splits":
            return Response(200, [("x", "a\r\nset-cookie: b")], b"no")
        if path == "/broken":
            return Response(200, (), self.broken(), size_bytes=20, release=self.release)
        if path == "/broken-chunks":
            return Response(200, (), self.broken(), release=self.release)
        if path == "/chunks":
            return Response(200, (), self.chunks(), release=self.release)
        if path == "/short":
            return Response(200, (), self.chunks(), size_bytes=1_000_000)
        if path == "/long":
            return Response(200, (), self.chunks(), size_bytes=3)
        if path == "/echo":
            return self.echo(request)
        if path == "/waits":
            return self.waits()
        if path == "/endless":
            return Response(200, (), self.endless(), release=self.release)
        return Response(200, [("content-type", "text/html")], PAGE)

    def release(self) -> None:
        self.released += 1

    async def broken(self) -> AsyncIterator[bytes]:
        yield b"0123456789"
        raise ValueError("the upstream lied")

    async def chunks(self) -> AsyncIterator[bytes | FileSlice]:
        yield b"first "
        yield b""
        if self.file is not None:
            yield FileSlice(self.file, 0, 5)
        yield b" last"

    async def endless(self) -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    async def echo(self, request: Request) -> Response:
        return Response(200, (), b"".join([part async for part in request.body]))

    async def waits(self) -> Response:
        await self.let_go.wait()
        return Response(200, (), b"waited")

    def on_answer(self, request: Request, status: int, body_bytes: int) -> None:
        self.answers.append((request.path, status, body_bytes))


@pytest.fixture
def face(tmp_path: Path) -> SmallFace:
    path = tmp_path / "blob"
    path.write_bytes(bytes(range(251)) * 12_500)
    return SmallFace(OpenFile(path), OpenFile(path, real=False))


Served = Callable[..., AbstractAsyncContextManager[Callable[[], Any]]]


@pytest.fixture
def served() -> Served:
    """Serves a face on a loopback socket; gives a function that connects to it."""

    @asynccontextmanager
    async def run(face: Callable[[Request], Any], **options: Any) -> AsyncIterator[Callable[[], Any]]:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        options.setdefault("allowed_hosts", AllowedHosts.of(["h", "localhost", "127.0.0.1", "[::1]"], [port, 7272]))
        options.setdefault("methods", METHODS)
        if isinstance(face, SmallFace):
            options.setdefault("on_answer", face.on_answer)
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: serve(listeners, face, task_status=task_status, **options))
            yield partial(trio.open_tcp_stream, "127.0.0.1", port)
            nursery.cancel_scope.cancel()

    return run


@pytest.fixture
def in_memory() -> Served:
    """Serves a face on one stream of memory; gives its other end."""

    @asynccontextmanager
    async def run(face: Callable[[Request], Any], **options: Any) -> AsyncIterator[Any]:
        options.setdefault("allowed_hosts", AllowedHosts.of(["h"], [7272]))
        options.setdefault("methods", METHODS)
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve_connection(ours, face, **options))
            yield theirs
            nursery.cancel_scope.cancel()

    return run


@pytest.fixture
def read_all() -> Callable[[Any], Any]:
    """Everything until the end of a stream, a reset included."""

    async def run(stream: Any) -> bytes:
        content = b""
        try:
            with trio.fail_after(20):
                while part := await stream.receive_some(65536):
                    content += part
        except trio.BrokenResourceError:
            pass
        return content

    return run
