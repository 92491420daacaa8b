"""The manifest of a blob: how it is cut into pieces, and the keyed hash of each.

A piece's key depends on the file's sha256, its size, the piece size and the place, so that no piece can stand for one
of another file or at another place. The sha256 itself is not in the manifest: who asks knows it, nobody else needs it.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from blake3 import blake3

from p2pcdn import frames
from p2pcdn.digest import Buffer, Sha256
from p2pcdn.errors import RemoteProtocolError
from p2pcdn.swarm.messages import MANIFEST_SIZE_BYTES_MAX, SIZE_BYTES_MAX

KIB, MIB = 1024, 1024 * 1024
HASH_SIZE_BYTES = 32
# Up to here a file is one piece; it is what a catalog holds inline, too.
SINGLE_PIECE_SIZE_BYTES_MAX = 256 * KIB
# 1 MiB is 8 ms of gigabit Ethernet, and the size at which sendfile's and the loop's overhead has gone.
PIECE_SIZE_BYTES = MIB
# More pieces than this do not bring a flash crowd nearer to its bound, but cost messages.
PIECES_WANTED_MAX = 2048
PIECE_SIZE_BYTES_MAX = 8 * MIB
# 64 GiB in pieces of 8 MiB.
PIECES_MAX = SIZE_BYTES_MAX // PIECE_SIZE_BYTES_MAX

_CONTEXT = "p2pcdn 2026 piece v1"
_VERSION = 1


def piece_size_of(size_bytes: int) -> int:
    """The piece size for a file: 256 KiB up to 8 MiB, 1 MiB up to 2 GiB, then so that about 2048 pieces result."""
    if size_bytes <= 8 * MIB:
        return SINGLE_PIECE_SIZE_BYTES_MAX
    size = PIECE_SIZE_BYTES
    while size * PIECES_WANTED_MAX < size_bytes and size < PIECE_SIZE_BYTES_MAX:
        size *= 2
    return size


def pieces_of(size_bytes: int) -> int:
    """How many pieces a file has; one at least, for an empty file has an empty one."""
    return max(1, -(-size_bytes // piece_size_of(size_bytes)))


@dataclass(frozen=True, slots=True)
class Manifest:
    """The pieces of one file. hashes: 32 bytes for each piece, one after the other."""

    sha256: Sha256
    size_bytes: int
    hashes: bytes

    @property
    def piece_size_bytes(self) -> int:
        return piece_size_of(self.size_bytes)

    @property
    def pieces(self) -> int:
        return len(self.hashes) // HASH_SIZE_BYTES

    def span(self, index: int) -> tuple[int, int]:
        """Where a piece stands in the file: [start, end)."""
        start = index * self.piece_size_bytes
        return start, min(start + self.piece_size_bytes, self.size_bytes)

    def matches(self, index: int, content: Buffer) -> bool:
        """Whether these bytes are the piece. The length counts, too."""
        start, end = self.span(index)
        if memoryview(content).nbytes != end - start:
            return False
        at = index * HASH_SIZE_BYTES
        wanted = self.hashes[at : at + HASH_SIZE_BYTES]
        return hmac.compare_digest(piece_hash(self.sha256, self.size_bytes, index, content), wanted)

    def encode(self) -> bytes:
        return frames.encode(
            {"v": _VERSION, "size": self.size_bytes, "piece": self.piece_size_bytes, "hashes": self.hashes}
        )

    @classmethod
    def decode(cls, sha256: Sha256, content: bytes) -> Manifest:
        """Raises RemoteProtocolError where a count, a size or a piece size is not what the others demand."""
        if len(content) > MANIFEST_SIZE_BYTES_MAX:
            raise RemoteProtocolError(f"a manifest has {len(content)} bytes, more than {MANIFEST_SIZE_BYTES_MAX}")
        fields = frames.decode(content)
        if type(fields) is not dict or set(fields) != {"v", "size", "piece", "hashes"} or fields["v"] != _VERSION:
            raise RemoteProtocolError("a manifest has other fields than those of version 1")
        size, piece, hashes = fields["size"], fields["piece"], fields["hashes"]
        if type(size) is not int or not 0 <= size <= SIZE_BYTES_MAX:
            raise RemoteProtocolError("a manifest's size is not a number of bytes")
        if type(piece) is not int or piece != piece_size_of(size):
            raise RemoteProtocolError(f"a manifest cuts {size} bytes into pieces of {piece!r}"[:120])
        if type(hashes) is not bytes or len(hashes) != pieces_of(size) * HASH_SIZE_BYTES:
            raise RemoteProtocolError(f"a manifest of {size} bytes does not have {pieces_of(size)} hashes")
        return cls(sha256, size, hashes)


def piece_hash(sha256: Sha256, size_bytes: int, index: int, content: Buffer) -> bytes:
    """The hash of one piece, keyed by the file and the place."""
    place = b"".join(
        (
            bytes.fromhex(sha256),
            size_bytes.to_bytes(8, "big"),
            piece_size_of(size_bytes).to_bytes(4, "big"),
            index.to_bytes(4, "big"),
        )
    )
    key = blake3(place, derive_key_context=_CONTEXT).digest()
    return blake3(content, key=key).digest()


def manifest_of(sha256: Sha256, content: Buffer) -> Manifest:
    """The manifest of a file whose bytes are all here."""
    octets = memoryview(content).cast("B")
    size = octets.nbytes
    piece = piece_size_of(size)
    parts = (octets[index * piece : (index + 1) * piece] for index in range(pieces_of(size)))
    return Manifest(sha256, size, b"".join(piece_hash(sha256, size, index, part) for index, part in enumerate(parts)))
