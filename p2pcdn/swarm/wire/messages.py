"""What peers say to each other: the paths that are asked for, the bodies that answer, and the limits of both. Pure.

docs/protocol.md describes it; whatever does not look like it raises RemoteProtocolError here. What is said to a tracker
stands in advice.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from blake3 import blake3

from p2pcdn import frames
from p2pcdn.digest import Sha256
from p2pcdn.errors import RemoteProtocolError
from p2pcdn.swarm.wire.advice import AskCrowd, read_ask_crowd
from p2pcdn.swarm.wire.strict import HEX, SIZE_BYTES_MAX, decode, read_address, read_list, read_map

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

# Addresses that one node tells another: a large office (peers.py) at 60 bytes each.
PEERS_TOLD_MAX = 1024
PEERS_SIZE_BYTES_MAX = 96 * 1024
# Nobody lets a question wait longer for a piece: a silent node is left alone after three seconds.
WAIT_MS_MAX = 2_000

CBOR_TYPE = "application/cbor"
PIECE_TYPE = "application/octet-stream"
RETRY_AFTER = "retry-after-ms"
# Of an answer with a piece: which one it is, and what it stands on: somebody's word for it (manifest.py), or the name
# of the whole manifest.
PIECE_INDEX = "piece"
PROOF = "proof"
# The hashes of its parts (`encode_hashes`), where the answering node knows them; and that it is still arriving there.
PARTS = "parts"
PASSED_ON = "passed-on"
MANIFEST_NAME = "manifest"
# What the answering node holds: a bitfield, with every answer that brings no piece. 409: none of the wanted ones is
# here; 428: ask for the manifest first, for no proof goes with these pieces; 503: later.
HOLDS = "holds"

_IDS = rf"{HEX}(?:,{HEX}){{0,{IDS_MAX - 1}}}"
_HELLO = re.compile(r"/v1/hello", re.ASCII)
_HAVE = re.compile(rf"/v1/have/({_IDS})", re.ASCII)
_SMALL = re.compile(rf"/v1/small/({_IDS})", re.ASCII)
_MANIFEST = re.compile(rf"/v1/blob/({HEX})/manifest", re.ASCII)
_PIECE = re.compile(rf"/v1/blob/({HEX})/piece", re.ASCII)
_WANT = re.compile(r"want=([0-9A-Za-z_-]{1,1368})&wait=(0|[1-9][0-9]{0,4})&knows=([01])", re.ASCII)
_CROWD = re.compile(rf"/v1/crowd/({HEX})", re.ASCII)
_PEERS = re.compile(r"/v1/peers", re.ASCII)
_PORT = re.compile(r"port=([1-9][0-9]{0,4})(?:&boot=([0-9a-f]{32}))?", re.ASCII)
_WORD = re.compile(rf"[!-~]{{1,{WORD_SIZE_MAX}}}", re.ASCII)
_TAG = re.compile(r"(?:[0-9a-f]{16})?", re.ASCII)
_INSTANCE = re.compile(r"[0-9a-f]{32}", re.ASCII)


def blob_id(key: bytes, sha256: Sha256) -> str:
    """The name of a blob on the wire: outsiders of the key's group can neither list nor test what a node holds."""
    return str(blake3(bytes.fromhex(sha256), key=key).hexdigest())


# --- what is asked


@dataclass(frozen=True, slots=True)
class AskHello:
    """Who are you? port: where the asking node can be asked in turn, None where nowhere. boot: its boot id."""

    port: int | None = None
    boot: str | None = None

    def target(self) -> str:
        if self.port is None:
            return "/v1/hello"
        return f"/v1/hello?port={self.port}" + (f"&boot={self.boot}" if self.boot is not None else "")


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
    """Give me one of these pieces, whichever you think is rarest. want: a bitfield as text (bitfield.py).

    wait_ms: how long to wait where none of them is there yet. knows: who asks has a manifest, and needs no proof.
    """

    id: str
    want: str
    wait_ms: int = 0
    knows: bool = False

    def target(self) -> str:
        return f"/v1/blob/{self.id}/piece?want={self.want}&wait={self.wait_ms}&knows={self.knows:d}"


@dataclass(frozen=True, slots=True)
class AskPeers:
    """Whom else do you know?"""

    def target(self) -> str:
        return "/v1/peers"


Ask = AskHello | AskHave | AskSmall | AskManifest | AskPiece | AskPeers | AskCrowd


