"""How two members prove to each other that they are: the group key and their device keys, never a password. Pure.

What two members share is a key of the pair: their devices' Diffie-Hellman secret (X25519) mixed with the group's key.
Only the holder of one of the two device keys who holds the group key, too, can compute it. Both add a nonce, so each
session has a key of its own, and everything proven afterwards is one keyed hash:

    client -> server   Knock     device, nonce, a hash under the group key: outsiders are sent away for one hash's price
    server -> client   Welcome   device, nonce, session id, proof: the server holds the session's key
    client -> server   ticket    session id, number, proof: the client holds it, too; each number is good once
    server -> client   proof     of the same number: the server of this connection is that of the session

A connection that comes later begins with a ticket at once: no round trip, no signature. The transcript, from which the
session's key comes, holds both devices by role, both nonces, the session id, and whether the connection is sealed: so
that nothing said in plain text is of use in TLS. Over TLS the server's device key is its certificate's as well.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any

from blake3 import blake3

from p2pcdn import frames
from p2pcdn.bounded import forget_oldest
from p2pcdn.errors import RemoteProtocolError
from p2pcdn.group.device import PUBLIC_SIZE_BYTES
from p2pcdn.group.identity import Identity

NONCE_SIZE_BYTES = 16
PROOF_SIZE_BYTES = 16
SESSION_ID_SIZE_BYTES = 8
# Four short fields.
WELCOME_SIZE_BYTES_MAX = 256
# Devices whose pair key is remembered: four times the largest room. Each costs 50 us to compute.
PAIRS_MAX = 4096
# Tickets that overtake each other: connections opened at once, and what a busy server leaves in its queue.
WINDOW = 1024

_KNOCK = re.compile(r"[0-9a-f]{128}", re.ASCII)
_TICKET = re.compile(r"([0-9a-f]{16})\.([0-9a-f]{16})\.([0-9a-f]{32})", re.ASCII)


class Pairs:
    """A node's keys with other devices, remembered. Not for several threads."""

    def __init__(self, identity: Identity) -> None:
        assert identity.group is not None
        self.identity = identity
        self.group = identity.group
        self._keys: OrderedDict[bytes, bytes] = OrderedDict()

    def key(self, device: bytes) -> bytes | None:
        """What we share with a device of the group; None where the bytes are no device's key."""
        key = self._keys.get(device)
        if key is not None:
            self._keys.move_to_end(device)
            return key
        try:
            shared = self.identity.device.shared_secret(device)
        except ValueError:
            return None
        key = bytes(blake3(shared + self.group.pair_key, derive_key_context="p2pcdn 2026 pair v1").digest())
        self._keys[device] = key
        forget_oldest(self._keys, PAIRS_MAX)
        return key


@dataclass(frozen=True, slots=True)
class Knock:
    """The client's first word. mark: a hash under the group key; it can be replayed, and then leads nowhere."""

    device: bytes
    nonce: bytes
    mark: bytes

    @classmethod
    def make(cls, pairs: Pairs, nonce: bytes, *, sealed: bool) -> Knock:
        device = pairs.identity.device.public
        return cls(device, nonce, pairs.group.knock(device + nonce + bytes([sealed])))

    def is_right(self, pairs: Pairs, *, sealed: bool) -> bool:
        return compare_digest(self.mark, pairs.group.knock(self.device + self.nonce + bytes([sealed])))

    def encode(self) -> str:
        return (self.device + self.nonce + self.mark).hex()

    @classmethod
    def decode(cls, text: str) -> Knock:
        """Raises RemoteProtocolError."""
        if not _KNOCK.fullmatch(text):
            raise RemoteProtocolError("the first word of a meeting is none")
        content = bytes.fromhex(text)
        return cls(content[:32], content[32:48], content[48:])


@dataclass(frozen=True, slots=True)
class Welcome:
    """The server's answer to a knock."""

    device: bytes
    nonce: bytes
    session_id: bytes
    proof: bytes

    def encode(self) -> bytes:
        return frames.encode(
            {"device": self.device, "nonce": self.nonce, "proof": self.proof, "session": self.session_id}
        )

    @classmethod
    def decode(cls, content: bytes) -> Welcome:
        """Raises RemoteProtocolError."""
        fields: Any = frames.decode(content) if len(content) <= WELCOME_SIZE_BYTES_MAX else None
        if type(fields) is not dict or fields.keys() != _WELCOME_SIZES.keys():
            raise RemoteProtocolError("the answer to a meeting is none")
        if not all(type(fields[name]) is bytes and len(fields[name]) == size for name, size in _WELCOME_SIZES.items()):
            raise RemoteProtocolError("a part of the answer to a meeting has a wrong length")
        return cls(fields["device"], fields["nonce"], fields["session"], fields["proof"])


