"""The bytes of one connection on their way in and out; sendfile where the stream is a real socket.

A stream of trio costs two checkpoints and a lock for every call. A real socket is read and written by its descriptor
instead, and awaited only when the kernel says that it would block.
"""

from __future__ import annotations

import errno
import os
import struct
from typing import Protocol

import trio
from trio.lowlevel import wait_readable, wait_writable

from p2pcdn.http1.messages import FileSlice
from p2pcdn.http1.patience import Patience

RECEIVE_SIZE_BYTES = 64 * 1024
# One call sends what the socket's buffer takes, so this only bounds how long the loop stands still.
SENDFILE_SIZE_BYTES = 4 * 1024 * 1024
READ_SIZE_BYTES = 512 * 1024
# What a client may still send after its refusal, so that closing does not reset the answer away (RFC 9112 9.6).
LINGER_SIZE_BYTES = 1024 * 1024
LINGER_TIME_S = 1.0
# File systems that cannot, say one of these.
_NO_SENDFILE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EOVERFLOW}


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

    def send_now(self, content: bytes) -> int:
        """Sends what can be sent without waiting; returns how many bytes. Raises Gone."""
        ...

    async def send(self, content: bytes | memoryview) -> None:
        """Sends all of it, patiently. Raises Gone."""
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


def open_wire(stream: trio.abc.Stream, patience: Patience) -> Wire:
    """The quickest wire for this stream. A simulated socket has -1 for its descriptor."""
    if isinstance(stream, trio.SocketStream) and stream.socket.fileno() >= 0:
        return SocketWire(stream, patience)
    return StreamWire(stream, patience)


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

    def send_now(self, content: bytes) -> int:
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

    async def send_file(self, part: FileSlice) -> None:
        await _send_by_reading(self, part)

    async def finish(self) -> None:
        try:
            if isinstance(self._stream, trio.abc.HalfCloseableStream):
                await self._stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise Gone from error
        await _drain(self)

    def reset(self) -> None:
        pass


class SocketWire:
    """A real socket, by its descriptor."""

    def __init__(self, stream: trio.SocketStream, patience: Patience) -> None:
        self._stream = stream
        self.fd = stream.socket.fileno()
        self._patience = patience

    def receive_now(self) -> bytes | None:
        try:
            return os.read(self.fd, RECEIVE_SIZE_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            raise Gone from error

    async def receive(self) -> bytes:
        while True:
            try:
                await wait_readable(self.fd)
            except (OSError, trio.ClosedResourceError) as error:
                raise Gone from error
            content = self.receive_now()
            if content is not None:
                return content

    def send_now(self, content: bytes) -> int:
        try:
            return os.write(self.fd, content)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise Gone from error

    async def send(self, content: bytes | memoryview) -> None:
        rest = memoryview(content)
        while rest:
            try:
                rest = rest[os.write(self.fd, rest) :]
            except BlockingIOError:
                await self._writable()
            except OSError as error:
                raise Gone from error

    async def send_file(self, part: FileSlice) -> None:
        source = part.file.fileno()
        if source < 0:
            await _send_by_reading(self, part)
            return
        offset, end = part.offset, part.offset + part.size_bytes
        while offset < end:
            try:
                sent = os.sendfile(self.fd, source, offset, min(end - offset, SENDFILE_SIZE_BYTES))
            except BlockingIOError:
                await self._writable()
                continue
            except (BrokenPipeError, ConnectionError, TimeoutError) as error:
                raise Gone from error
            except OSError as error:
                if error.errno not in _NO_SENDFILE:
                    raise
                await _send_by_reading(self, FileSlice(part.file, offset, end - offset))
                return
            if not sent:
                raise ShortFile
            offset += sent
            if offset < end:
                await self._writable()  # also lets the other connections have their turn

    async def _writable(self) -> None:
        self._patience.write()
        try:
            await wait_writable(self.fd)
        except (OSError, trio.ClosedResourceError) as error:
            raise Gone from error
        self._patience.work()

    async def finish(self) -> None:
        try:
            self._stream.socket.shutdown(trio.socket.SHUT_WR)
        except OSError as error:
            raise Gone from error
        await _drain(self)

    def reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        try:
            self._stream.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, linger)
        except OSError:
            return  # closed already


async def _send_by_reading(wire: Wire, part: FileSlice) -> None:
    offset, end = part.offset, part.offset + part.size_bytes
    while offset < end:
        content = await part.file.pread(min(end - offset, READ_SIZE_BYTES), offset)
        if not content:
            raise ShortFile
        await wire.send(content)
        offset += len(content)


async def _drain(wire: Wire) -> None:
    drained_bytes = 0
    with trio.move_on_after(LINGER_TIME_S):
        while drained_bytes < LINGER_SIZE_BYTES and (content := await wire.receive()):
            drained_bytes += len(content)
