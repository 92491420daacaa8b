"""The meeting of two members on the peer port: who opens a connection proves who it is, and who answers does, too.

Only where a group key is set; in open mode nothing of this is on the wire. `GET /v1/meet/…` begins a session, and the
first request of every connection carries one of its tickets (p2pcdn/group/challenge.py says what both prove). Whoever
proves nothing is told nothing but that.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace

from p2pcdn.bounded import forget_oldest
from p2pcdn.errors import RemoteProtocolError, Unavailable
from p2pcdn.group.challenge import (
    NONCE_SIZE_BYTES,
    SESSION_ID_SIZE_BYTES,
    Knock,
    Pairs,
    Session,
    Ticket,
    Welcome,
    Window,
    enter,
    welcome,
)
from p2pcdn.group.identity import Identity
from p2pcdn.http1 import Handler, Refusal, Request, Response, Violation
from p2pcdn.swarm.neighbours.peer import Address
from p2pcdn.swarm.wire.messages import CBOR_TYPE

MEET_PATH = "/v1/meet/"
# The header of a connection's first request, and that of its answer.
TICKET = "ticket"
TICKET_PROOF = "ticket-proof"
# Other nodes that may come back without a meeting: four times the largest room. The least recently seen goes first.
SESSIONS_MAX = 4096
# A refusal or a welcome. What is longer comes from something else.
MEETING_SIZE_BYTES_MAX = 1024

UNPROVEN = Refusal("unproven", 403, "This node speaks to members of its group only.")

_MEMBER, _SEALED, _PENDING = "member", "sealed", "pending session"


def member_of(request: Request) -> bytes | None:
    """The device key that the asking node has proven; None in open mode."""
    return request.connection.get(_MEMBER)


def is_sealed(request: Request) -> bool:
    """Whether a member asks, and over TLS: private files may be spoken of."""
    return bool(request.connection.get(_SEALED))


class Meeting:
    """What a member needs to meet others, and to be met. Used on trio's thread."""

    def __init__(self, identity: Identity, dice: random.Random) -> None:
        """identity: with a group."""
        self._dice = dice
        self._pairs = Pairs(identity)
        self._guests: OrderedDict[tuple[Address, bool], _Guest] = OrderedDict()
        self.door = Door(self._pairs, dice, sealed=False)
        self.sealed_door = Door(self._pairs, dice, sealed=True)

    # --- as a client

    def has_met(self, address: Address, *, sealed: bool) -> bool:
        """Whether there is a session, and with the device that answers at the address now."""
        guest = self._guests.get((address, sealed))
        if guest is not None and sealed and self.device_of(address) != guest.session.device:
            del self._guests[address, sealed]
            return False
        return guest is not None

    def pass_for(self, address: Address, *, sealed: bool) -> Pass | None:
        """What the next connection to an address begins with; None where we have not met."""
        guest = self._guests.get((address, sealed))
        if guest is None:
            return None
        self._guests.move_to_end((address, sealed))
        guest.used += 1
        session = guest.session
        return Pass(session.device, session.ticket(guest.used), session.answer(guest.used), session.id)

    def knock(self, *, sealed: bool) -> Knock:
        """The first word to a node that we have not met."""
        return Knock.make(self._pairs, self._dice.randbytes(NONCE_SIZE_BYTES), sealed=sealed)

    def met(self, address: Address, knock: Knock, answer: bytes, *, sealed: bool, device: bytes | None = None) -> None:
        """Takes the answer to a knock. device: whose it must be; that of the certificate, where it is sealed.

        Raises RemoteProtocolError (it is none), Unavailable (it proves nothing).
        """
        session = enter(self._pairs, knock, Welcome.decode(answer), sealed=sealed)
        if session is None or device not in (None, session.device):
            raise Unavailable("It did not prove that it is a member of our group.")
        self._guests[address, sealed] = _Guest(session)
        forget_oldest(self._guests, SESSIONS_MAX)

    def forget(self, address: Address, session_id: bytes, *, sealed: bool) -> None:
        """The session is not taken any more: its other end began anew, or is another node."""
        guest = self._guests.get((address, sealed))
        if guest is not None and guest.session.id == session_id:
            del self._guests[address, sealed]

    def device_of(self, address: Address) -> bytes | None:
        """The device key that the node at an address has proven last."""
        guest = self._guests.get((address, False)) or self._guests.get((address, True))
        return None if guest is None else guest.session.device