_WELCOME_SIZES = {
    "device": PUBLIC_SIZE_BYTES,
    "nonce": NONCE_SIZE_BYTES,
    "proof": PROOF_SIZE_BYTES,
    "session": SESSION_ID_SIZE_BYTES,
}


@dataclass(frozen=True, slots=True)
class Session:
    """What two members that have met share. device: the other one."""

    id: bytes
    key: bytes
    device: bytes

    def ticket(self, number: int) -> str:
        """What the client says at the beginning of a connection; each number is good for one."""
        return f"{self.id.hex()}.{number:016x}.{self._mac(b'ticket', number).hex()}"

    def fits(self, ticket: Ticket) -> bool:
        """Whether the other one made this ticket; whether it was used before, the `Window` says."""
        return compare_digest(ticket.proof, self._mac(b"ticket", ticket.number))

    def answer(self, number: int) -> str:
        """What the server adds to its first answer: it took this ticket, and is who it was."""
        return self._mac(b"answer", number).hex()

    def welcome(self) -> bytes:
        return self._mac(b"welcome", 0)

    def _mac(self, purpose: bytes, number: int) -> bytes:
        return bytes(blake3(purpose + number.to_bytes(8, "big"), key=self.key).digest(PROOF_SIZE_BYTES))


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket as it came."""

    session_id: bytes
    number: int
    proof: bytes

    @classmethod
    def decode(cls, text: str) -> Ticket:
        """Raises RemoteProtocolError."""
        match = _TICKET.fullmatch(text)
        if match is None:
            raise RemoteProtocolError("a ticket is none")
        return cls(bytes.fromhex(match[1]), int(match[2], 16), bytes.fromhex(match[3]))


@dataclass(slots=True)
class Window:
    """Which numbers of a session were used: exact for the last 1,024, and everything before them counts as used."""

    next: int = 0
    used: int = field(default=0, repr=False)  # bit i: the number next - 1 - i

    def take(self, number: int) -> bool:
        """Whether the number is used for the first time."""
        ahead = number - self.next + 1
        if ahead > 0:
            # A number far ahead leaves nothing of the window; shifting by it would cost memory.
            self.used = ((self.used << ahead) & ((1 << WINDOW) - 1)) | 1 if ahead < WINDOW else 1
            self.next = number + 1
            return True
        behind = -ahead
        if behind >= WINDOW or self.used >> behind & 1:
            return False
        self.used |= 1 << behind
        return True


def welcome(
    pairs: Pairs, knock: Knock, nonce: bytes, session_id: bytes, *, sealed: bool
) -> tuple[Welcome, Session] | None:
    """The server's step: its answer, and the session that begins with the client's first ticket.

    None where the knock is no member's. The session proves nothing of the client before it has brought a ticket.
    """
    key = pairs.key(knock.device) if knock.is_right(pairs, sealed=sealed) else None
    if key is None:
        return None
    ours = pairs.identity.device.public
    session = _session(key, knock.device, ours, knock.nonce, nonce, session_id, sealed=sealed, other=knock.device)
    return Welcome(ours, nonce, session_id, session.welcome()), session


def enter(pairs: Pairs, knock: Knock, welcome: Welcome, *, sealed: bool) -> Session | None:
    """The client's step: the session, or None where the server has not proven that it is a member with this device."""
    key = pairs.key(welcome.device)
    if key is None:
        return None
    session = _session(
        key,
        knock.device,
        welcome.device,
        knock.nonce,
        welcome.nonce,
        welcome.session_id,
        sealed=sealed,
        other=welcome.device,
    )
    return session if compare_digest(session.welcome(), welcome.proof) else None


def _session(
    key: bytes,
    client: bytes,
    server: bytes,
    client_nonce: bytes,
    server_nonce: bytes,
    session_id: bytes,
    *,
    sealed: bool,
    other: bytes,
) -> Session:
    transcript = b"".join((client, server, client_nonce, server_nonce, session_id, bytes([sealed])))
    return Session(session_id, bytes(blake3(transcript, key=key).digest()), other)
