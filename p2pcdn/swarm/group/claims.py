"""Pages on the word of the group: what a member signed of a page, asked of neighbours, and given to them.

Two steps, so that a room does not send a page thirty times: the claims first, which are small, from everybody; then the
page that the newest of them speaks of, from one who has it. docs/protocol.md, "Claims".
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import trio
from blake3 import blake3

from p2pcdn.errors import RemoteProtocolError, Unavailable
from p2pcdn.group import Claim, Identity
from p2pcdn.http1 import Request, Response
from p2pcdn.swarm.group.given_pages import PAGE_SIZE, AskClaim, AskPage, Source, Word, answer_about_page
from p2pcdn.swarm.neighbours.peer import Address, Peer
from p2pcdn.swarm.neighbours.silence import heard_again
from p2pcdn.swarm.pieces.tools import Tools, leave_alone, sealed_port
from p2pcdn.world import Clock

log = logging.getLogger(__name__)

T = TypeVar("T")

KIND = "page"
# A claim has some 250 bytes.
CLAIM_SIZE_BYTES_MAX = 1024
# PyPI's largest pages have some 30 MiB; packed, a fifth of that at most. Twice that is no page.
PAGE_SIZE_BYTES_MAX = 12 * 1024 * 1024
# All who live are asked, so many at once: a dozen that were just switched off must not hold up the others.
ASKED_AT_ONCE = 64
# Whoever has not answered by then holds nobody up: an installer waits behind it.
CLAIMS_WAIT_S = 3.0
# After the first good claim, how long a newer one is waited for.
NEWER_WAIT_S = 0.25
# The page itself, through a room in which thirty ask for it at once. pip gives up after 15 s of silence.
PAGE_WAIT_S = 9.0
# So many claims are followed to their page, the newest first; the others would not be better.
FOLLOWED_MAX = 4
# Clocks of a room differ by seconds. What was made later than that is no time by which pages could be compared.
AHEAD_S_MAX = 600.0

_SIZE = re.compile(r"[1-9][0-9]{0,7}", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Offer:
    claim: Claim
    word: Word
    peer: Peer


@dataclass(slots=True)
class _Offers:
    """What came so far. sent: when those were asked who still owe an answer."""

    sent: dict[Peer, float] = field(default_factory=dict)
    good: list[_Offer] = field(default_factory=list)


class Claims:
    """Both sides of the exchange of claims. Used on trio's thread.

    source: set by the room of pages; without it nothing is given.
    """

    def __init__(self, tools: Tools, whom: Callable[[], Sequence[Peer]], identity: Identity, clock: Clock) -> None:
        """whom: all neighbours that may be asked now; in a group they are members, by the meeting of the connection."""
        self._tools = tools
        self._whom = whom
        self.identity = identity
        self._clock = clock
        self.source: Source | None = None
        self._ahead: set[Address] = set()  # whose clock differs; no more than the table of peers has

    @property
    def believes(self) -> bool:
        """Whether there is a group whose word counts. In open mode nobody's does."""
        return self.identity.group is not None

    def can_ask(self) -> bool:
        """Whether there is anybody whose word could be had now."""
        return self.believes and bool(self._whom())

    def somebody_is_silent(self) -> bool:
        """Whether a member that answered lately does not answer now: it may have what others have not."""
        return self.believes and bool(self._tools.peers.silent(trio.current_time()))

    async def heard_again(self, until: float) -> bool:
        """Waits for such a member; False where there is none, or none answers by then (trio's time)."""
        return self.believes and await heard_again(self._tools.peers, until)

    async def count(self) -> int:
        """How many pages members can have of us."""
        return await self.source.count() if self.source is not None else 0

    def id_of(self, subject: bytes) -> str:
        """The name of a page on the wire: outsiders can neither list nor test which projects a node knows."""
        return str(blake3(subject, key=self.identity.lookup_key).hexdigest())

    # --- asking

    async def newest(
        self,
        subject: bytes,
        *,
        newer_than: float,
        sealed: bool,
        read: Callable[[Claim, bytes, bytes], Awaitable[T]],
    ) -> T | None:
        """What `read` makes of the newest page that members speak of; None where nobody has a newer one in time.

        newer_than: seconds since 1970, -inf for any. sealed: the question itself must stay among members.
        read(claim, encoded claim, content): raises RemoteProtocolError for a content that is no page; then the next
        newest is tried.
        """
        peers = self._whom()
        if not self.believes or not peers:
            return None
        id_ = self.id_of(subject)
        offers = await self._offers(peers, id_, subject, newer_than, sealed)
        with trio.move_on_after(PAGE_WAIT_S):
            for offer in _to_follow(offers):
                holders = [other for other in offers if other.claim.body_hash == offer.claim.body_hash]
                content = await self._content(holders, id_, offer.claim, sealed)
                if content is None:
                    continue
                try:
                    return await read(offer.claim, offer.word.encoded, content)
                except RemoteProtocolError as error:
                    # Its maker may have another version of us: no strike, but its word is not taken either.
                    self._note(offer.peer, f"its page was not taken: {error}")
        return None

    async def _offers(
        self, peers: Sequence[Peer], id_: str, subject: bytes, newer_than: float, sealed: bool
    ) -> list[_Offer]:
        offers = _Offers()
        at_once = trio.CapacityLimiter(ASKED_AT_ONCE)
        patience_s = min(CLAIMS_WAIT_S, self._tools.exchange.patience.no_progress_s)

        async def ask(peer: Peer) -> None:
            async with at_once, self._tools.exchange.question(peer.address):
                offers.sent[peer] = trio.current_time()
                offer = await self._offer(peer, id_, subject, newer_than, sealed)
                del offers.sent[peer]
            if offer is not None:
                offers.good.append(offer)
                patience.deadline = min(patience.deadline, trio.current_time() + NEWER_WAIT_S)

        with trio.move_on_after(patience_s) as patience:
            async with trio.open_nursery() as nursery:
                for peer in peers:
                    nursery.start_soon(ask, peer)
        for peer, sent_at in offers.sent.items():
            # Not for the time in which the question waited here for its turn, nor for a moment's silence.
            if trio.current_time() - sent_at > patience_s / 2:
                self._tools.peers.failed(peer, "no answer in time", trio.current_time(), silent=True)
        return offers.good

    async def _offer(self, peer: Peer, id_: str, subject: bytes, newer_than: float, sealed: bool) -> _Offer | None:
        word = await self._word(peer, id_, sealed)
        if word is None:
            return None
        now = self._clock.now()
        try:
            claim = Claim.decode(word.encoded)
        except RemoteProtocolError as error:
            self._struck(peer, str(error))
            return None
        wrong = claim.check(self.identity, None, now)
        if claim.kind != KIND or claim.subject != subject:
            wrong = "it is about another page"
        if claim.made_at > now + AHEAD_S_MAX:
            if peer.address not in self._ahead:  # said once: it is so for every page
                self._ahead.add(peer.address)
                ahead_s = claim.made_at - now
                self._note(peer, f"it was signed {ahead_s:.0f} s in the future: a clock, ours or theirs, is wrong")
            return None
        if wrong is not None:
            self._struck(peer, f"it gave a claim that is none: {wrong}")
            return None
        return _Offer(claim, word, peer) if claim.made_at > newer_than else None

    async def _word(self, peer: Peer, id_: str, sealed: bool) -> Word | None:
        answer = await self._ask(peer, AskClaim(id_), CLAIM_SIZE_BYTES_MAX, sealed)
        if answer is None:
            return None
        encoded, size = answer
        if not _SIZE.fullmatch(size) or int(size) > PAGE_SIZE_BYTES_MAX:
            self._struck(peer, "it gave a claim that does not say how large its page is")
            return None
        return Word(encoded, int(size))

    async def _content(self, holders: Sequence[_Offer], id_: str, claim: Claim, sealed: bool) -> bytes | None:
        """Of whoever answered first: it has the least to do."""
        question = AskPage(id_, claim.body_hash.hex())
        for offer in holders:
            async with self._tools.exchange.slot(offer.peer.address):
                answer = await self._ask(offer.peer, question, offer.word.size_bytes, sealed)
            if answer is None:
                continue
            content, _ = answer
            wrong = claim.check(self.identity, content, self._clock.now())
            if wrong is None:
                self._tools.peers.gave(offer.peer, len(content), trio.current_time())
                return content
            self._struck(offer.peer, f"it gave a page that is not the one it was asked for: {wrong}")
        return None

    async def _ask(
        self, peer: Peer, question: AskClaim | AskPage, size_bytes_max: int, sealed: bool
    ) -> tuple[bytes, str] | None:
        """The body of its answer, and what that says of the page's size.

        None where it has none to give, or failed, which is noted here.
        """
        port = sealed_port(peer) if sealed else 0
        if sealed and not port:
            return None  # it has no door at which private things could be asked for
        try:
            asking = self._tools.exchange.ask(peer.address, question, size_bytes_max, sealed_port=port)
            async with asking as answer:
                self._tools.peers.is_there(peer, trio.current_time())
                return (bytes(answer.body), answer.headers.get(PAGE_SIZE, "")) if answer.status == 200 else None
        except Unavailable as error:
            leave_alone(self._tools, peer, error)
        except RemoteProtocolError as error:
            self._struck(peer, f"pages: {error}")
        return None

    def _struck(self, peer: Peer, why: str) -> None:
        """It gave what no honest member gives, nor passes on: a strike, and the audit line: who, what, why."""
        self._tools.peers.lied(peer, why, trio.current_time())
        self._tools.counters.refused_pieces[str(peer.address)] += 1
        self._note(peer, why)

    def _note(self, peer: Peer, why: str) -> None:
        extra = {"peer": str(peer.address), "why": why, "strikes": peer.strikes}
        log.warning("refused from %s: a page: %s", peer.address, why, extra=extra)

    # --- answering

    def answer(self, request: Request, *, sealed: bool) -> Awaitable[Response] | None:
        """The answer to a member's question about pages; None where it asks for something else.

        sealed: whether only that member can read the answer. To be called for members only; in open mode there are
        none, and whatever is asked is nothing of ours.
        """
        if self.source is None or not self.believes:
            return None
        return answer_about_page(self.source, request, sealed=sealed)


def _to_follow(offers: Sequence[_Offer]) -> list[_Offer]:
    """One offer for each content, with the latest claim about it; the newest first."""
    oldest_first = sorted(offers, key=lambda offer: offer.claim.made_at)
    latest = {offer.claim.body_hash: offer for offer in oldest_first}
    return sorted(latest.values(), key=lambda offer: -offer.claim.made_at)[:FOLLOWED_MAX]