@dataclass(frozen=True, slots=True)
class Pass:
    """For one connection. device: whose it is. proof: what its first answer must carry."""

    device: bytes
    ticket: str
    proof: str
    session_id: bytes


@dataclass(slots=True)
class _Guest:
    """A session in which we are the client. used: the last number."""

    session: Session
    used: int = 0


class Door:
    """The server's side, for the plain or the sealed listener. Used on trio's thread."""

    def __init__(self, pairs: Pairs, dice: random.Random, *, sealed: bool) -> None:
        self._pairs = pairs
        self._dice = dice
        self._sealed = sealed
        self._hosts: OrderedDict[bytes, _Host] = OrderedDict()  # by session id
        self._ids: dict[bytes, bytes] = {}  # of each device, the one that counts

    def guard(self, handler: Handler) -> Handler:
        """A face that answers members only, and proves to them that it is the node that they met."""

        def answer(request: Request) -> Response | Awaitable[Response]:
            if _MEMBER in request.connection:
                return handler(request)
            answered = self.answer(request)
            if answered is not None:
                return answered
            return _with_proof(handler(request), request.connection.pop(TICKET_PROOF))

        return answer

    def member(self, request: Request) -> bytes | None:
        return member_of(request)

    def answer(self, request: Request) -> Response | None:
        """The answer to a knock; None where the request may go on: its ticket was right. Raises Violation."""
        if request.path.startswith(MEET_PATH):
            return self._welcome(request)
        try:
            ticket = Ticket.decode(request.headers.get(TICKET, ""))
        except RemoteProtocolError as error:
            raise Violation(UNPROVEN) from error
        pending: _Host | None = request.connection.get(_PENDING)
        if pending is None or pending.session.id != ticket.session_id:
            pending = None
        host = pending or self._hosts.get(ticket.session_id)
        # The proof first: a stranger's number must not make the window forget.
        if host is None or not host.session.fits(ticket) or not host.window.take(ticket.number):
            raise Violation(UNPROVEN)
        if pending is not None:
            self._keep(pending)
        else:
            self._hosts.move_to_end(ticket.session_id)
        request.connection.pop(_PENDING, None)
        request.connection[_MEMBER] = host.session.device
        request.connection[_SEALED] = self._sealed
        request.connection[TICKET_PROOF] = host.session.answer(ticket.number)
        return None

    # --- below

    def _welcome(self, request: Request) -> Response:
        try:
            knock = Knock.decode(request.path.removeprefix(MEET_PATH))
        except RemoteProtocolError as error:
            raise Violation(UNPROVEN) from error
        nonce, session_id = self._dice.randbytes(NONCE_SIZE_BYTES), self._dice.randbytes(SESSION_ID_SIZE_BYTES)
        answer = welcome(self._pairs, knock, nonce, session_id, sealed=self._sealed)
        if answer is None or _PENDING in request.connection:
            raise Violation(UNPROVEN)
        # It is gone with its connection: a knock that was recorded and is played again pushes nobody out.
        request.connection[_PENDING] = _Host(answer[1])
        return Response(200, (("content-type", CBOR_TYPE),), answer[0].encode())

    def _keep(self, host: _Host) -> None:
        """One session a device: who begins anew ends what it had."""
        session = host.session
        self._hosts.pop(self._ids.get(session.device, b""), None)
        self._hosts[session.id] = host
        self._ids[session.device] = session.id
        if len(self._hosts) > SESSIONS_MAX:
            _, oldest = self._hosts.popitem(last=False)
            del self._ids[oldest.session.device]


@dataclass(slots=True)
class _Host:
    """A session in which we are the server."""

    session: Session
    window: Window = field(default_factory=Window)


def _with_proof(response: Response | Awaitable[Response], proof: str) -> Response | Awaitable[Response]:
    if isinstance(response, Response):
        return replace(response, head_lines=response.head_lines + f"{TICKET_PROOF}: {proof}\r\n".encode())
    return _with_proof_later(response, proof)


async def _with_proof_later(coming: Awaitable[Response], proof: str) -> Response:
    response = _with_proof(await coming, proof)
    assert isinstance(response, Response)
    return response
