"""The peer face: what neighbours ask of us, and what they get.

Blobs, and files that still arrive; public ones to everybody, in a group private ones to its members over TLS. Unknown,
private and withdrawn ones look the same from outside. Pieces leave by sendfile; a full node says so at once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence

import trio

from p2pcdn.bounded import forget_oldest
from p2pcdn.digest import Sha256
from p2pcdn.errors import NotFound, RemoteProtocolError, Unavailable
from p2pcdn.http1 import FileSlice, Request, Response
from p2pcdn.store import Blob, Origin, Store
from p2pcdn.swarm.advising.member import network_of
from p2pcdn.swarm.giving.directory import Directory
from p2pcdn.swarm.giving.manifests import Manifests, passed_on
from p2pcdn.swarm.giving.manners import Manners
from p2pcdn.swarm.giving.open_files import OPEN_FILE_IDLE_S, OpenFile, OpenFiles
from p2pcdn.swarm.giving.slots import Slots
from p2pcdn.swarm.neighbours.meeting import is_sealed
from p2pcdn.swarm.neighbours.peer import Address
from p2pcdn.swarm.pieces.manifest import Cut
from p2pcdn.swarm.pieces.rarity import Rarity
from p2pcdn.swarm.pieces.sharing import Sharing
from p2pcdn.swarm.pieces.tools import Tools
from p2pcdn.swarm.pieces.waiting import Waiter
from p2pcdn.swarm.wire import bitfield
from p2pcdn.swarm.wire.advice import Advice, AskCrowd
from p2pcdn.swarm.wire.messages import (
    CBOR_TYPE,
    HOLDS,
    MANIFEST_NAME,
    PARTS,
    PASSED_ON,
    PIECE_INDEX,
    PIECE_TYPE,
    PROOF,
    SMALL_SIZE_BYTES_MAX,
    AskHave,
    AskHello,
    AskManifest,
    AskPeers,
    AskPiece,
    Hello,
    Known,
    encode_have,
    encode_peers,
    encode_small,
    read_target,
)
from p2pcdn.world import Share

# Askers that wait for a piece of one file: its three children, and some whom the tracker will soon tell otherwise.
WAITING_PER_FILE = 9
# Of them from one host: it could else keep a node's children from waiting at all.
WAITING_PER_HOST = 6
# Files in transit, and those that came lately, whose proofs are still asked for.
SHARINGS_MAX = 64

_NOT_HELD = Response(404)
_CBOR = (("content-type", CBOR_TYPE),)
_PIECE = (("content-type", PIECE_TYPE),)
_NOTHING_YET = Response(409)
_ASK_FOR_MANIFEST = Response(428)

Headers = tuple[tuple[str, str], ...]


class Provider:
    """Answers neighbours. Used on trio's thread."""

    def __init__(
        self,
        store: Store,
        directory: Directory,
        hello: Callable[[], Hello],
        on_hello: Callable[[str, int, str | None], None],
        advise: Callable[[AskCrowd, str], Advice],
        known: Callable[[], Sequence[Known]],
        shares: Mapping[str, Share],
        tools: Tools,
        manners: Manners = Manners(),  # noqa: B008 - frozen
    ) -> None:
        """on_hello: told the host, the port and the boot id of a node that said where it can be asked.

        shares: see `may_share`. advise: the tracker's answer to one who can be asked at that address. known: the nodes
        that we may name.
        """
        self._store = store
        self._directory = directory
        self._hello = hello
        self._on_hello = on_hello
        self._advise = advise
        self._known = known
        self._shares = shares
        self._tools = tools
        self._manners = manners
        self._slots = Slots(manners)
        self._files = OpenFiles()
        self._manifests = Manifests(store, tools.threads, tools.identity, tools.cutting)
        self._sharings: OrderedDict[str, Sharing] = OrderedDict()
        self._rarities: OrderedDict[Sha256, Rarity] = OrderedDict()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Makes manifests and closes files that nobody asks for any more, until it is cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._manifests.run)
                nursery.start_soon(self._call_when_paid_off)
                task_status.started()
                while True:
                    await trio.sleep(OPEN_FILE_IDLE_S)
                    self._files.close_idle()
        finally:
            self._files.close_all()

    def answer(self, request: Request) -> Response | Awaitable[Response]:
        """One answer to one question."""
        try:
            ask = read_target(request.path, request.query)
        except RemoteProtocolError:
            return _NOT_HELD
        if isinstance(ask, AskPiece):
            return self._piece(ask, request)
        if isinstance(ask, AskManifest):
            return self._manifest(ask, sealed=is_sealed(request))
        if isinstance(ask, AskHello):
            return self._say_hello(ask, request)
        if isinstance(ask, AskCrowd):
            return self._advice(ask, request)
        if isinstance(ask, AskPeers):
            return Response(200, _CBOR, encode_peers(self._known()))
        if isinstance(ask, AskHave):
            sizes = [None if blob is None else blob.size_bytes for blob in map(self._blob, ask.ids)]
            return Response(200, _CBOR, encode_have(sizes))
        return Response(200, _CBOR, encode_small(self._small_ones(ask.ids, sealed=is_sealed(request))))

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

    def kept(self, sha256: Sha256, *, soon_wanted: bool) -> None:
        """A blob came into the store. soon_wanted: there are neighbours, who perhaps want the same in a moment."""
        self._directory.add(sha256)
        blob = self._blob(self._directory.id_of(sha256)) if soon_wanted and self._manifests.running else None
        if blob is not None:
            self._manifests.make_ahead(blob)

    def mind(self, manners: Manners) -> None:
        """From now on: the machine has changed its link, or its plug was pulled."""
        self._manners = manners
        self._slots.mind(manners)

    def may_share(self, origin: Origin) -> bool:
        """Whether it was kept for those who ask us, and its index still is: who closes that, closes what is here.

        They are the whole network, or our group. An index that is not configured any more is as open as the most open
        one that is.
        """
        if not self._manners.slots:
            return False
        open_to: tuple[Share, ...] = ("lan",) if self._tools.identity.group is None else ("lan", "group")
        others = any(share in open_to for share in self._shares.values()) or not self._shares
        now = self._shares.get(origin.index_key)
        return origin.share in open_to and (others if now is None else now in open_to)

    # --- below

    def _say_hello(self, ask: AskHello, request: Request) -> Response:
        host = _host(request.peer)
        if ask.port is not None and host:
            self._on_hello(host, ask.port, ask.boot)
        return Response(200, _CBOR, self._hello().encode())

    def _blob(self, id_: str, *, sealed: bool = True) -> Blob | None:
        """The blob if it is here and may be given. sealed: over TLS; the group's private files go no other way."""
        sha256 = self._directory.find(id_)
        if sha256 is None:
            return None
        blob = self._store.blob(sha256)
        if blob is None:
            if not self._store.holds(sha256):
                self._files.forget(sha256)
            return None
        return blob if self._may_go(blob.origin, sealed=sealed) else None

    def _may_go(self, origin: Origin, *, sealed: bool) -> bool:
        return self.may_share(origin) and (sealed or origin.share == "lan")

    def _small_ones(self, ids: tuple[str, ...], *, sealed: bool) -> list[bytes | None]:
        contents: list[bytes | None] = []
        # What CBOR adds to each, and to the list.
        room = SMALL_SIZE_BYTES_MAX - 16
        for blob in (self._blob(id_, sealed=sealed) for id_ in ids):
            content = None if blob is None else blob.content
            fits = content is not None and len(content) + 8 <= room
            room -= len(content) + 8 if fits and content is not None else 8
            contents.append(content if fits else None)
        self._slots.spend(sum(map(len, filter(None, contents))))
        return contents

    def _advice(self, ask: AskCrowd, request: Request) -> Response:
        host = _host(request.peer)
        try:
            advice = self._advise(ask, str(Address(host, ask.port)))
        except RemoteProtocolError:
            return _NOT_HELD
        return Response(200, _CBOR, advice.encode())

    # --- manifests and pieces

    def _manifest(self, ask: AskManifest, *, sealed: bool) -> Response | Awaitable[Response]:
        blob = self._blob(ask.id, sealed=sealed)
        if blob is not None:
            return self._manifests.answer(blob)
        sharing = self._sharings.get(ask.id)
        if sharing is None or sharing.manifest is None or not self._gives(sharing, sealed=sealed):
            return _NOT_HELD
        return passed_on(sharing.manifest, sharing.manifest_proof)

    def _piece(self, ask: AskPiece, request: Request) -> Response | Awaitable[Response]:
        sharing = self._sharings.get(ask.id)
        if sharing is not None and self._comes_last(sharing, _host(request.peer)):
            return self._slots.come_last()
        blob = self._blob(ask.id, sealed=is_sealed(request))
        if blob is not None:
            return self._piece_of_blob(ask, blob, sharing, request)
        if sharing is None or not self._gives(sharing, sealed=is_sealed(request)):
            return _NOT_HELD
        return self._piece_of_growing(ask, sharing, request)

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
        host = _host(request.peer)
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

    def _gives(self, sharing: Sharing, *, sealed: bool) -> bool:
        """Whether it still grows and may be given. One that became a blob is given as such, or is gone."""
        partial = sharing.partial
        return partial.error is None and partial.blob is None and self._may_go(partial.origin, sealed=sealed)

    async def _wait_for_piece(self, ask: AskPiece, sharing: Sharing, request: Request) -> Response:
        """A child waits for the next piece, or for its turn; it is told when none came in time.

        Who lacks most goes first: where there is not enough for all, the last one counts.
        """
        host = _host(request.peer)
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
                    blob = self._blob(ask.id, sealed=is_sealed(request))
                    if blob is None and not self._gives(sharing, sealed=is_sealed(request)):
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

    async def _call_when_paid_off(self) -> None:
        """An upload limit holds back everybody who waits, and no slot that comes free calls them afterwards."""
        while True:
            await trio.sleep(await self._slots.overspent())
            self._slot_came_free()

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
        host = _host(request.peer)
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
            self._directory.remove(blob.sha256)
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


def _host(peer: str) -> str:
    return peer.rpartition(":")[0].removeprefix("[").removesuffix("]")
