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

# Addresses that one node tells another: a large office (peers.py) at 60 bytes each.
PEERS_TOLD_MAX = 1024
PEERS_SIZE_BYTES_MAX = 96 * 1024
# Nobody lets a question wait longer for a piece: a silent node is left alone after three seconds.
WAIT_MS_MAX = 2_000
# What a tracker says: a few addresses, a few keys, and a bit for each piece.
CROWD_SIZE_BYTES_MAX = 16 * 1024
# Makers whose word one asker does not take; more, and it reads the upstream itself.
DISTRUSTED_MAKERS_MAX = 4
# Parents that one asker complains about; and how it writes the tracker itself, whose own address is nobody's to say.
LEFT_MAX = 4
TRACKER = "-"
# Readers and holders of one file that a tracker names with their keys.
MAKERS_TOLD_MAX = 8

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

_HEX = r"[0-9a-f]{64}"
_IDS = rf"{_HEX}(?:,{_HEX}){{0,{IDS_MAX - 1}}}"
_HELLO = re.compile(r"/v1/hello", re.ASCII)
_HAVE = re.compile(rf"/v1/have/({_IDS})", re.ASCII)
_SMALL = re.compile(rf"/v1/small/({_IDS})", re.ASCII)
_MANIFEST = re.compile(rf"/v1/blob/({_HEX})/manifest", re.ASCII)
_PIECE = re.compile(rf"/v1/blob/({_HEX})/piece", re.ASCII)
_WANT = re.compile(r"want=([0-9A-Za-z_-]{1,1368})&wait=(0|[1-9][0-9]{0,4})&knows=([01])", re.ASCII)
_CROWD = re.compile(rf"/v1/crowd/({_HEX})", re.ASCII)
_PEERS = re.compile(r"/v1/peers", re.ASCII)
_PORT = re.compile(r"port=([1-9][0-9]{0,4})(?:&boot=([0-9a-f]{32}))?", re.ASCII)
_WORD = re.compile(rf"[!-~]{{1,{WORD_SIZE_MAX}}}", re.ASCII)
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


@dataclass(frozen=True, slots=True)
class AskCrowd:
    """I fetch this file: what shall I do, and whom shall I ask? Asked of the file's tracker, again and again.

    boot, port: who asks, and where it can be asked. device: its public key. size_bytes, pieces: of the file; 0 pieces
    while it knows neither. holds: which of them are here, a bitfield as text. got: bytes that are here. able: it can
    read the upstream. gives: others may ask it first. readers: so many may read the origin at once, each its part,
    where one connection to it is slower than the line. slow: the room is slower than its own wire to the upstream.
    distrusted: devices whose word it does not take, or that give it nothing; the first `liars` of them have lied.
    left: parents that lied to it or failed it, as the tracker named them; `TRACKER` for the tracker.
    """

    id: str
    boot: str
    port: int
    device: bytes
    size_bytes: int = 0
    pieces: int = 0
    holds: str = ""
    got: int = 0
    able: bool = True
    gives: bool = True
    readers: int = 1
    distrusted: tuple[bytes, ...] = ()
    slow: bool = False
    left: tuple[str, ...] = ()
    liars: int = 0

    def target(self) -> str:
        distrusted = ",".join(key.hex() for key in self.distrusted)
        return (
            f"/v1/crowd/{self.id}?boot={self.boot}&port={self.port}&device={self.device.hex()}"
            f"&size={self.size_bytes}&pieces={self.pieces}&holds={self.holds}&got={self.got}&able={self.able:d}&gives={self.gives:d}&readers={self.readers}"
            f"&slow={self.slow:d}&distrusted={distrusted}&left={','.join(self.left)}&liars={self.liars}"
        )


_ASK_CROWD = re.compile(
    rf"boot=([0-9a-f]{{32}})&port=([1-9][0-9]{{0,4}})&device=({_HEX})&size=(0|[1-9][0-9]{{0,10}})"
    rf"&pieces=(0|[1-9][0-9]{{0,3}})"
    rf"&holds=([0-9A-Za-z_-]{{0,1368}})&got=(0|[1-9][0-9]{{0,12}})&able=([01])&gives=([01])&readers=([1-4])"
    rf"&slow=([01])&distrusted=((?:{_HEX}(?:,{_HEX}){{0,{DISTRUSTED_MAKERS_MAX - 1}}})?)"
    r"&left=([0-9A-Za-z.:%_\[\],-]{0,1024})"
    rf"&liars=([0-{DISTRUSTED_MAKERS_MAX}])",
    re.ASCII,
)