def read_target(path: str, query: str) -> Ask:
    """What a request asks for. Raises RemoteProtocolError where it is nothing of this protocol."""
    if match := _PIECE.fullmatch(path):
        if (how := _WANT.fullmatch(query)) is None:
            raise RemoteProtocolError("Which pieces are wanted is not said.")
        return AskPiece(match[1], how[1], min(int(how[2]), WAIT_MS_MAX), how[3] == "1")
    if match := _CROWD.fullmatch(path):
        return read_ask_crowd(match[1], query)
    if match := _MANIFEST.fullmatch(path):
        return AskManifest(match[1])
    if match := _HAVE.fullmatch(path):
        return AskHave(tuple(match[1].split(",")))
    if match := _SMALL.fullmatch(path):
        return AskSmall(tuple(match[1].split(",")))
    if _PEERS.fullmatch(path):
        return AskPeers()
    if _HELLO.fullmatch(path):
        return _ask_hello(query)
    raise RemoteProtocolError("This is nothing that one node asks another.")


def _ask_hello(query: str) -> AskHello:
    match = _PORT.fullmatch(query)
    if match is None or not 0 < int(match[1]) < 65536:
        return AskHello()
    return AskHello(int(match[1]), match[2])


# --- what is answered


@dataclass(frozen=True, slots=True)
class Hello:
    """Who a node is. boot: 32 hexadecimal digits that it drew at its start; also its instance name in multicast.

    tag: of its group, empty in open mode. sealed_port: where it speaks TLS, 0 where nowhere.
    """

    node_id: str
    boot: str
    version: str
    protocol: int = PROTOCOL_VERSION
    tag: str = ""
    sealed_port: int = 0

    def encode(self) -> bytes:
        return frames.encode(
            {
                "boot": self.boot,
                "node": self.node_id,
                "protocol": self.protocol,
                "sealed": self.sealed_port,
                "tag": self.tag,
                "version": self.version,
            }
        )

    @classmethod
    def decode(cls, content: bytes) -> Hello:
        """Raises RemoteProtocolError. Fields of later versions are passed over."""
        fields = read_map(content, HELLO_SIZE_BYTES_MAX)
        protocol, boot = fields.get("protocol"), fields.get("boot")
        if type(protocol) is not int or protocol < 1:
            raise RemoteProtocolError("a hello names no version of the protocol")
        if type(boot) is not str or not _INSTANCE.fullmatch(boot):
            raise RemoteProtocolError("a hello has no boot id")
        tag, sealed = fields.get("tag", ""), fields.get("sealed", 0)
        if type(tag) is not str or not _TAG.fullmatch(tag) or type(sealed) is not int or not 0 <= sealed < 65536:
            raise RemoteProtocolError("a hello's group or sealed port is none")
        return cls(_word(fields, "node"), boot, _word(fields, "version"), protocol, tag, sealed)


class Known(NamedTuple):
    """One node of which another tells. address: host:port, as the one who tells reaches it.

    age_s: how long ago it answered him, or whoever told him; whole seconds.
    """

    boot: str
    address: str
    age_s: int = 0


def encode_peers(known: Sequence[Known]) -> bytes:
    return frames.encode([[bytes.fromhex(one.boot), one.address, one.age_s] for one in known[:PEERS_TOLD_MAX]])


def decode_peers(content: bytes) -> list[Known]:
    """Raises RemoteProtocolError. What it says are hints."""
    value = decode(content, PEERS_SIZE_BYTES_MAX)
    if type(value) is not list or len(value) > PEERS_TOLD_MAX:
        raise RemoteProtocolError("a list of nodes is none, or too long")
    return [_known(one) for one in value]


def _known(value: Any) -> Known:
    if type(value) is not list or len(value) != 3 or type(value[0]) is not bytes or len(value[0]) != 16:
        raise RemoteProtocolError("a node is not told as its boot id, its address and an age")
    if type(value[2]) is not int or value[2] < 0:
        raise RemoteProtocolError("an age is no number of seconds")
    return Known(value[0].hex(), read_address(value[1]), value[2])


def encode_have(sizes: Sequence[int | None]) -> bytes:
    """sizes: of each blob in the order of the question, None for what one has not."""
    return frames.encode(list(sizes))


def decode_have(content: bytes, asked: int) -> list[int | None]:
    """Raises RemoteProtocolError unless it is one size or null for each of the `asked` blobs."""
    sizes = read_list(content, asked, HAVE_SIZE_BYTES_MAX)
    if not all(size is None or (type(size) is int and 0 <= size <= SIZE_BYTES_MAX) for size in sizes):
        raise RemoteProtocolError("a size is not a number of bytes")
    return sizes


def encode_small(contents: Sequence[bytes | None]) -> bytes:
    """contents: of each blob in the order of the question, None for what one has not or what found no room."""
    return frames.encode(list(contents))


def decode_small(content: bytes, asked: int) -> list[bytes | None]:
    """Raises RemoteProtocolError unless it is bytes or null for each of the `asked` blobs. The bytes prove nothing."""
    contents = read_list(content, asked, SMALL_SIZE_BYTES_MAX)
    if not all(one is None or type(one) is bytes for one in contents):
        raise RemoteProtocolError("a small blob is not bytes")
    return contents


def _word(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if type(value) is not str or not _WORD.fullmatch(value):
        raise RemoteProtocolError(f"a hello has no {name}")
    return value
