"""The bytes of one connection on their way in and out, by the descriptor of a real socket; sendfile for files.

A stream of trio costs two checkpoints and a lock for every call. Here the system is asked at once, and waited for only
when it says that it would block.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import trio
from trio.lowlevel import wait_readable, wait_writable

from p2pcdn.http1.messages import FileSlice
from p2pcdn.http1.patience import Patience
from p2pcdn.http1.wire import RECEIVE_SIZE_BYTES, Gone, ShortFile, StreamWire, Wire, drain, send_by_reading

# One call sends what the socket's buffer takes, so this only bounds how long the loop stands still.
SENDFILE_SIZE_BYTES = 4 * 1024 * 1024
# From here on a slice is sent as bulk (see `_as_bulk`).
BULK_SIZE_BYTES = 1024 * 1024
# The kernel wakes us when this little is unsent: few wakes, and the bytes are still warm when the other end reads them.
NOTSENT_SIZE_BYTES = 128 * 1024
# sendfile speaks of two ends; these are the socket's troubles, all others the file's.
_LOST = {
    errno.EPIPE,
    errno.ECONNRESET,
    errno.ECONNABORTED,
    errno.ENOTCONN,
    errno.ETIMEDOUT,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ENETDOWN,
}


def open_wire(stream: trio.abc.Stream, patience: Patience) -> Wire:
    """The quickest wire for this stream. A simulated socket has -1 for its descriptor."""
    if isinstance(stream, trio.SocketStream) and stream.socket.fileno() >= 0:
        return SocketWire(stream, patience)
    return StreamWire(stream, patience)


class SocketWire:
    """A real socket, by its descriptor."""

    def __init__(self, stream: trio.SocketStream, patience: Patience) -> None:
        self._stream = stream
        self.fd = stream.socket.fileno()
        self._tcp = stream.socket.family in (trio.socket.AF_INET, trio.socket.AF_INET6)
        self._patience = patience
        self._wakes_late = False

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

    def send_now(self, content: bytes | memoryview) -> int:
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
        self._patience.work()

    def send_file_now(self, part: FileSlice) -> int:
        source = part.file.fileno()
        if source < 0:
            return 0
        with self._as_bulk(part):
            try:
                return self._sendfile(source, part.offset, part.size_bytes)
            except BlockingIOError:
                return 0

    async def send_file(self, part: FileSlice) -> None:
        source = part.file.fileno()
        if source < 0:
            await send_by_reading(self, part)
            return
        with self._as_bulk(part):
            await self._send_all_of(source, part)

    async def _send_all_of(self, source: int, part: FileSlice) -> None:
        offset, end = part.offset, part.offset + part.size_bytes
        while offset < end:
            try:
                sent = self._sendfile(source, offset, end - offset)
            except BlockingIOError:
                await self._writable()
                continue
            except OSError:
                # The file system cannot do that, or the disk cannot read: the file's own door knows, and whose it is.
                await send_by_reading(self, FileSlice(part.file, offset, end - offset))
                return
            if not sent:
                raise ShortFile
            offset += sent
            if offset < end:
                await self._writable()  # also lets the other connections have their turn
        self._patience.work()

    def _sendfile(self, source: int, offset: int, size_bytes: int) -> int:
        try:
            return os.sendfile(self.fd, source, offset, min(size_bytes, SENDFILE_SIZE_BYTES))
        except OSError as error:
            if error.errno in _LOST:
                raise Gone from error
            raise

    @contextmanager
    def _as_bulk(self, part: FileSlice) -> Iterator[None]:
        """Nagle's algorithm fills the segments of a long body: a third faster on loopback. Off pushes the rest.

        TCP_CORK would fill them too, but holds the last one back for 200 ms.
        """
        bulk = part.size_bytes >= BULK_SIZE_BYTES and self._tcp
        if bulk:
            self._no_delay(False)
        yield
        if bulk:
            self._no_delay(True)

    def _no_delay(self, on: bool) -> None:
        tcp, socket = trio.socket.IPPROTO_TCP, self._stream.socket
        try:
            socket.setsockopt(tcp, trio.socket.TCP_NODELAY, on)
            if not self._wakes_late and sys.platform == "linux":
                socket.setsockopt(tcp, trio.socket.TCP_NOTSENT_LOWAT, NOTSENT_SIZE_BYTES)
                self._wakes_late = True
        except OSError as error:
            raise Gone from error

    async def _writable(self) -> None:
        self._patience.write()
        try:
            await wait_writable(self.fd)
        except (OSError, trio.ClosedResourceError) as error:
            raise Gone from error

    async def finish(self) -> None:
        try:
            self._stream.socket.shutdown(trio.socket.SHUT_WR)
        except OSError as error:
            raise Gone from error
        await drain(self)

    def reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        try:
            self._stream.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, linger)
        except OSError:
            return  # closed already
