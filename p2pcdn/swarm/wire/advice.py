"""What a member asks the tracker of a file, and what the tracker advises it. Pure; docs/protocol.md describes it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from p2pcdn import frames
from p2pcdn.errors import RemoteProtocolError
from p2pcdn.swarm.wire.strict import HEX, SIZE_BYTES_MAX, read_address, read_map

# What a tracker says: a few addresses, a few keys, and a bit for each piece.
CROWD_SIZE_BYTES_MAX = 16 * 1024
# So many may read the origin at once where one connection to it is the limit.
READERS_MAX = 8
# Makers whose word one asker does not take; more, and it reads the upstream itself.
DISTRUSTED_MAKERS_MAX = 4
# Parents that one asker complains about; and how it writes the tracker itself, whose own address is nobody's to say.
LEFT_MAX = 4
TRACKER = "-"
# Fields of later versions that a question may have; they are passed over.
MORE_MAX = 4
# Readers and holders of one file that a tracker names with their keys.
MAKERS_TOLD_MAX = 8
# Hosts that one tracker names as those that come last: a tenth of the largest room that was simulated, in 2 kB.
LAST_TOLD_MAX = 100
# As `member.host_of` writes it: an IPv4 address, or the first half of an IPv6 one.
_HOST = re.compile(r"[0-9a-f.:]{1,45}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads the origin, as a member heard it of a tracker that does not answer now.

    quiet_ms: for how long nothing of the file has come to the member.
    """

    device: bytes
    address: str
    quiet_ms: int


