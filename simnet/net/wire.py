"""The server's wire over a simulated socket: it asks of it what socket_wire.py asks of the system."""

from __future__ import annotations

import struct

import trio

from p2pcdn.http1 import FileSlice
from p2pcdn.http1.patience import Patience
from p2pcdn.http1.wire import RECEIVE_SIZE_BYTES, Gone, StreamWire, Wire, drain, send_by_reading
from simnet.net.tcp import SimSocket


def open_wire(stream: trio.abc.Stream, patience: Patience) -> Wire:
    """In the place of p2pcdn.http1.socket_wire.open_wire."""
    if isinstance(stream, trio.SocketStream) and isinstance(stream.socket, SimSocket):
        return SimWire(stream.socket, patience)
    return StreamWire(stream, patience)


class SimWire:
    """See p2pcdn.http1.wire.Wire. It has no descriptor, so the lobby does not take it."""

    fd = -1

    def __init__(self, socket: SimSocket, patience: Patience) -> None:
        self._socket = socket
        self._patience = patience

    def receive_now(self) -> bytes | None:
        try:
            return self._socket.receive_now(RECEIVE_SIZE_BYTES)
        except OSError as error:
            raise Gone from error

    async def receive(self) -> bytes:
        try:
            return await self._socket.recv(RECEIVE_SIZE_BYTES)
        except OSError as error:
            raise Gone from error

    def send_now(self, content: bytes | memoryview) -> int:
        try:
            return self._socket.send_now(content)
        except OSError as error:
            raise Gone from error

    async def send(self, content: bytes | memoryview) -> None:
        try:
            if content and not self._socket.send_now(content):
                self._patience.write()
                await self._socket.send(content)
        except OSError as error:
            raise Gone from error
        self._patience.work()

    def send_file_now(self, part: FileSlice) -> int:
        return 0  # a simulated disk is always waited for

    async def send_file(self, part: FileSlice) -> None:
        await send_by_reading(self, part)

    async def finish(self) -> None:
        try:
            self._socket.shutdown(trio.socket.SHUT_WR)
        except OSError as error:
            raise Gone from error
        await drain(self)

    def reset(self) -> None:
        if not self._socket.closed:
            self._socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, struct.pack("ii", 1, 0))
