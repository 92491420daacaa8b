"""What of an interrupted partial may be used again: pieces whose bytes still have the hash that was noted."""

from __future__ import annotations

from blake3 import blake3

from p2pcdn.digest import Sha256
from p2pcdn.store.journal import PIECE_SIZE_BYTES, Past, Piece
from p2pcdn.world import DiskFile, Threads


def matches(past: Past, sha256: Sha256, size_bytes: int | None) -> bool:
    """Whether a journal speaks of this file."""
    return past.sha256 == sha256 and (None in (past.size_bytes, size_bytes) or past.size_bytes == size_bytes)


async def verified_pieces(file: DiskFile, past: Past, threads: Threads) -> list[Piece]:
    """Those pieces of a journal whose bytes are there and right. Raises OSError."""
    right = []
    for piece in past.pieces.values():
        size_bytes = piece.end - piece.start
        beyond = past.size_bytes is not None and piece.end > past.size_bytes
        if piece.start < 0 or not 0 < size_bytes <= PIECE_SIZE_BYTES or beyond:
            continue
        content = await file.pread(size_bytes, piece.start)
        if len(content) == size_bytes and await threads.run(_digest, content) == piece.hash:
            right.append(piece)
    return right


def _digest(content: bytes) -> bytes:
    return blake3(content).digest()