Ask = AskHello | AskHave | AskSmall | AskManifest | AskPiece | AskPeers | AskCrowd


def read_target(path: str, query: str) -> Ask:
    """What a request asks for. Raises RemoteProtocolError where it is nothing of this protocol."""
    if match := _PIECE.fullmatch(path):
        if (how := _WANT.fullmatch(query)) is None:
            raise RemoteProtocolError("Which pieces are wanted is not said.")
        return AskPiece(match[1], how[1], min(int(how[2]), WAIT_MS_MAX), how[3] == "1")
    if match := _CROWD.fullmatch(path):
        return _ask_crowd(match[1], query)
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


def _ask_crowd(id_: str, query: str) -> AskCrowd:
    match = _ASK_CROWD.fullmatch(query)
    if match is None or not 0 < int(match[2]) < 65536 or int(match[4]) > SIZE_BYTES_MAX:
        # A size that no answer may name would spoil the answers to all others.
        raise RemoteProtocolError("A question to a tracker is not one.")
    distrusted = tuple(bytes.fromhex(key) for key in match[12].split(",") if key)
    return AskCrowd(
        id=id_,
        boot=match[1],
        port=int(match[2]),
        device=bytes.fromhex(match[3]),
        size_bytes=int(match[4]),
        pieces=int(match[5]),
        holds=match[6],
        got=int(match[7]),
        able=match[8] == "1",
        gives=match[9] == "1",
        readers=int(match[10]),
        slow=match[11] == "1",
        distrusted=distrusted,
        left=_left(match[13]),
        liars=int(match[14]),
    )


def _left(text: str) -> tuple[str, ...]:
    left = text.split(",") if text else []
    if len(left) > LEFT_MAX:
        raise RemoteProtocolError("A question to a tracker complains about too many.")
    return tuple(one if one == TRACKER else _address(one) for one in left)


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
        fields = _map(content, HELLO_SIZE_BYTES_MAX)
        protocol, boot = fields.get("protocol"), fields.get("boot")
        if type(protocol) is not int or protocol < 1:
            raise RemoteProtocolError("a hello names no version of the protocol")
        if type(boot) is not str or not _INSTANCE.fullmatch(boot):
            raise RemoteProtocolError("a hello has no boot id")
        tag, sealed = fields.get("tag", ""), fields.get("sealed", 0)
        if type(tag) is not str or not _TAG.fullmatch(tag) or type(sealed) is not int or not 0 <= sealed < 65536:
            raise RemoteProtocolError("a hello's group or sealed port is none")
        return cls(_word(fields, "node"), boot, _word(fields, "version"), protocol, tag, sealed)


@dataclass(frozen=True, slots=True)
class Known:
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
    value = _decode(content, PEERS_SIZE_BYTES_MAX)
    if type(value) is not list or len(value) > PEERS_TOLD_MAX:
        raise RemoteProtocolError("a list of nodes is none, or too long")
    return [_known(one) for one in value]


def _known(value: Any) -> Known:
    if type(value) is not list or len(value) != 3 or type(value[0]) is not bytes or len(value[0]) != 16:
        raise RemoteProtocolError("a node is not told as its boot id, its address and an age")
    if type(value[2]) is not int or value[2] < 0:
        raise RemoteProtocolError("an age is no number of seconds")
    return Known(value[0].hex(), _address(value[1]), value[2])


