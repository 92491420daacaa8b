"""What members found that a question comes to: asked of neighbours, and given to them. docs/protocol.md, "Resolutions".

Nothing here is believed: whoever asks checks what came against his own pages. In a group a word counts only if a member
signed it, so that he who lies is known; in open mode there is no signature, and the check is all there is.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import trio
from blake3 import blake3

from p2pcdn import frames
from p2pcdn.errors import RemoteProtocolError, Unavailable
from p2pcdn.group import Claim, Identity
from p2pcdn.http1 import Request, Response
from p2pcdn.swarm.neighbours.peer import Peer
from p2pcdn.swarm.pieces.tools import Tools, leave_alone, sealed_port
from p2pcdn.swarm.wire.messages import CBOR_TYPE
from p2pcdn.world import Clock

log = logging.getLogger(__name__)

T = TypeVar("T")

KIND = "resolution"
# Five hundred packages for forty targets have some 150 KB.
CONTENT_SIZE_BYTES_MAX = 256 * 1024
# The claim that stands before it, and both their names.
ANSWER_SIZE_BYTES_MAX = CONTENT_SIZE_BYTES_MAX + 1024
# All who live are asked, so many at once; the first whose word is right ends it.
ASKED_AT_ONCE = 16
# Solving takes 0.05 to 0.5 s: who waited longer for the room would have been quicker alone.
ROOM_WAIT_S = 0.3
# So many different words are looked at before we solve ourselves: each costs a look at the pages that it names.
READ_MAX = 3

_PATH = re.compile(r"/v1/resolution/([0-9a-f]{64})", re.ASCII)
_NOT_HELD = Response(404)
_CBOR = (("content-type", CBOR_TYPE),)


@dataclass(frozen=True, slots=True)
class AskResolution:
    """What did this question come to? id: see `Resolutions.id_of`."""

    id: str

    def target(self) -> str:
        return f"/v1/resolution/{self.id}"


class Source(Protocol):
    """What this node found."""

    async def resolution(self, id_: str, *, sealed: bool) -> tuple[bytes, bytes] | None:
        """(subject, content) of the word that members get; None where there is none to give.

        sealed: whether only the member that asks can read it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a word is not taken. is_lie: no honest member could have given it; else it may only know other pages."""

    why: str
    is_lie: bool


# What somebody makes of a content that came.
Read = Callable[[bytes], Awaitable[T | Refusal]]


class Resolutions:
    """Both sides of the exchange. Used on trio's thread. source: set by the room that resolves; without it: nothing."""

    def __init__(self, tools: Tools, whom: Callable[[], Sequence[Peer]], identity: Identity, clock: Clock) -> None:
        """whom: all neighbours that may be asked now; in a group they are members."""
        self._tools = tools
        self._whom = whom
        self._identity = identity
        self._clock = clock
        self.source: Source | None = None

    def can_share(self, *, sealed: bool) -> bool:
        """Whether there is a way to members; only a group has one that nobody else can read."""
        return self._identity.group is not None or not sealed

    def id_of(self, subject: bytes) -> str:
        """The name of a question on the wire: outsiders can neither list nor test what a node was asked."""
        return str(blake3(subject, key=self._identity.lookup_key).hexdigest())

    # --- asking

    async def first(self, subject: bytes, *, sealed: bool, read: Read[T]) -> T | None:
        """What `read` makes of the first word that it takes; None where nobody in the room has one in time."""
        peers = self._whom()
        if not peers or not self.can_share(sealed=sealed):
            return None
        send, receive = trio.open_memory_channel[tuple[Peer, bytes]](0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ask_all, peers, subject, sealed, send)
            found = await self._read_first(receive, read)
            nursery.cancel_scope.cancel()
        return found

    async def _read_first(self, words: trio.MemoryReceiveChannel[tuple[Peer, bytes]], read: Read[T]) -> T | None:
        refused: dict[bytes, Refusal] = {}
        while len(refused) < READ_MAX:
            with trio.move_on_after(ROOM_WAIT_S) as waiting:
                try:
                    peer, content = await words.receive()
                except trio.EndOfChannel:
                    return None
            if waiting.cancelled_caught:
                return None
            found = refused.get(content) or await read(content)
            if not isinstance(found, Refusal):
                self._tools.peers.gave(peer, len(content), trio.current_time())
                log.info("a resolution of %s was confirmed", peer.address, extra={"peer": str(peer.address)})
                return found
            refused[content] = found
            (self._struck if found.is_lie else self._note)(peer, found.why)
        return None

    async def _ask_all(
        self, peers: Sequence[Peer], subject: bytes, sealed: bool, send: trio.MemorySendChannel[tuple[Peer, bytes]]
    ) -> None:
        at_once = trio.CapacityLimiter(ASKED_AT_ONCE)
        id_ = self.id_of(subject)

        async def ask(peer: Peer) -> None:
            async with at_once:  # until its word is looked at: so many words are the most that wait in memory
                async with self._tools.exchange.question(peer.address):
                    content = await self._word(peer, id_, subject, sealed)
                if content is not None:
                    await send.send((peer, content))

        async with send, trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(ask, peer)

    async def _word(self, peer: Peer, id_: str, subject: bytes, sealed: bool) -> bytes | None:
        port = sealed_port(peer) if sealed else 0
        if sealed and not port:
            return None  # it has no door at which private things could be asked for
        try:
            asking = self._tools.exchange.ask(peer.address, AskResolution(id_), ANSWER_SIZE_BYTES_MAX, sealed_port=port)
            async with asking as answer:
                self._tools.peers.is_there(peer, trio.current_time())
                return self._content(bytes(answer.body), subject) if answer.status == 200 else None
        except Unavailable as error:
            leave_alone(self._tools, peer, error)
        except RemoteProtocolError as error:
            self._struck(peer, str(error))
        return None

    def _content(self, body: bytes, subject: bytes) -> bytes:
        """Raises RemoteProtocolError where no member said this of the question."""
        fields = frames.decode(body)
        if not isinstance(fields, dict) or fields.keys() != {"claim", "content"}:
            raise RemoteProtocolError("its fields are not those of a resolution")
        content = fields["content"]
        if not isinstance(content, bytes):
            raise RemoteProtocolError("its content is none")
        if self._identity.group is not None:
            claim = Claim.of_map(fields["claim"])
            wrong = claim.check(self._identity, content, self._clock.now())
            if claim.kind != KIND or claim.subject != subject:
                wrong = "it is about another question"
            if wrong is not None:
                raise RemoteProtocolError(f"it gave a claim that is none: {wrong}")
        return content

    def _struck(self, peer: Peer, why: str) -> None:
        """It gave what no honest member gives: a strike, and the audit line: who, what, why."""
        self._tools.peers.lied(peer, f"a resolution: {why}", trio.current_time())
        self._tools.counters.refused_pieces[str(peer.address)] += 1
        self._note(peer, why)

    def _note(self, peer: Peer, why: str) -> None:
        extra = {"peer": str(peer.address), "why": why, "strikes": peer.strikes}
        log.warning("refused from %s: a resolution: %s", peer.address, why, extra=extra)

    # --- answering

    def answer(self, request: Request, *, sealed: bool) -> Awaitable[Response] | None:
        """The answer to a neighbour's question; None where it asks for something else. In a group: to members only.

        sealed: whether only that member can read the answer.
        """
        match = _PATH.fullmatch(request.path)
        return self._given(match[1], sealed) if match and self.source is not None else None

    async def _given(self, id_: str, sealed: bool) -> Response:
        assert self.source is not None
        found = await self.source.resolution(id_, sealed=sealed)
        return _NOT_HELD if found is None else Response(200, _CBOR, self._signed(*found))

    def _signed(self, subject: bytes, content: bytes) -> bytes:
        """Our word, as it travels: the content, and in a group the claim that it is ours."""
        claim = None
        if self._identity.group is not None:
            claim = Claim.make(self._identity, KIND, subject, content, self._clock.now()).to_map()
        return frames.encode({"claim": claim, "content": content})
