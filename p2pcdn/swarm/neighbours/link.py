"""One connection to a peer: questions out, and answers straight into the asker's buffer."""

from __future__ import annotations

import os
from contextlib import suppress

import trio
from trio.lowlevel import wait_readable

# A record of TLS (RFC 8446, 5.1): the TLS stream makes a buffer of the size that it is asked for, and fills no more.
TLS_RECORD_SIZE_BYTES = 16 * 1024


class Link:
    """Used by one asker at a time. device: that its other end has proven. idle_since: trio's time.

    A socket is used without the stream around it, and a real one by its descriptor: no copy, no lock for each call, and
    the system is waited for only when it says that it would block.
    """

    __slots__ = ("_fd", "_mark", "_socket", "device", "idle_since", "stream")

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.device = b""
        self.idle_since = 0.0
        self._socket = stream.socket if isinstance(stream, trio.SocketStream) else None
        self._fd = -1 if self._socket is None else self._socket.fileno()
        self._mark = 1

    @property
    def waits_for_many(self) -> bool:
        """Whether `receive` can wait for more than one byte."""
        return self._socket is not None

    def send_now(self, content: bytes) -> bytes:
        """Sends what a real socket takes without waiting; gives the rest. Raises OSError."""
        if self._fd >= 0:
            with suppress(BlockingIOError):
                return content[os.write(self._fd, content) :]
        return content

    def read_now(self, space: memoryview) -> int | None:
        """What a real socket has, 0 at its end; None where nothing is, or no real socket. Raises OSError."""
        return self._read(space) if self._fd >= 0 else None

    async def send(self, content: bytes) -> None:
        """Sends all of it. Raises OSError and trio's errors of streams."""
        if self._fd < 0 and self._socket is not None:
            content = content[await self._socket.send(content) :]
        if content:
            await self.stream.send_all(content)

    async def receive(self, space: memoryview, wanted_bytes: int = 1) -> int:
        """Reads into space what is there; 0 at the end. Where nothing is, waits until so many bytes are, or the end.

        Whoever wants more than one must look by `receive_now` at times: what is less than that wakes nobody.
        """
        if self._fd >= 0:
            while (came := self._read(space)) is None:
                self._wake_at(wanted_bytes)
                await wait_readable(self._fd)
            return came
        if self._socket is not None:
            if not self._socket.is_readable():
                self._wake_at(wanted_bytes)
            return await self._socket.recv_into(space)
        sealed = isinstance(self.stream, trio.SSLStream)
        content = await self.stream.receive_some(min(len(space), TLS_RECORD_SIZE_BYTES) if sealed else len(space))
        space[: len(content)] = content
        return len(content)

    async def receive_now(self, space: memoryview) -> int | None:
        """What is there, 0 at the end; None where nothing is. Does not wait."""
        if self._fd >= 0:
            return self._read(space)
        if self._socket is None or not self._socket.is_readable():
            return None
        return await self._socket.recv_into(space)

    def _read(self, space: memoryview) -> int | None:
        try:
            return os.readv(self._fd, [space])
        except BlockingIOError:
            return None

    async def close(self) -> None:
        """Ends it at once, without a word of TLS."""
        if self._socket is not None:
            self._socket.close()  # what the stream would do, and then wait for nothing
        else:
            await trio.aclose_forcefully(self.stream)

    def _wake_at(self, wanted_bytes: int) -> None:
        """The mark of socket(7), SO_RCVLOWAT. A new one wakes whoever waits, where so much is there already."""
        if wanted_bytes != self._mark:
            assert self._socket is not None
            self._socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVLOWAT, wanted_bytes)
            self._mark = wanted_bytes
