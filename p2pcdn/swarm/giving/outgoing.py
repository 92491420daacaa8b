"""The pieces that go out: which one a neighbour gets, of a blob or of a file that still arrives, now or after a wait.

They leave by sendfile; a full node says so at once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable

import trio

from p2pcdn.bounded import forget_oldest
from p2pcdn.digest import Sha256
from p2pcdn.errors import NotFound, RemoteProtocolError, Unavailable
from p2pcdn.http1 import FileSlice, Request, Response
from p2pcdn.store import Blob
from p2pcdn.swarm.advising.member import network_of
from p2pcdn.swarm.giving.givable import Givable
from p2pcdn.swarm.giving.manifests import Manifests
from p2pcdn.swarm.giving.open_files import OpenFile, OpenFiles
from p2pcdn.swarm.giving.slots import Slots
from p2pcdn.swarm.neighbours.meeting import is_sealed
from p2pcdn.swarm.neighbours.peer import bare_host
from p2pcdn.swarm.pieces.manifest import Cut
from p2pcdn.swarm.pieces.rarity import Rarity
from p2pcdn.swarm.pieces.sharing import Sharing
from p2pcdn.swarm.pieces.tools import Tools
from p2pcdn.swarm.pieces.waiting import Waiter
from p2pcdn.swarm.wire import bitfield
from p2pcdn.swarm.wire.messages import (
    HOLDS,
    MANIFEST_NAME,
    PARTS,
    PASSED_ON,
    PIECE_INDEX,
    PIECE_TYPE,
    PROOF,
    AskPiece,
)

# Askers that wait for a piece of one file: its three children, and some whom the tracker will soon tell otherwise.
WAITING_PER_FILE = 9
# Of them from one host: it could else keep a node's children from waiting at all.
WAITING_PER_HOST = 6
# Files in transit, and those that came lately, whose proofs are still asked for.
SHARINGS_MAX = 64

_NOT_HELD = Response(404)
_PIECE = (("content-type", PIECE_TYPE),)
_NOTHING_YET = Response(409)
_ASK_FOR_MANIFEST = Response(428)

Headers = tuple[tuple[str, str], ...]


class Outgoing:
    """Answers who asks for a piece. Used on trio's thread."""

    def __init__(self, givable: Givable, slots: Slots, files: OpenFiles, manifests: Manifests, tools: Tools) -> None:
        self._givable = givable
        self._slots = slots
        self._files = files
        self._manifests = manifests
        self._tools = tools
        self._sharings: OrderedDict[str, Sharing] = OrderedDict()
        self._rarities: OrderedDict[Sha256, Rarity] = OrderedDict()

    def share(self, sharing: Sharing) -> None:
        """From now on its pieces are given away as they come."""
        self._sharings[sharing.id] = sharing
        self._sharings.move_to_end(sharing.id)
        forget_oldest(self._sharings, SHARINGS_MAX)

    def unshare(self, sharing: Sharing) -> None:
        """Its bytes were wrong, or its download ended without them."""
        if self._sharings.get(sharing.id) is sharing:
            del self._sharings[sharing.id]
        sharing.ends()

    def sharing(self, id_: str) -> Sharing | None:
        """The file of that id that arrives, or came lately."""
        return self._sharings.get(id_)

    async def call_when_paid_off(self) -> None:
        """An upload limit holds back everybody who waits, and no slot that comes free calls them afterwards."""
        while True:
            await trio.sleep(await self._slots.overspent())
            self._slot_came_free()

    def answer(self, ask: AskPiece, request: Request) -> Response | Awaitable[Response]:
        """One piece, or why there is none now."""
        sharing = self._sharings.get(ask.id)
        if sharing is not None and self._comes_last(sharing, bare_host(request.peer)):
            return self._slots.come_last()
        blob = self._givable.blob(ask.id, sealed=is_sealed(request))
        if blob is not None:
            return self._piece_of_blob(ask, blob, sharing, request)
        if sharing is None or not self._givable.is_growing(sharing, sealed=is_sealed(request)):
            return _NOT_HELD
        return self._piece_of_growing(ask, sharing, request)

    # --- below

    def _comes_last(self, sharing: Sharing, host: str) -> bool:
        """Whether others are to be served before this one, who gives them nothing that is right."""
        last = sharing.last
        if not last.hosts:
            return False
        served = map(network_of, (*self._slots.hosts(sharing.sha256), *sharing.waiters.hosts()))
        busy = any(one not in last.hosts for one in served)
        return last.puts_off(network_of(host), trio.current_time(), busy=busy)

    def _lets_in(self, sharing: Sharing, host: str) -> None:
        if sharing.last.hosts:
            sharing.last.lets_in(network_of(host), trio.current_time())

    def _piece_of_growing(self, ask: AskPiece, sharing: Sharing, request: Request) -> Response | Awaitable[Response]:
        host = bare_host(request.peer)
        may_wait = (
            ask.wait_ms > 0
            and len(sharing.waiters) < WAITING_PER_FILE
            and sharing.waiters.of_host(host) < WAITING_PER_HOST
        )
        if sharing.cut is None:
            return self._wait_for_piece(ask, sharing, request) if may_wait else _NOTHING_YET
        try:
            want = bitfield.decode(ask.want, sharing.cut.pieces)
        except RemoteProtocolError:
            return _NOT_HELD
        if ask.wait_ms:
            sharing.is_asked_for(want)
        able = sharing.able(want, knows=ask.knows, waits=ask.wait_ms > 0)
        if not able:
            if want & sharing.provable:
                return _ASK_FOR_MANIFEST
            return self._wait_for_piece(ask, sharing, request) if may_wait else _holds(sharing.provable, sharing.cut)
        if self._slots.full(sharing.sha256, host):
            return self._wait_for_piece(ask, sharing, request) if may_wait else self._slots.come_later()
        return self._send_growing(sharing, sharing.rarity.rarest(able, self._tools.dice), host)

    async def _wait_for_piece(self, ask: AskPiece, sharing: Sharing, request: Request) -> Response:
        """A child waits for the next piece, or for its turn; it is told when none came in time.

        Who lacks most goes first: where there is not enough for all, the last one counts.
        """
        host = bare_host(request.peer)
        me = Waiter(ask.want, knows=ask.knows, host=host)
        sharing.waiters.join(me)
        self._lets_in(sharing, host)
        try:
            if sharing.cut is not None:
                me.read(sharing.cut)
            with trio.move_on_after(ask.wait_ms / 1000):
                while True:
                    await me.sleep()
                    if self._sharings.get(ask.id) is not sharing or sharing.partial.error is not None:
                        return _NOT_HELD
                    if sharing.cut is None:
                        continue
                    me.read(sharing.cut)
                    able = sharing.able(me.want, knows=ask.knows, waits=True)
                    if not able or self._slots.full(sharing.sha256, host):
                        continue
                    blob = self._givable.blob(ask.id, sealed=is_sealed(request))
                    if blob is None and not self._givable.is_growing(sharing, sealed=is_sealed(request)):
                        return _NOT_HELD
                    if blob is None:
                        return self._send_growing(sharing, sharing.rarity.rarest(able, self._tools.dice), host)
                    answer = self._piece_of_blob(ask, blob, sharing, request)
                    return answer if isinstance(answer, Response) else await answer
        except RemoteProtocolError:
            return _NOT_HELD
        finally:
            sharing.waiters.leave(me)
            self._wake_next(sharing)
        if sharing.cut is None:
            return _NOTHING_YET
        return _holds(sharing.provable, sharing.cut)

    def _wake_next(self, sharing: Sharing) -> None:
        sharing.wake_next(lambda host: not self._slots.full(sharing.sha256, host), self._slots.taken)

    def _slot_came_free(self) -> None:
        """Whatever file it gave: who waits for another one may have waited for this slot."""
        for sharing in self._sharings.values():
            self._wake_next(sharing)

    def _send_growing(self, sharing: Sharing, index: int, host: str) -> Response:
        cut, arrival = sharing.cut, None if sharing.here >> index & 1 else sharing.arriving[index]
        assert cut is not None
        start, end = cut.span(index)
        proof = sharing.proofs.get(index) if arrival is None else arrival.proof
        if proof is not None:
            word = proof.encode()
        else:
            assert sharing.manifest is not None
            word = f"{MANIFEST_NAME} {sharing.manifest.name}"
        sharing.rarity.goes_out(index)
        self._lets_in(sharing, host)
        done = self._slots.take(sharing.sha256, host, self._slot_came_free)
        self._slots.spend(end - start)
        reader = sharing.partial.reader()
        file = reader.__enter__()

        passed_on = None if arrival is None else arrival.passed_on(file)

        def sent() -> None:
            try:
                if arrival is not None and passed_on is not None:
                    arrival.leave(passed_on)
                reader.__exit__(None, None, None)
            finally:
                if not sharing.here >> index & 1:
                    sharing.rarity.came_back(index)  # it stopped arriving here
                done()

        headers: Headers = (*_PIECE, (PIECE_INDEX, str(index)), (PROOF, word))
        if arrival is not None and passed_on is not None:
            headers = (*headers, (PARTS, arrival.parts.hex()), (PASSED_ON, "1"))
            return Response(200, headers, passed_on, size_bytes=end - start, release=sent)
        if index in sharing.parts:
            headers = (*headers, (PARTS, sharing.parts[index].hex()))
        return Response(200, headers, FileSlice(file, start, end - start), release=sent)

    def _piece_of_blob(
        self, ask: AskPiece, blob: Blob, sharing: Sharing | None, request: Request
    ) -> Response | Awaitable[Response]:
        cut = self._tools.cutting(blob.size_bytes)
        try:
            want = bitfield.decode(ask.want, cut.pieces)
        except RemoteProtocolError:
            return _NOT_HELD
        if not want:
            return _holds(bitfield.all_of(cut.pieces), cut)
        proofs = {} if sharing is None or ask.knows else sharing.proofs
        if not ask.knows:
            want &= 0 if sharing is None else sharing.signed
            if not want:
                return _ASK_FOR_MANIFEST
        host = bare_host(request.peer)
        if self._slots.full(blob.sha256, host):
            return self._slots.come_later()
        rarity = self._rarity_of(blob.sha256, sharing)
        index = rarity.rarest(want, self._tools.dice)
        rarity.goes_out(index)
        if sharing is not None:
            self._lets_in(sharing, host)
        name = self._manifests.name_of(blob)
        word = proofs[index].encode() if index in proofs else f"{MANIFEST_NAME} {name}" if name else ""
        start, end = cut.span(index)
        parts = None if sharing is None else sharing.parts.get(index)
        headers: Headers = (*_PIECE, (PIECE_INDEX, str(index)), *(((PROOF, word),) if word else ()))
        if parts is not None:
            headers = (*headers, (PARTS, parts.hex()))
        if blob.content is not None:
            self._slots.spend(end - start)
            return Response(200, headers, blob.content[start:end])
        opened = self._files.get(blob)
        if opened is None:
            return self._open_and_send(blob, headers, start, end - start, host)
        return self._send(opened, headers, start, end - start, host)

    async def _open_and_send(self, blob: Blob, headers: Headers, start: int, size_bytes: int, host: str) -> Response:
        done = self._slots.take(blob.sha256, host, self._slot_came_free)
        try:
            opened = self._files.get(blob) or self._files.add(blob, await blob.open())
        except NotFound:
            self._givable.lost(blob.sha256)
            return _NOT_HELD
        except Unavailable:  # it is here, and cannot be opened now: a "no" would be believed
            return self._slots.come_later()
        finally:
            done()
        return self._send(opened, headers, start, size_bytes, host)

    def _send(self, opened: OpenFile, headers: Headers, start: int, size_bytes: int, host: str) -> Response:
        done = self._slots.take(opened.sha256, host, self._slot_came_free)
        self._slots.spend(size_bytes)
        opened.users += 1

        def sent() -> None:
            self._files.leave(opened)
            done()

        return Response(200, headers, FileSlice(opened.file, start, size_bytes), release=sent)

    def _rarity_of(self, sha256: Sha256, sharing: Sharing | None) -> Rarity:
        if sharing is not None:
            return sharing.rarity
        rarity = self._rarities.get(sha256)
        if rarity is None:
            rarity = self._rarities[sha256] = Rarity()
        self._rarities.move_to_end(sha256)
        forget_oldest(self._rarities, SHARINGS_MAX)
        return rarity


def _holds(bits: int, cut: Cut) -> Response:
    """None of what is wanted; this is what there is."""
    return Response(409, ((HOLDS, bitfield.encode(bits, cut.pieces)),))
