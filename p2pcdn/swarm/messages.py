"""What peers say to each other: the paths that are asked for, the bodies that answer, and the limits of both. Pure.

docs/protocol.md describes it; whatever does not look like it raises RemoteProtocolError here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from p2pcdn import frames
from p2pcdn.digest import Sha256
from p2pcdn.errors import RemoteProtocolError

PROTOCOL_VERSION = 1
# The key under which public files are looked up: everybody has it, and still no sha256 stands plainly on the wire.
PUBLIC_KEY = bytes(32)

# One request names at most so many blobs: its head stays at a third of what the server takes.
IDS_MAX = 64
# A hello has four short fields.
HELLO_SIZE_BYTES_MAX = 1024
WORD_SIZE_MAX = 64
# A size takes nine bytes of CBOR; 64 of them and the list's head.
HAVE_SIZE_BYTES_MAX = 1024
# As many small blobs as fit here are answered at once; the others are asked for again.
SMALL_SIZE_BYTES_MAX = 4 * 1024 * 1024
# 8,192 pieces are 256 KiB of hashes; see `manifest.py`.
MANIFEST_SIZE_BYTES_MAX = 260 * 1024
# Nobody asks us to come back later than that: a neighbour that is so full is no help.
RETRY_AFTER_MS_MAX = 5_000
# Larger files are no packages, and a number that is larger is no size.
SIZE_BYTES_MAX = 64 * 1024**3

CBOR_TYPE = "application/cbor"
PIECE_TYPE = "application/octet-stream"
RETRY_AFTER = "retry-after-ms"

_HEX = r"[0-9a-f]{64}"
_IDS = rf"{_HEX}(?:,{_HEX}){{0,{IDS_MAX - 1}}}"
_HELLO = re.compile(r"/v1/hello", re.ASCII)
_HAVE = re.compile(rf"/v1/have/({_IDS})", re.ASCII)
_SMALL = re.compile(rf"/v1/small/({_IDS})", re.ASCII)
_MANIFEST = re.compile(rf"/v1/blob/({_HEX})/manifest", re.ASCII)
_PIECE = re.compile(rf"/v1/blob/({_HEX})/piece/(0|[1-9][0-9]{{0,4}})", re.ASCII)
_PORT = re.compile(r"port=([1-9][0-9]{0,4})", re.ASCII)
_WORD = re.compile(rf"[!-~]{{1,{WORD_SIZE_MAX}}}", re.ASCII)
_INSTANCE = re.compile(r"[0-9a-f]{32}", re.ASCII)


def blob_id(key: bytes, sha256: Sha256) -> str:
    """The name of a blob on the wire: outsiders of the key's group can neither list nor test what a node holds."""
    return str(blake3(bytes.fromhex(sha256), key=key).hexdigest())


# --- what is asked


@dataclass(frozen=True, slots=True)
class AskHello:
    """Who are you? port: where the asking node can be asked in turn, None where nowhere."""

    port: int | None = None

    def target(self) -> str:
        return "/v1/hello" if self.port is None else f"/v1/hello?port={self.port}"


@dataclass(frozen=True, slots=True)
class AskHave:
    """Which of these do you have?"""

    ids: tuple[str, ...]

    def target(self) -> str:
        return f"/v1/have/{','.join(self.ids)}"


@dataclass(frozen=True, slots=True)
class AskSmall:
    """Give me those of these that are small."""

    ids: tuple[str, ...]

    def target(self) -> str:
        return f"/v1/small/{','.join(self.ids)}"


@dataclass(frozen=True, slots=True)
class AskManifest:
    """Which pieces has it?"""

    id: str

    def target(self) -> str:
        return f"/v1/blob/{self.id}/manifest"


@dataclass(frozen=True, slots=True)
class AskPiece:
    """Give me this piece. index: from 0."""

    id: str
    index: int

    def target(self) -> str:
        return f"/v1/blob/{self.id}/piece/{self.index}"


Ask = AskHello | AskHave | AskSmall | AskManifest | AskPiece


