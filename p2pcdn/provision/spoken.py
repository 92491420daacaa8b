"""What a process that works for the node says: answers on stdout, each with a limit; words for the log on stderr."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, field

import trio

from p2pcdn.world import Process

log = logging.getLogger(__name__)

RECEIVE_SIZE_BYTES = 256 * 1024
# Of what it writes at once; the last words say what was wrong.
LOGGED_SIZE_BYTES_MAX = 4000
GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


@dataclass(slots=True)
class Answers:
    """Used by whoever has the process, one question after another. All raise ValueError where it says no more, or
    more than `size_bytes_max` at once, and one of GONE.
    """

    process: Process
    size_bytes_max: int
    _received: bytearray = field(default_factory=bytearray)

    async def line(self) -> bytes:
        """With its end."""
        while (end := self._received.find(b"\n")) < 0:
            await self._more()
        return await self.exactly(end + 1)

    async def exactly(self, size_bytes: int) -> bytes:
        while len(self._received) < size_bytes:
            await self._more()
        content = bytes(self._received[:size_bytes])
        del self._received[:size_bytes]
        return content

    async def _more(self) -> None:
        chunk = await self.process.stdout.receive_some(RECEIVE_SIZE_BYTES)
        self._received += chunk
        if not chunk or len(self._received) > self.size_bytes_max:
            raise ValueError("it said no more" if not chunk else "it said too much")


async def log_errors(process: Process, who: str) -> None:
    """Until it is gone: a pipe that nobody reads is full after 64 KB, and then the process waits for ever."""
    with suppress(*GONE):
        while chunk := await process.stderr.receive_some(RECEIVE_SIZE_BYTES):
            log.warning("%s says: %s", who, chunk.decode("utf-8", "replace").strip()[-LOGGED_SIZE_BYTES_MAX:])