@dataclass(frozen=True, slots=True)
class Advice:
    """What a tracker tells one of those who fetch a file.

    read: read the upstream, beginning at this `part` of the file, in [0, 1). held: with it, which pieces others have,
    so that they need not be read again (a bitfield).
    parents: whom to ask for the pieces of each class (plan.py), None where nobody has a hand free; "" is the tracker
    itself. others: some more.
    makers: the devices whose signature stands for a piece, and where each can be asked. again_ms: when to ask again.
    elsewhere: "" or the address of the node that is the tracker in the eyes of this one; the rest says nothing then.
    reach: how many pieces the others have, all together. members: how many they are, with the one who asks.
    size_bytes: of the file, as a reader says; None while none knows.
    """

    read: bool = False
    held: str = ""
    parents: tuple[str | None, ...] = ()
    others: tuple[str, ...] = ()
    makers: tuple[tuple[bytes, str], ...] = ()
    again_ms: int = 1000
    elsewhere: str = ""
    reach: int = 0
    size_bytes: int | None = None
    part: float = 0.0
    members: int = 1

    def encode(self) -> bytes:
        return frames.encode(
            {
                "again": self.again_ms,
                "elsewhere": self.elsewhere,
                "held": self.held,
                "members": self.members,
                "makers": [list(one) for one in self.makers],
                "others": list(self.others),
                "parents": list(self.parents),
                "part": self.part,
                "reach": self.reach,
                "read": self.read,
                "size": self.size_bytes,
            }
        )

    @classmethod
    def decode(cls, content: bytes) -> Advice:
        """Raises RemoteProtocolError. Fields of later versions are passed over."""
        fields = _map(content, CROWD_SIZE_BYTES_MAX)
        read, held = fields.get("read"), fields.get("held")
        again, elsewhere, reach = fields.get("again"), fields.get("elsewhere"), fields.get("reach")
        if type(read) is not bool or type(held) is not str or type(again) is not int or type(reach) is not int:
            raise RemoteProtocolError("a tracker's answer is none")
        size, part, members = fields.get("size"), fields.get("part"), fields.get("members")
        if type(members) is not int or members < 1:
            raise RemoteProtocolError("a tracker's crowd is no number of members")
        if type(part) is not float or not 0 <= part < 1:
            raise RemoteProtocolError("a tracker's part is no part")
        if size is not None and (type(size) is not int or not 0 <= size <= SIZE_BYTES_MAX):
            raise RemoteProtocolError("a tracker's size is no number of bytes")
        if type(elsewhere) is not str:
            raise RemoteProtocolError("a tracker's answer is none")
        return cls(
            read=read,
            held=held,
            parents=_parents(fields.get("parents")),
            others=_addresses(fields.get("others"), 32),
            makers=_makers(fields.get("makers")),
            again_ms=max(10, min(again, 10_000)),
            elsewhere=_address(elsewhere) if elsewhere else "",
            reach=reach,
            size_bytes=size,
            part=part,
            members=members,
        )


_ADDRESS = re.compile(r"(?:[0-9A-Za-z._-]{1,255}|\[[0-9A-Za-z:.%_-]{2,64}\]):[1-9][0-9]{0,4}", re.ASCII)
_TAG = re.compile(r"(?:[0-9a-f]{16})?", re.ASCII)


def _makers(value: Any) -> tuple[tuple[bytes, str], ...]:
    if type(value) is not list or len(value) > MAKERS_TOLD_MAX:
        raise RemoteProtocolError("a tracker's makers are none, or too many")
    return tuple(_maker(one) for one in value)


def _maker(value: Any) -> tuple[bytes, str]:
    if type(value) is not list or len(value) != 2 or type(value[0]) is not bytes or len(value[0]) != 32:
        raise RemoteProtocolError("a tracker's maker is no key with an address")
    return value[0], _address(value[1]) if value[1] else ""


def _address(value: Any) -> str:
    if type(value) is not str or not _ADDRESS.fullmatch(value) or int(value.rpartition(":")[2]) > 65535:
        raise RemoteProtocolError("an address is not host:port")
    return value


def _parents(value: Any) -> tuple[str | None, ...]:
    if type(value) is not list or len(value) > 3:
        raise RemoteProtocolError("a tracker's parents are none, or too many")
    return tuple(one if one is None or one == "" else _address(one) for one in value)


def _addresses(value: Any, most: int) -> tuple[str, ...]:
    if type(value) is not list or len(value) > most:
        raise RemoteProtocolError("a list of addresses is none, or too long")
    return tuple(one if one == "" else _address(one) for one in value)


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
