"""The journal beside a partial: which pieces were written with which hash, so that a restart goes on from there.

A record is its length (4 bytes), 8 bytes of BLAKE3 over its frame, the frame. It is never synced: a piece counts only
where its bytes still have its hash, so a journal that is ahead of its bytes, or torn, costs a piece and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from blake3 import blake3

from p2pcdn import frames
from p2pcdn.digest import BlobName, Sha256
from p2pcdn.errors import RemoteProtocolError
from p2pcdn.store.rows import UNKNOWN, Origin
from p2pcdn.world import DiskFile

# One record per piece: small enough to lose one at a crash, large enough that a 3 GB wheel has 3,000.
PIECE_SIZE_BYTES = 1024 * 1024
# A record holds one piece's hash, or an origin; 255 bytes of file name are its longest part.
RECORD_SIZE_BYTES_MAX = 4096
_HEAD_SIZE_BYTES = 12


@dataclass(frozen=True, slots=True)
class Piece:
    """A written piece. provisional: only a peer vouches for it."""

    start: int
    end: int
    hash: bytes
    provisional: bool


@dataclass(slots=True)
class Past:
    """What a journal says of its partial."""

    sha256: str | None = None
    size_bytes: int | None = None
    origin: Origin = UNKNOWN
    touched_at: float = 0.0
    pieces: dict[int, Piece] = field(default_factory=dict)
    named: BlobName | None = None  # the whole was right, synced, and about to get this name
    named_sha256: Sha256 | None = None
    end: int = 0  # of the last whole record


class Journal:
    """Appends records. One user: the partial it belongs to."""

    def __init__(self, file: DiskFile, end: int) -> None:
        self._file = file
        self._end = end

    async def begin(self, sha256: Sha256 | None, size_bytes: int | None, origin: Origin, at: float) -> None:
        facts = [origin.filename, origin.project, origin.index_key, origin.share]
        await self._append({"k": "begin", "s": sha256, "n": size_bytes, "o": facts, "t": at})

    async def note(self, pieces: Sequence[Piece], at: float) -> None:
        records = [{"k": "piece", "a": p.start, "b": p.end, "h": p.hash, "p": p.provisional, "t": at} for p in pieces]
        await self._append(*records)

    async def forget_provisional(self, at: float) -> None:
        await self._append({"k": "forget", "t": at})

    async def name(self, name: BlobName, sha256: Sha256, size_bytes: int, at: float) -> None:
        await self._append({"k": "name", "b": name, "s": sha256, "n": size_bytes, "t": at})

    async def _append(self, *records: dict[str, Any]) -> None:
        octets = b"".join(map(_record, records))
        if octets:
            # The end moves first: a cancelled write may have happened, and a hole ends the reading like a torn record.
            at, self._end = self._end, self._end + len(octets)
            await self._file.pwrite(octets, at)

    def close(self) -> None:
        self._file.close()


def _record(fields: dict[str, Any]) -> bytes:
    frame = frames.encode(fields)
    return len(frame).to_bytes(4, "big") + blake3(frame).digest(8) + frame


def read_past(octets: bytes) -> Past:
    """What a journal's bytes say, up to the first record that is torn or wrong."""
    past = Past()
    while True:
        start = past.end + _HEAD_SIZE_BYTES
        length = int.from_bytes(octets[past.end : past.end + 4], "big")
        frame = octets[start : start + length]
        checksum = octets[past.end + 4 : start]
        if not 0 < length <= RECORD_SIZE_BYTES_MAX or len(frame) < length or checksum != blake3(frame).digest(8):
            return past
        try:
            _learn(past, frames.decode(frame))
        except (RemoteProtocolError, KeyError, ValueError, TypeError):
            return past
        past.end = start + length


def _learn(past: Past, record: dict[str, Any]) -> None:
    past.touched_at = record["t"]
    match record["k"]:
        case "begin":
            past.sha256, past.size_bytes, past.origin = record["s"], record["n"], Origin(*record["o"])
        case "piece":
            past.pieces[record["a"]] = Piece(record["a"], record["b"], record["h"], record["p"])
        case "forget":
            past.pieces = {start: piece for start, piece in past.pieces.items() if not piece.provisional}
        case "name":
            past.named, past.named_sha256, past.size_bytes = BlobName(record["b"]), Sha256(record["s"]), record["n"]
        case _:
            raise ValueError("not a record of ours")
