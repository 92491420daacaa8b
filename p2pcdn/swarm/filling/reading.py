"""Reading the origin for a crowd: its bytes cut into pieces as they come, each hashed, signed and kept at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from p2pcdn.group import Identity
from p2pcdn.swarm.pieces.manifest import Cut, piece_hash, prove_piece
from p2pcdn.swarm.pieces.sharing import Sharing
from p2pcdn.swarm.pieces.tools import hash_parts
from p2pcdn.world import Threads

# Takes bytes at an offset of the file.
Sink = Callable[[int, bytes], Awaitable[None]]
# Reads [start, end) of the file from where its index says it is; to the end where `end` is None. Raises P2pcdnError.
ReadOrigin = Callable[[int, int | None, Sink], Awaitable[None]]

# A client of a slow upstream hears something long before it gives up (pip: 15 s), though no piece is whole yet.
WRITE_AFTER_S = 1.0
# While the size is unknown, and so the cut: a write that is worth a step of the journal.
WRITE_SIZE_BYTES = 512 * 1024


class Reading:
    """One reading of the origin. `write` is its sink; `flush` when it ends, well or not."""

    def __init__(self, sharing: Sharing, identity: Identity, threads: Threads) -> None:
        self._sharing = sharing
        self._identity = identity
        self._threads = threads
        self._at = 0  # where the first byte of `_content` stands in the file
        self._content = bytearray()
        self._written = 0  # bytes of `_content` that are written already
        self._write_by = trio.current_time()

    async def write(self, at: int, content: bytes) -> None:
        """Raises StoreStopped, RemoteProtocolError (beyond the size), or what ended the partial."""
        if at != self._at + len(self._content):
            await self.flush()
        if not self._content:
            self._at = at
        self._content += content
        self._sharing.learn_size(self._sharing.partial.size_bytes)
        cut = self._sharing.cut
        if cut is not None:
            await self._keep_whole_pieces(cut)
        elif len(self._content) - self._written >= WRITE_SIZE_BYTES:
            await self.flush()
        if trio.current_time() >= self._write_by:
            await self._write_all()

    async def flush(self) -> None:
        """Writes what came, be its piece whole or not."""
        await self._write_all()
        self._at += len(self._content)
        self._content.clear()
        self._written = 0

    async def _keep_whole_pieces(self, cut: Cut) -> None:
        end = self._at + len(self._content)
        whole = cut.within(self._at, end)
        for index in whole:
            start, stop = cut.span(index)
            piece = bytes(memoryview(self._content)[start - self._at : stop - self._at])
            await self._write_to(stop - self._at)
            sha256 = self._sharing.sha256
            parts = await hash_parts(self._threads, sha256, cut, index, piece)
            self._sharing.note(index, prove_piece(self._identity, piece_hash(sha256, cut, index, parts)), parts)
        if whole:
            done = cut.span(whole[-1])[1] - self._at
            del self._content[:done]
            self._at += done
            self._written = max(0, self._written - done)

    async def _write_all(self) -> None:
        await self._write_to(len(self._content))
        self._write_by = trio.current_time() + WRITE_AFTER_S

    async def _write_to(self, end: int) -> None:
        if end > self._written:
            content = bytes(memoryview(self._content)[self._written : end])
            await self._sharing.forget_misled()
            await self._sharing.partial.write(self._at + self._written, content)
            self._sharing.came_bytes += len(content)
            self._sharing.read_bytes += len(content)
            self._written = end
