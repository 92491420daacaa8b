"""Bodies that are not in memory: slices of files, and what a generator yields, chunked or counted."""

from __future__ import annotations

from contextlib import suppress

import trio

from p2pcdn.errors import LocalProtocolError
from p2pcdn.http1.messages import FileSlice, Growing, Response
from p2pcdn.http1.wire import Gone, Wire
from p2pcdn.http1.write import LAST_CHUNK

# A client as quick as we are would starve the others: they have their turn after so much. It takes half a millisecond.
YIELD_SIZE_BYTES = 1024 * 1024
# What is counted at once: of a slice that breaks off, at most this much is missing in the counters.
COUNTED_SIZE_BYTES = 32 * 1024 * 1024


class Sender:
    """Sends one body at a time; belongs to its connection's task. body_bytes: sent of the running one."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.body_bytes = 0

    async def send(self, content: bytes) -> None:
        """Sends all of it. Raises Gone."""
        sent_bytes = self._wire.send_now(content)
        if sent_bytes < len(content):
            await self._wire.send(memoryview(content)[sent_bytes:])

    def send_now(self, body: FileSlice) -> None:
        """Sends what can be sent without waiting; what is left, and what goes wrong, `send_body` meets again."""
        with suppress(Gone, OSError):
            self.body_bytes = self._wire.send_file_now(body)

    async def send_body(self, response: Response, *, chunked: bool) -> None:
        """Raises Gone, what the body raises, and LocalProtocolError where it has not the size it was said to have."""
        body = response.body
        if isinstance(body, FileSlice):
            sent_bytes = self.body_bytes
            await self._send_part(FileSlice(body.file, body.offset + sent_bytes, body.size_bytes - sent_bytes))
            return
        assert not isinstance(body, bytes)  # such a body goes out with its head
        if isinstance(body, Growing):
            body.push = self._push
        unyielded_bytes = 0
        async for part in body:
            part_bytes = len(part) if isinstance(part, bytes) else part.size_bytes
            if not part_bytes:
                continue  # an empty chunk would end the body
            if response.size_bytes is not None and self.body_bytes + part_bytes > response.size_bytes:
                raise LocalProtocolError("The body is larger than it was said to be.")
            if chunked:
                await self.send(b"%x\r\n" % part_bytes)
            await self._send_part(part)
            if chunked:
                await self.send(b"\r\n")
            unyielded_bytes += part_bytes
            if unyielded_bytes >= YIELD_SIZE_BYTES:
                unyielded_bytes = 0
                await trio.lowlevel.checkpoint()
        if chunked:
            await self.send(LAST_CHUNK)
        elif response.size_bytes is not None and self.body_bytes < response.size_bytes:
            raise LocalProtocolError("The body is smaller than it was said to be.")

    def _push(self, content: memoryview) -> int:
        """What somebody else's task has for us."""
        try:
            sent_bytes = self._wire.send_now(content)
        except Gone:
            return 0  # our own task meets it again
        self.body_bytes += sent_bytes
        return sent_bytes

    async def _send_part(self, part: bytes | FileSlice) -> None:
        if isinstance(part, bytes):
            await self.send(part)
            self.body_bytes += len(part)
            return
        end = part.offset + part.size_bytes
        for offset in range(part.offset, end, COUNTED_SIZE_BYTES):
            size_bytes = min(COUNTED_SIZE_BYTES, end - offset)
            await self._wire.send_file(FileSlice(part.file, offset, size_bytes))
            self.body_bytes += size_bytes