def read_target(path: str, query: str) -> Ask:
    """What a request asks for. Raises RemoteProtocolError where it is nothing of this protocol."""
    if match := _PIECE.fullmatch(path):
        return AskPiece(match[1], int(match[2]))
    if match := _MANIFEST.fullmatch(path):
        return AskManifest(match[1])
    if match := _HAVE.fullmatch(path):
        return AskHave(tuple(match[1].split(",")))
    if match := _SMALL.fullmatch(path):
        return AskSmall(tuple(match[1].split(",")))
    if _HELLO.fullmatch(path):
        return AskHello(_port(query))
    raise RemoteProtocolError("This is nothing that one node asks another.")


def _port(query: str) -> int | None:
    match = _PORT.fullmatch(query)
    port = int(match[1]) if match else 0
    return port if 0 < port < 65536 else None


# --- what is answered


@dataclass(frozen=True, slots=True)
class Hello:
    """Who a node is. boot: 32 hexadecimal digits that it drew at its start; also its instance name in multicast."""

    node_id: str
    boot: str
    version: str
    protocol: int = PROTOCOL_VERSION

    def encode(self) -> bytes:
        return frames.encode(
            {"boot": self.boot, "node": self.node_id, "protocol": self.protocol, "version": self.version}
        )

    @classmethod
    def decode(cls, content: bytes) -> Hello:
        """Raises RemoteProtocolError. Fields of later versions are passed over."""
        fields = _map(content, HELLO_SIZE_BYTES_MAX)
        protocol, boot = fields.get("protocol"), fields.get("boot")
        if type(protocol) is not int or protocol < 1:
            raise RemoteProtocolError("a hello names no version of the protocol")
        if type(boot) is not str or not _INSTANCE.fullmatch(boot):
            raise RemoteProtocolError("a hello has no boot id")
        return cls(_word(fields, "node"), boot, _word(fields, "version"), protocol)


def encode_have(sizes: Sequence[int | None]) -> bytes:
    """sizes: of each blob in the order of the question, None for what one has not."""
    return frames.encode(list(sizes))


def decode_have(content: bytes, asked: int) -> list[int | None]:
    """Raises RemoteProtocolError unless it is one size or null for each of the `asked` blobs."""
    sizes = _list(content, asked, HAVE_SIZE_BYTES_MAX)
    if not all(size is None or (type(size) is int and 0 <= size <= SIZE_BYTES_MAX) for size in sizes):
        raise RemoteProtocolError("a size is not a number of bytes")
    return sizes


def encode_small(contents: Sequence[bytes | None]) -> bytes:
    """contents: of each blob in the order of the question, None for what one has not or what found no room."""
    return frames.encode(list(contents))


def decode_small(content: bytes, asked: int) -> list[bytes | None]:
    """Raises RemoteProtocolError unless it is bytes or null for each of the `asked` blobs. The bytes prove nothing."""
    contents = _list(content, asked, SMALL_SIZE_BYTES_MAX)
    if not all(one is None or type(one) is bytes for one in contents):
        raise RemoteProtocolError("a small blob is not bytes")
    return contents


def _list(content: bytes, asked: int, size_bytes_max: int) -> list[Any]:
    value = _decode(content, size_bytes_max)
    if type(value) is not list or len(value) != asked:
        raise RemoteProtocolError(f"{asked} blobs were asked for, and the answer has another number of parts")
    return value


def _map(content: bytes, size_bytes_max: int) -> Mapping[str, Any]:
    value = _decode(content, size_bytes_max)
    if type(value) is not dict or not all(type(key) is str for key in value):
        raise RemoteProtocolError("an answer is not a map")
    return value


def _decode(content: bytes, size_bytes_max: int) -> Any:
    if len(content) > size_bytes_max:
        raise RemoteProtocolError(f"an answer has {len(content)} bytes, more than {size_bytes_max}")
    return frames.decode(content)


def _word(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if type(value) is not str or not _WORD.fullmatch(value):
        raise RemoteProtocolError(f"a hello has no {name}")
    return value
