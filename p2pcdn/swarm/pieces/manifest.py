"""How a file is cut into pieces, the keyed hash of each, and the word that somebody gives for it.

A piece's key depends on the file's sha256, its size, the piece size and the place, so that no piece can stand for one
of another file or at another place. The sha256 itself is not in a manifest: who asks knows it, nobody else needs it.
A piece's hash is that of the hashes of its eight parts: whoever knows these can check a part as soon as it is here, and
pass it on while the rest of the piece still arrives (docs/decisions/0009).
While the origin is still being read there is no whole manifest yet: then each piece brings its own proof, the maker's
signature over that piece's hash.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field

from blake3 import blake3

from p2pcdn import frames
from p2pcdn.digest import Buffer, Sha256
from p2pcdn.errors import RemoteProtocolError
from p2pcdn.group import Identity, verify
from p2pcdn.swarm.wire.messages import MANIFEST_SIZE_BYTES_MAX
from p2pcdn.swarm.wire.strict import SIZE_BYTES_MAX

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
# What is passed on while the rest of its piece arrives: a level of a tree costs an eighth of what it would with whole
# pieces. The last of three hundred nodes was two per cent sooner than with quarters; a sixth more CPU, in parts of it.
PARTS_PER_PIECE = 8

_PIECE_CONTEXT = "p2pcdn 2026 piece v2"
_PART_CONTEXT = "p2pcdn 2026 part v1"
_PROOF_CONTEXT = "p2pcdn 2026 piece proof v1"
_MANIFEST_CONTEXT = "p2pcdn 2026 manifest v1"
_VERSION = 2
_KEY_SIZE_BYTES, _SIGNATURE_SIZE_BYTES, _VOUCH_SIZE_BYTES = 32, 64, 16


@dataclass(frozen=True, slots=True)
class Cut:
    """How a file of this size is cut. An empty file has one empty piece."""

    size_bytes: int
    piece_size_bytes: int
    pieces: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pieces", max(1, -(-self.size_bytes // self.piece_size_bytes)))

    def span(self, index: int) -> tuple[int, int]:
        """Where a piece stands in the file: [start, end)."""
        start = index * self.piece_size_bytes
        return start, min(start + self.piece_size_bytes, self.size_bytes)

    def parts(self, index: int) -> list[tuple[int, int]]:
        """Where the parts of a piece stand in it: [start, end) each. The last piece may have fewer than eight."""
        start, end = self.span(index)
        size_bytes = max(1, -(-self.piece_size_bytes // PARTS_PER_PIECE))
        length = end - start
        return [(at, min(at + size_bytes, length)) for at in range(0, max(1, length), size_bytes)]

    def within(self, start: int, end: int) -> range:
        """The pieces of which [start, end) holds every byte."""
        first = -(-start // self.piece_size_bytes)
        last = self.pieces if end >= self.size_bytes else end // self.piece_size_bytes
        return range(first, max(first, last))


Cutting = Callable[[int], Cut]


def cut_of(size_bytes: int) -> Cut:
    """The pieces of a file: 256 KiB up to 8 MiB, 1 MiB up to 2 GiB, then so that about 2048 pieces result."""
    if size_bytes <= 8 * MIB:
        return Cut(size_bytes, SINGLE_PIECE_SIZE_BYTES_MAX)
    size = PIECE_SIZE_BYTES
    while size * PIECES_WANTED_MAX < size_bytes and size < PIECE_SIZE_BYTES_MAX:
        size *= 2
    return Cut(size_bytes, size)


def cutting(piece_size_bytes: int | None) -> Cutting:
    """Every file into pieces of this size (for worlds whose links are scaled down); None: by the file's size."""
    if piece_size_bytes is None:
        return cut_of
    return lambda size_bytes: Cut(size_bytes, max(piece_size_bytes, -(-size_bytes // PIECES_MAX)))


@dataclass(frozen=True, slots=True)
class Manifest:
    """The pieces of one whole file. hashes: 32 bytes for each piece, one after the other.

    name: 16 hexadecimal digits that tell it from another one.
    """

    sha256: Sha256
    cut: Cut
    hashes: bytes
    name: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", str(blake3(self.encode()).hexdigest(8)))  # said with each piece

    @property
    def size_bytes(self) -> int:
        return self.cut.size_bytes

    @property
    def pieces(self) -> int:
        return self.cut.pieces

    def hash_of(self, index: int) -> bytes:
        return self.hashes[index * HASH_SIZE_BYTES : (index + 1) * HASH_SIZE_BYTES]

    def matches(self, index: int, content: Buffer) -> bool:
        """Whether these bytes are the piece. The length counts, too."""
        start, end = self.cut.span(index)
        if memoryview(content).nbytes != end - start:
            return False
        parts = part_hashes(self.sha256, self.cut, index, content)
        return hmac.compare_digest(piece_hash(self.sha256, self.cut, index, parts), self.hash_of(index))

    def encode(self) -> bytes:
        return frames.encode(
            {"v": _VERSION, "size": self.size_bytes, "piece": self.cut.piece_size_bytes, "hashes": self.hashes}
        )

    @classmethod
    def decode(cls, sha256: Sha256, content: bytes, cutting: Cutting = cut_of) -> Manifest:
        """Raises RemoteProtocolError where a count, a size or a piece size is not what the others demand."""
        if len(content) > MANIFEST_SIZE_BYTES_MAX:
            raise RemoteProtocolError(f"a manifest has {len(content)} bytes, more than {MANIFEST_SIZE_BYTES_MAX}")
        fields = frames.decode(content)
        if type(fields) is not dict or set(fields) != {"v", "size", "piece", "hashes"} or fields["v"] != _VERSION:
            raise RemoteProtocolError("a manifest has other fields than those of version 2")
        size, piece, hashes = fields["size"], fields["piece"], fields["hashes"]
        if type(size) is not int or not 0 <= size <= SIZE_BYTES_MAX:
            raise RemoteProtocolError("a manifest's size is not a number of bytes")
        cut = cutting(size)
        if type(piece) is not int or piece != cut.piece_size_bytes:
            raise RemoteProtocolError(f"a manifest cuts {size} bytes into pieces of {piece!r}"[:120])
        if type(hashes) is not bytes or len(hashes) != cut.pieces * HASH_SIZE_BYTES:
            raise RemoteProtocolError(f"a manifest of {size} bytes does not have {cut.pieces} hashes")
        return cls(sha256, cut, hashes)


def piece_hash(sha256: Sha256, cut: Cut, index: int, parts: bytes) -> bytes:
    """The hash of one piece, keyed by the file and the place. parts: the hashes of its parts, one after the other."""
    return blake3(parts, key=_key(_PIECE_CONTEXT, sha256, cut, index)).digest()


def part_hashes(sha256: Sha256, cut: Cut, index: int, content: Buffer) -> bytes:
    """The hashes of the parts of one whole piece, 32 bytes each, one after the other."""
    octets, key = memoryview(content).cast("B"), _key(_PART_CONTEXT, sha256, cut, index)
    return b"".join([blake3(octets[start:end], key=key).digest() for start, end in cut.parts(index)])


def part_hasher(sha256: Sha256, cut: Cut, index: int) -> Callable[[Buffer], bytes]:
    """Hashes parts of one piece. Which part it is, the order of the hashes says."""
    key = _key(_PART_CONTEXT, sha256, cut, index)
    return lambda content: blake3(content, key=key).digest()


def _key(context: str, sha256: Sha256, cut: Cut, index: int) -> bytes:
    place = b"".join(
        (
            bytes.fromhex(sha256),
            cut.size_bytes.to_bytes(8, "big"),
            cut.piece_size_bytes.to_bytes(4, "big"),
            index.to_bytes(4, "big"),
        )
    )
    return blake3(place, derive_key_context=context).digest()


def manifest_of(sha256: Sha256, content: Buffer, cutting: Cutting = cut_of) -> Manifest:
    """The manifest of a file whose bytes are all here."""
    octets = memoryview(content).cast("B")
    cut = cutting(octets.nbytes)
    hashes = bytearray()
    for index in range(cut.pieces):
        hashes += piece_hash(sha256, cut, index, part_hashes(sha256, cut, index, octets[slice(*cut.span(index))]))
    return Manifest(sha256, cut, bytes(hashes))


@dataclass(frozen=True, slots=True)
class Proof:
    """Somebody's word for one piece, or for a whole manifest.

    maker: the public key of its device. vouch: that the device belongs to the group; empty in open mode.
    """

    maker: bytes
    signature: bytes
    vouch: bytes = b""

    def encode(self) -> str:
        return base64.urlsafe_b64encode(self.maker + self.signature + self.vouch).decode("ascii").rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Proof:
        """Raises RemoteProtocolError."""
        try:
            octets = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise RemoteProtocolError("a proof is not base64url") from error
        signed = _KEY_SIZE_BYTES + _SIGNATURE_SIZE_BYTES
        if len(octets) not in (signed, signed + _VOUCH_SIZE_BYTES):
            raise RemoteProtocolError("a proof has another length")
        return cls(octets[:_KEY_SIZE_BYTES], octets[_KEY_SIZE_BYTES:signed], octets[signed:])

    def holds_for_piece(self, hash_: bytes) -> bool:
        """Whether the maker signed this hash; whether the maker is to be believed, the caller decides."""
        return verify(self.maker, _PROOF_CONTEXT, hash_, self.signature)

    def holds_for_manifest(self, sha256: Sha256, manifest: bytes) -> bool:
        return verify(self.maker, _MANIFEST_CONTEXT, bytes.fromhex(sha256) + manifest, self.signature)


def prove_piece(identity: Identity, hash_: bytes) -> Proof:
    """Our own word for a piece, whose hash names file and place already."""
    return Proof(identity.device.public, identity.device.sign(_PROOF_CONTEXT, hash_), identity.vouch)


def prove_manifest(identity: Identity, sha256: Sha256, manifest: bytes) -> Proof:
    """Our own word for a whole file's manifest, which we made from bytes with the right sha256."""
    signature = identity.device.sign(_MANIFEST_CONTEXT, bytes.fromhex(sha256) + manifest)
    return Proof(identity.device.public, signature, identity.vouch)
