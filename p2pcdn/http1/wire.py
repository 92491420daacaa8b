"""The bytes of one connection on their way in and out, over any stream of trio."""

from __future__ import annotations

from typing import Protocol

import trio

from p2pcdn.http1.messages import FileSlice
from p2pcdn.http1.patience import Patience

RECEIVE_SIZE_BYTES = 64 * 1024
READ_SIZE_BYTES = 512 * 1024
# What a client may still send after its refusal, so that closing does not reset the answer away (RFC 9112 9.6).
LINGER_SIZE_BYTES = 1024 * 1024
LINGER_TIME_S = 1.0


class Gone(Exception):
    """The other end is gone, or our end was closed; nobody is left to tell."""


class ShortFile(Exception):
    """A file ended before the slice that was promised of it."""


class Wire(Protocol):
    """One connection. Belongs to one task."""

    fd: int  # the descriptor of a real socket, else -1

    def receive_now(self) -> bytes | None:
        """Some bytes, none at the end, None where there are none yet. Only for a real socket. Raises Gone."""
        ...

    async def receive(self) -> bytes:
        """Some bytes; none at the end. Raises Gone."""
        ...

    def send_now(self, content: bytes | memoryview) -> int:
        """Sends what can be sent without waiting; returns how many bytes. Raises Gone."""
        ...

    async def send(self, content: bytes | memoryview) -> None:
        """Sends all of it, patiently. Raises Gone."""
        ...

    def send_file_now(self, part: FileSlice) -> int:
        """Sends what can be sent without waiting, and without reading; returns how many bytes. Raises Gone, OSError."""
        ...

    async def send_file(self, part: FileSlice) -> None:
        """Sends all of it, patiently. Raises Gone, ShortFile and OSError (of the file)."""
        ...

    async def finish(self) -> None:
        """Says that nothing more comes, and lets the other end read it."""
        ...

    def reset(self) -> None:
        """Makes closing an error at the other end, so that no half of a body can pass for a whole."""
        ...


class StreamWire:
    """Any stream."""

    fd = -1

    def __init__(self, stream: trio.abc.Stream, patience: Patience) -> None:
        self._stream = stream
        self._patience = patience

    def receive_now(self) -> bytes | None:
        return None

    async def receive(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(RECEIVE_SIZE_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise Gone from error

    def send_now(self, content: bytes | memoryview) -> int:
        return 0

    async def send(self, content: bytes | memoryview) -> None:
        rest = memoryview(content)
        while rest:
            self._patience.write()
            try:
                await self._stream.send_all(bytes(rest[:READ_SIZE_BYTES]))
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise Gone from error
            rest = rest[READ_SIZE_BYTES:]
        self._patience.work()

    def send_file_now(self, part: FileSlice) -> int:
        return 0

    async def send_file(self, part: FileSlice) -> None:
        await send_by_reading(self, part)

    async def finish(self) -> None:
        try:
            if isinstance(self._stream, trio.abc.HalfCloseableStream):
                await self._stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise Gone from error
        await drain(self)

    def reset(self) -> None:
        pass


async def send_by_reading(wire: Wire, part: FileSlice) -> None:
    offset, end = part.offset, part.offset + part.size_bytes
    while offset < end:
        content = await part.file.pread(min(end - offset, READ_SIZE_BYTES), offset)
        if not content:
            raise ShortFile
        await wire.send(content)
        offset += len(content)


async def drain(wire: Wire) -> None:
    drained_bytes = 0
    with trio.move_on_after(LINGER_TIME_S):
        while drained_bytes < LINGER_SIZE_BYTES and (content := await wire.receive()):
            drained_bytes += len(content)