@dataclass(frozen=True, slots=True)
class AskCrowd:
    """I fetch this file: what shall I do, and whom shall I ask? Asked of the file's tracker, again and again.

    boot, port: who asks, and where it can be asked. device: its public key. size_bytes, pieces: of the file; 0 pieces
    while it knows neither. holds: which of them are here, a bitfield as text. got: bytes that are here. able: it can
    read the upstream. gives: others may ask it first. readers: so many may read the origin at once, each its part,
    where one connection to it is slower than the line. slow: the room is slower than its own wire to the upstream.
    distrusted: devices whose word it does not take, or that give it nothing; the first `liars` of them have lied.
    left: parents that lied to it or failed it, as the tracker named them; `TRACKER` for the tracker. lied: those of
    them that gave something wrong.
    read: bytes that it has read of the origin itself.
    reader: told to another tracker than the one that named it.
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
    read: int = 0
    lied: tuple[str, ...] = ()
    reader: Reader | None = None

    def target(self) -> str:
        distrusted = ",".join(key.hex() for key in self.distrusted)
        return (
            f"/v1/crowd/{self.id}?boot={self.boot}&port={self.port}&device={self.device.hex()}"
            f"&size={self.size_bytes}&pieces={self.pieces}&holds={self.holds}&got={self.got}&able={self.able:d}&gives={self.gives:d}&readers={self.readers}"
            f"&slow={self.slow:d}&distrusted={distrusted}&left={','.join(self.left)}&liars={self.liars}"
            + (f"&read={self.read}" if self.read else "")
            + (f"&lied={','.join(self.lied)}" if self.lied else "")
            + (f"&reader={one.device.hex()},{one.address},{one.quiet_ms}" if (one := self.reader) else "")
        )


# A character of a list of addresses.
_LEFT = r"[0-9A-Za-z.:%_\[\],-]"
_ASK_CROWD = re.compile(
    rf"boot=([0-9a-f]{{32}})&port=([1-9][0-9]{{0,4}})&device=({HEX})&size=(0|[1-9][0-9]{{0,10}})"
    rf"&pieces=(0|[1-9][0-9]{{0,3}})"
    rf"&holds=([0-9A-Za-z_-]{{0,1368}})&got=(0|[1-9][0-9]{{0,12}})&able=([01])&gives=([01])&readers=([1-{READERS_MAX}])"
    rf"&slow=([01])&distrusted=((?:{HEX}(?:,{HEX}){{0,{DISTRUSTED_MAKERS_MAX - 1}}})?)"
    rf"&left=({_LEFT}{{0,1024}})"
    rf"&liars=([0-{DISTRUSTED_MAKERS_MAX}])(?:&read=([1-9][0-9]{{0,12}}))?(?:&lied=({_LEFT}{{1,1024}}))?"
    rf"(?:&reader=({HEX}),({_LEFT}{{1,300}}),(0|[1-9][0-9]{{0,5}}))?"
    # What later versions say beside it.
    rf"(?:&[a-z]{{1,16}}={_LEFT}{{0,1024}}){{0,{MORE_MAX}}}",
    re.ASCII,
)


def read_ask_crowd(id_: str, query: str) -> AskCrowd:
    """The question in a request for this file. Raises RemoteProtocolError."""
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
        read=int(match[15] or 0),
        lied=_left(match[16] or ""),
        reader=Reader(bytes.fromhex(match[17]), read_address(match[18]), int(match[19])) if match[17] else None,
    )


def _left(text: str) -> tuple[str, ...]:
    left = text.split(",") if text else []
    if len(left) > LEFT_MAX:
        raise RemoteProtocolError("A question to a tracker complains about too many.")
    return tuple(one if one == TRACKER else read_address(one) for one in left)


@dataclass(frozen=True, slots=True)
class Advice:
    """What a tracker tells one of those who fetch a file.

    read: read the upstream, beginning at this `part` of the file, in [0, 1). held: with it, which pieces others have or
    are to read, so that they need not be read again (a bitfield).
    parents: whom to ask for the pieces of each class (plan.py), None where nobody has a hand free; "" is the tracker
    itself. others: some more.
    makers: the devices whose signature stands for a piece, and where each can be asked; who reads now comes first.
    again_ms: when to ask again.
    elsewhere: "" or the address of the node that is the tracker in the eyes of this one; the rest says nothing then.
    reach: how many pieces the others have, all together. members: how many they are, with the one who asks.
    last: hosts whose nodes come last, for they give wrong bytes (last.py).
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
    last: tuple[str, ...] = ()

    def encode(self) -> bytes:
        last = {"last": list(self.last)} if self.last else {}
        return frames.encode(
            last
            | {
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
        fields = read_map(content, CROWD_SIZE_BYTES_MAX)
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
            elsewhere=read_address(elsewhere) if elsewhere else "",
            reach=reach,
            size_bytes=size,
            part=part,
            members=members,
            last=_hosts(fields.get("last", [])),
        )


def _makers(value: Any) -> tuple[tuple[bytes, str], ...]:
    if type(value) is not list or len(value) > MAKERS_TOLD_MAX:
        raise RemoteProtocolError("a tracker's makers are none, or too many")
    return tuple(_maker(one) for one in value)


def _maker(value: Any) -> tuple[bytes, str]:
    if type(value) is not list or len(value) != 2 or type(value[0]) is not bytes or len(value[0]) != 32:
        raise RemoteProtocolError("a tracker's maker is no key with an address")
    return value[0], read_address(value[1]) if value[1] else ""


def _hosts(value: Any) -> tuple[str, ...]:
    if type(value) is not list or len(value) > LAST_TOLD_MAX:
        raise RemoteProtocolError("those who come last are none, or too many")
    if not all(type(one) is str and _HOST.fullmatch(one) for one in value):
        raise RemoteProtocolError("one who comes last is no host")
    return tuple(value)


def _parents(value: Any) -> tuple[str | None, ...]:
    if type(value) is not list or len(value) > 3:
        raise RemoteProtocolError("a tracker's parents are none, or too many")
    return tuple(one if one is None or one == "" else read_address(one) for one in value)


def _addresses(value: Any, most: int) -> tuple[str, ...]:
    if type(value) is not list or len(value) > most:
        raise RemoteProtocolError("a list of addresses is none, or too long")
    return tuple(one if one == "" else read_address(one) for one in value)
