"""One question for a piece: what comes is checked while it comes, offered to others while it comes, and kept."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio

from p2pcdn.errors import RemoteProtocolError, Unavailable
from p2pcdn.swarm.filling.belief import Belief
from p2pcdn.swarm.filling.holders import SECOND_OPINION_S, Holders
from p2pcdn.swarm.filling.sources import Sources
from p2pcdn.swarm.neighbours.peer import Peer
from p2pcdn.swarm.pieces.arrival import Arrival
from p2pcdn.swarm.pieces.manifest import Cut, Manifest, Proof
from p2pcdn.swarm.pieces.sharing import Sharing
from p2pcdn.swarm.pieces.tools import Tools, hash_parts
from p2pcdn.swarm.wire import bitfield
from p2pcdn.swarm.wire.connection import Answer, Head
from p2pcdn.swarm.wire.messages import HOLDS, PARTS, PASSED_ON, PIECE_INDEX, AskPiece

# Who is none of our parents any more is not waited for when it has said nothing for this part of our patience: a living
# one answers within the 400 ms that it may let us wait. Behind us others hang at the same piece.
SILENT_PART = 1 / 3
# But one that reads the origin has its turn for three seconds, on a busy machine, too: whether it is over the tracker
# says, and not a child that was sent elsewhere. It is only left alone for so long.
READER_PAUSE_S = 2.0


class Taking:
    """One download's, used by its workers. right_at: when a part of a piece came last that is right."""

    def __init__(self, sharing: Sharing, sources: Sources, belief: Belief, holders: Holders, tools: Tools) -> None:
        self._sharing = sharing
        self._sources = sources
        self._belief = belief
        self._holders = holders
        self._tools = tools
        self.right_at = -math.inf
        self._running: dict[_Coming, None] = {}
        self._silent: set[Peer] = set()  # readers that were left, and have not answered since

    def coming(self, begun_after: float) -> int:
        """The pieces that are on their way to us since that time, or here and not kept yet; a bitfield."""
        return bitfield.union(one.piece for one in self._running if one.answered or one.begun_at > begun_after)

    def overdue(self, asked_before: float) -> int:
        """The pieces that a question from before that time may still bring, a bitfield."""
        late = (one for one in self._running if one.asked_at < asked_before and not one.answered)
        return bitfield.union(one.piece or one.want for one in late)

    async def take(self, peer: Peer, want: int, wait_ms: int) -> None:
        """Asks for one of these pieces, and keeps what comes. Raises StoreStopped, or what ended the partial."""
        sharing, exchange = self._sharing, self._tools.exchange
        assert sharing.cut is not None
        coming = _Coming(peer, want, wait_ms, sharing.cut, sharing.manifest)
        ask = AskPiece(sharing.id, bitfield.encode(want, coming.cut.pieces), wait_ms, coming.knew is not None)
        needs_manifest = False
        async with exchange.slot(peer.address):
            if peer not in self._sources or self._sources.is_quiet(peer) or not self._sources.is_reachable(peer):
                self._sources.drop(peer)
                return
            coming.asked_at = trio.current_time()  # the time in our own queue is not the peer's
            with self._sources.blamed(peer, passing_on=lambda: coming.passed_on), self._may_be_left(coming):
                asking = exchange.ask(
                    peer.address,
                    ask,
                    coming.cut.piece_size_bytes,
                    sealed_port=self._sources.port_of(peer),
                    watch=lambda head, body: self._watch(coming, head, body),
                )
                try:
                    async with asking as answer:
                        needs_manifest = answer.status == 428
                        await self._answered(coming, answer)
                finally:
                    self._ended(coming)
        if needs_manifest and sharing.manifest is None:
            await self._holders.ask(peer)
            self._sources.rests(peer, SECOND_OPINION_S)

    def leave_silent(self, parents: Collection[Peer]) -> None:
        """We have parents anew: who is none of them, and says nothing, is not waited for any more.

        Whose answer is here has said all: it is our own disk that we wait for then. Who was left for its silence, and
        was only asked again because it was a parent still, has had its time.
        """
        silent_since = trio.current_time() - self._sources.patience_s * SILENT_PART
        for coming in self._running:
            heard_at = self._tools.exchange.heard_at(coming.peer.address)
            if coming.peer not in self._silent:
                heard_at = max(heard_at, coming.asked_at)
            if not coming.answered and coming.peer not in parents and heard_at < silent_since:
                coming.scope.cancel()

    @contextmanager
    def _may_be_left(self, coming: _Coming) -> Iterator[None]:
        self._running[coming] = None
        try:
            with coming.scope:
                yield
        finally:
            del self._running[coming]
        if coming.scope.cancelled_caught and coming.peer in self._sources.readers:
            self._silent.add(coming.peer)
            self._sources.rests(coming.peer, READER_PAUSE_S)
        elif coming.scope.cancelled_caught:
            raise Unavailable("It says nothing, and the tracker sends us elsewhere.")

    # --- while it comes

    def _watch(self, coming: _Coming, head: Head, body: memoryview) -> int:
        """Raises RemoteProtocolError as soon as something is wrong. Gives how much more it wants to see at once.

        Where somebody takes pieces of this class from us, that is the next part; else all the rest.
        """
        if head.status != 200:
            return head.size_bytes
        if coming.begun_at == math.inf:
            coming.begun_at = trio.current_time()
            coming.passed_on = PASSED_ON in head.headers
            self._begin(coming, head)
        arrival = coming.arrival
        if arrival is None:
            return head.size_bytes
        if arrival.grew(body):
            self.right_at = trio.current_time()
        if not coming.offered and arrival.right and self._is_wanted(arrival.index, coming.cut):
            coming.offered = True
            coming.in_parts = self._sharing.arrives(arrival)
        return arrival.next_part_bytes(body) if coming.in_parts else head.size_bytes

    def _is_wanted(self, index: int, cut: Cut) -> bool:
        return not self._sharing.here >> index & 1 and self._sharing.cut == cut

    def _begin(self, coming: _Coming, head: Head) -> None:
        """Takes the word for the piece before the first byte of it is here, where its parts are named."""
        index = _index(head.headers.get(PIECE_INDEX, ""), coming.want, coming.cut)
        size_bytes = _size_bytes(coming.cut, index)
        if head.size_bytes != size_bytes and self._sharing.partial.size_bytes is not None:
            raise RemoteProtocolError(f"piece {index}: {head.size_bytes} bytes, and it has {size_bytes}")
        if head.size_bytes != size_bytes or PARTS not in head.headers:
            return
        try:
            parts = bytes.fromhex(head.headers[PARTS])
        except ValueError as error:
            raise RemoteProtocolError(f"piece {index}: the hashes of its parts are no hashes") from error
        proof = self._belief.takes_piece(coming.peer, coming.cut, index, coming.knew, head.headers, parts)
        if proof:
            word = proof if isinstance(proof, Proof) else None
            listed_in = None if word is not None else coming.knew
            coming.arrival = Arrival(self._sharing.sha256, coming.cut, index, parts, word, listed_in)

    # --- when it is here

    async def _answered(self, coming: _Coming, answer: Answer) -> None:
        coming.answered = True
        self._silent.discard(coming.peer)
        if answer.status == 200:
            await self._take_in(coming, answer, trio.current_time() - coming.asked_at)
        else:
            self._refused(coming, answer)

    def _refused(self, coming: _Coming, answer: Answer) -> None:
        """It gave no piece. Raises RemoteProtocolError where it says nonsense."""
        peer, sources = coming.peer, self._sources
        if answer.status == 503:
            sources.was_full(peer, answer.retry_after_s)
        elif answer.status == 409:
            holds = answer.headers.get(HOLDS)
            pieces = bitfield.decode(holds, coming.cut.pieces).bit_count() if holds else 0
            waited_ms = 1000 * (trio.current_time() - coming.asked_at)
            sources.had_nothing(peer, holds_some=pieces > 0, refused_to_wait=waited_ms < coming.wait_ms / 2)
        elif answer.status != 428 and peer in self._belief.vouchers:
            sources.drop(peer)  # it was evicted there, or the node was started anew
        elif answer.status != 428 or coming.knew is not None:
            sources.rests(peer)  # nor is one that asks for what it was told asked again at once, and for ever
        self._sharing.changed.unpark_all()

    async def _take_in(self, coming: _Coming, answer: Answer, took_s: float) -> None:
        """Keeps a piece that is right. Raises RemoteProtocolError where its giver must know better."""
        peer, cut, knew, arrival = coming.peer, coming.cut, coming.knew, coming.arrival
        index = _index(answer.headers.get(PIECE_INDEX, ""), coming.want, cut)
        proof: Proof | bool
        if len(answer.body) != _size_bytes(cut, index):
            self._sources.rests(peer)  # perhaps it is we who cut the file wrongly: only the crowd told us its size
            return
        if arrival is not None:
            parts, proof = arrival.parts, arrival.proof or True
        else:
            parts = await hash_parts(self._tools.threads, self._sharing.sha256, cut, index, answer.body)
            proof = self._belief.takes_piece(peer, cut, index, knew, answer.headers, parts)
        if not proof or (arrival is not None and arrival.proof is None and self._sharing.manifest is not knew):
            if knew is not None and knew is self._sharing.manifest:
                self._sources.drop(peer)
            else:
                self._sources.rests(peer)
            return
        if await self._keep(cut, index, answer.body):
            word = proof if isinstance(proof, Proof) else None
            self._sharing.note(index, word, parts, None if word is not None else knew)
            coming.kept = True
            self._sharing.partial.brought[f"peer {peer.address}"] += len(answer.body)
        self._sources.gave(peer, index, took_s)
        self._tools.counters.peer_bytes[str(peer.address)] += len(answer.body)
        self._tools.peers.gave(peer, len(answer.body), trio.current_time())

    async def _keep(self, cut: Cut, index: int, content: memoryview) -> bool:
        """Whether these are the bytes that are kept now: a piece may have come twice."""
        sharing = self._sharing
        if not sharing.here >> index & 1 and content and sharing.cut == cut:
            await sharing.forget_misled()
            vouched = self._tools.identity.group is not None
            await sharing.partial.write(cut.span(index)[0], content, provisional=True, vouched=vouched)
        if sharing.here >> index & 1 or sharing.cut != cut:
            self._tools.counters.duplicate_bytes += len(content)
            return False
        sharing.came_bytes += len(content)
        return True

    def _ended(self, coming: _Coming) -> None:
        arrival = coming.arrival
        if arrival is None:
            return
        if not coming.kept:
            self._sharing.changed.unpark_all()  # somebody may ask for it again
        if self._sharing.arriving.get(arrival.index) is arrival:
            del self._sharing.arriving[arrival.index]
        # Another answer may have brought the same piece in the meantime: then whoever gets it from us gets it all.
        sharing = self._sharing
        same = sharing.cut == coming.cut and sharing.parts.get(arrival.index) == arrival.parts
        arrival.end(kept=coming.kept or (same and bool(sharing.here >> arrival.index & 1)))


@dataclass(slots=True, eq=False)
class _Coming:
    """One question's answer. want: a bitfield. knew: the manifest that we said we know.

    passed_on: its giver does not have all of it yet, and may have to break off. arrival: once its parts are named and
    believed. offered: others may have it as it comes. in_parts: it is watched for each part. answered: all of it is
    here.
    """

    peer: Peer
    want: int
    wait_ms: int
    cut: Cut
    knew: Manifest | None
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    asked_at: float = field(default_factory=trio.current_time)
    begun_at: float = math.inf
    passed_on: bool = False
    arrival: Arrival | None = None
    offered: bool = False
    in_parts: bool = True
    answered: bool = False
    kept: bool = False

    @property
    def piece(self) -> int:
        """A bitfield: the piece that comes, and none before it is named."""
        return 0 if self.arrival is None else 1 << self.arrival.index


def _index(text: str, want: int, cut: Cut) -> int:
    index = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else -1
    if not 0 <= index < cut.pieces or not want >> index & 1:
        raise RemoteProtocolError("a piece came that was not asked for")
    return index


def _size_bytes(cut: Cut, index: int) -> int:
    start, end = cut.span(index)
    return end - start
