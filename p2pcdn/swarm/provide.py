"""The peer face: what neighbours ask of us, and what they get.

Only whole blobs whose files may go to the whole network. Unknown, private, withdrawn and unfinished ones look the same
from outside. Pieces leave by sendfile, and nobody queues for one: a full node says so at once.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence

import trio

from p2pcdn.digest import Sha256
from p2pcdn.errors import NotFound, P2pcdnError, RemoteProtocolError, StoreStopped
from p2pcdn.http1 import FileSlice, Request, Response
from p2pcdn.store import Blob, Origin, Store
from p2pcdn.swarm import bitfield
from p2pcdn.swarm.crowd import CLASSES
from p2pcdn.swarm.directory import Directory
from p2pcdn.swarm.manifest import Cut, Cutting, Manifest, manifest_of, piece_hash, prove_manifest
from p2pcdn.swarm.manners import Allowance, Manners
from p2pcdn.swarm.meeting import is_sealed
from p2pcdn.swarm.messages import (
    CBOR_TYPE,
    HOLDS,
    MANIFEST_NAME,
    PIECE_INDEX,
    PIECE_TYPE,
    PROOF,
    RETRY_AFTER,
    SMALL_SIZE_BYTES_MAX,
    Advice,
    AskCrowd,
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
from p2pcdn.swarm.rarity import Rarity
from p2pcdn.swarm.sharing import Sharing
from p2pcdn.swarm.tools import Tools
from p2pcdn.world import DiskFile, Share, Threads

log = logging.getLogger(__name__)

# One host (a few nodes of its users) cannot take all of them.
SLOTS_PER_HOST = 6
# Of one file: as many as its asker has questions under way. More would only share the same wire, and a piece that
# arrives late is passed on late.
SLOTS_PER_FILE = CLASSES
# Askers that wait for a piece of one file: its three children, and some whom the tracker will soon tell otherwise.
WAITING_PER_FILE = 9
# How soon a refused one may come back: about the time in which one piece leaves. Milliseconds.
RETRY_MIN_MS, RETRY_MAX_MS = 5, 500
# A manifest of a file that lies on a slow disk: the asking node is told to come back rather than to wait.
MANIFEST_WAIT_S = 1.0
MANIFEST_RETRY_MS = 500
# The manifest of a file of this size is made when it is kept, while it still lies in memory; that of a smaller one in
# the moment in which it is first asked for.
EAGER_SIZE_BYTES_MIN = 64 * 1024 * 1024
# Manifests made at once: each reads a whole file.
MAKERS_MAX = 2
# Manifests in memory, 32 bytes a piece; the others are a read of the catalog away.
MANIFESTS_KEPT = 64
# Blobs that stay open between two pieces. An open one is not evicted, so not for long.
OPEN_FILES_MAX = 32
OPEN_FILE_IDLE_S = 10.0

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
        threads: Threads,
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
        self._threads = threads
        self._directory = directory
        self._hello = hello
        self._on_hello = on_hello
        self._advise = advise
        self._known = known
        self._shares = shares
        self._tools = tools
        self._manners = manners
        self._allowance = Allowance(manners.upload_limit_bytes_s)
        self._files = _OpenFiles()
        self._slots: Counter[str] = Counter()
        self._giving: Counter[Sha256] = Counter()
        self._waiting: Counter[Sha256] = Counter()
        self._sharings: OrderedDict[str, Sharing] = OrderedDict()
        self._rarities: OrderedDict[Sha256, Rarity] = OrderedDict()
        self._piece_time_s = 0.02
        self._manifests: OrderedDict[Sha256, tuple[bytes, str, str]] = OrderedDict()  # with its proof and its name
        self._making: dict[Sha256, trio.Event] = {}
        self._makers = trio.CapacityLimiter(MAKERS_MAX)
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Makes manifests and closes files that nobody asks for any more, until it is cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                while True:
                    await trio.sleep(OPEN_FILE_IDLE_S)
                    self._files.close_idle()
        finally:
            self._nursery = None
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
        while len(self._sharings) > SHARINGS_MAX:
            self._sharings.popitem(last=False)

    def unshare(self, sharing: Sharing) -> None:
        """Its bytes were wrong, or its download ended without them."""
        if self._sharings.get(sharing.id) is sharing:
            del self._sharings[sharing.id]
        sharing.changed.unpark_all()

    def kept(self, sha256: Sha256, *, soon_wanted: bool) -> None:
        """A blob came into the store. soon_wanted: there are neighbours, who perhaps want the same in a moment."""
        self._directory.add(sha256)
        blob = self._blob(self._directory.id_of(sha256)) if soon_wanted and self._nursery is not None else None
        if blob is not None and blob.size_bytes >= EAGER_SIZE_BYTES_MIN and self._made(blob) is None:
            self._start_making(blob)

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

    def mind(self, manners: Manners) -> None:
        """From now on: the machine has changed its link, or its plug was pulled."""
        if manners.upload_limit_bytes_s != self._manners.upload_limit_bytes_s:
            self._allowance = Allowance(manners.upload_limit_bytes_s)
        self._manners = manners

    def _may_go(self, origin: Origin, *, sealed: bool) -> bool:
        return self.may_share(origin) and (sealed or origin.share == "lan")

    def may_share(self, origin: Origin) -> bool:
        """Whether it was kept for the whole network, and its index still is for it: who closes it, closes what is here.

        An index that is not configured any more is as open as the most open one that is. There are no groups yet.
        """
        if not self._manners.slots:
            return False
        open_to: tuple[Share, ...] = ("lan",) if self._tools.identity.group is None else ("lan", "group")
        others = any(share in open_to for share in self._shares.values()) or not self._shares
        now = self._shares.get(origin.index_key)
        return origin.share in open_to and (others if now is None else now in open_to)

    def _small_ones(self, ids: tuple[str, ...], *, sealed: bool) -> list[bytes | None]:
        contents: list[bytes | None] = []
        # What CBOR adds to each, and to the list.
        room = SMALL_SIZE_BYTES_MAX - 16
        for blob in (self._blob(id_, sealed=sealed) for id_ in ids):
            content = None if blob is None else blob.content
            fits = content is not None and len(content) + 8 <= room
            room -= len(content) + 8 if fits and content is not None else 8
            contents.append(content if fits else None)
        self._spend(sum(map(len, filter(None, contents))))
        return contents

    def _advice(self, ask: AskCrowd, request: Request) -> Response:
        host = _host(request.peer)
        try:
            advice = self._advise(ask, f"[{host}]:{ask.port}" if ":" in host else f"{host}:{ask.port}")
        except RemoteProtocolError:
            return _NOT_HELD
        return Response(200, _CBOR, advice.encode())

    # --- pieces

    def _piece(self, ask: AskPiece, request: Request) -> Response | Awaitable[Response]:
        sharing = self._sharings.get(ask.id)
        blob = self._blob(ask.id, sealed=is_sealed(request))
        if blob is not None:
            return self._piece_of_blob(ask, blob, sharing, request)
        if sharing is None or not self._gives(sharing, sealed=is_sealed(request)):
            return _NOT_HELD
        return self._piece_of_growing(ask, sharing, request)

    def _piece_of_growing(self, ask: AskPiece, sharing: Sharing, request: Request) -> Response | Awaitable[Response]:
        if sharing.cut is None:
            return _NOTHING_YET if not ask.wait_ms else self._wait_for_piece(ask, sharing, request)
        try:
            want = bitfield.decode(ask.want, sharing.cut.pieces)
        except RemoteProtocolError:
            return _NOT_HELD
        able = want & sharing.givable(knows=ask.knows)
        if not able:
            if want & sharing.provable:
                return _ASK_FOR_MANIFEST
            if ask.wait_ms and self._waiting[sharing.sha256] < WAITING_PER_FILE:
                return self._wait_for_piece(ask, sharing, request)
            return _holds(sharing.provable, sharing.cut)
        if self._is_full(sharing.sha256, _host(request.peer)):
            if ask.wait_ms and self._waiting[sharing.sha256] < WAITING_PER_FILE:
                return self._wait_for_piece(ask, sharing, request)
            return self._come_later()
        return self._send_growing(sharing, sharing.rarity.rarest(able, self._tools.dice), _host(request.peer))

    def _gives(self, sharing: Sharing, *, sealed: bool) -> bool:
        """Whether it still grows and may be given. One that became a blob is given as such, or is gone."""
        partial = sharing.partial
        return partial.error is None and partial.blob is None and self._may_go(partial.origin, sealed=sealed)

    async def _wait_for_piece(self, ask: AskPiece, sharing: Sharing, request: Request) -> Response:
        """A child waits for the next piece, or for its turn; it is told when none came in time."""
        host = _host(request.peer)
        self._waiting[sharing.sha256] += 1
        try:
            with trio.move_on_after(ask.wait_ms / 1000):
                while True:
                    await sharing.changed.park()
                    if self._sharings.get(ask.id) is not sharing or sharing.partial.error is not None:
                        return _NOT_HELD
                    if sharing.cut is None or self._is_full(sharing.sha256, host):
                        continue
                    if able := bitfield.decode(ask.want, sharing.cut.pieces) & sharing.givable(knows=ask.knows):
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
            self._waiting[sharing.sha256] -= 1
            if not self._waiting[sharing.sha256]:
                del self._waiting[sharing.sha256]
        if sharing.cut is None:
            return _NOTHING_YET
        return _holds(sharing.provable, sharing.cut)

    def _send_growing(self, sharing: Sharing, index: int, host: str) -> Response:
        cut, proof = sharing.cut, sharing.proofs.get(index)
        assert cut is not None
        start, end = cut.span(index)
        if proof is not None:
            word = proof.encode()
        else:
            assert sharing.manifest is not None
            word = f"{MANIFEST_NAME} {sharing.manifest.name}"
        sharing.rarity.goes_out(index)
        done = self._taken_slot(sharing.sha256, host, sharing.changed)
        self._spend(end - start)
        reader = sharing.partial.reader()
        file = reader.__enter__()

        def sent() -> None:
            reader.__exit__(None, None, None)
            done()

        headers = (*_PIECE, (PIECE_INDEX, str(index)), (PROOF, word))
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
        if self._is_full(blob.sha256, host):
            return self._come_later()
        rarity = self._rarity_of(blob.sha256, sharing)
        index = rarity.rarest(want, self._tools.dice)
        rarity.goes_out(index)
        made = self._made(blob)
        word = proofs[index].encode() if index in proofs else f"{MANIFEST_NAME} {made[2]}" if made else ""
        start, end = cut.span(index)
        headers = (*_PIECE, (PIECE_INDEX, str(index)), *(((PROOF, word),) if word else ()))
        if blob.content is not None:
            self._spend(end - start)
            return Response(200, headers, blob.content[start:end])
        opened = self._files.get(blob.sha256)
        if opened is None:
            return self._open_and_send(blob, headers, start, end - start, host)
        return self._send(opened, headers, start, end - start, host)

    async def _open_and_send(self, blob: Blob, headers: Headers, start: int, size_bytes: int, host: str) -> Response:
        done = self._taken_slot(blob.sha256, host, None)
        try:
            opened = self._files.get(blob.sha256) or self._files.add(blob.sha256, await blob.open())
        except NotFound:
            self._directory.remove(blob.sha256)
            return _NOT_HELD
        finally:
            done()
        return self._send(opened, headers, start, size_bytes, host)

    def _send(self, opened: _OpenFile, headers: Headers, start: int, size_bytes: int, host: str) -> Response:
        done = self._taken_slot(opened.sha256, host, None)
        self._spend(size_bytes)
        opened.users += 1

        def sent() -> None:
            self._files.leave(opened)
            done()

        return Response(200, headers, FileSlice(opened.file, start, size_bytes), release=sent)

    def _rarity_of(self, sha256: Sha256, sharing: Sharing | None) -> Rarity:
        if sharing is not None:
            return sharing.rarity
        rarity = self._rarities.setdefault(sha256, Rarity())
        self._rarities.move_to_end(sha256)
        if len(self._rarities) > SHARINGS_MAX:
            self._rarities.popitem(last=False)
        return rarity

    def _is_full(self, sha256: Sha256, host: str) -> bool:
        return (
            self._slots.total() >= self._manners.slots
            or self._slots[host] >= SLOTS_PER_HOST
            or self._giving[sha256] >= SLOTS_PER_FILE
            or self._allowance.backlog_s(trio.current_time()) > 0
        )

    def _spend(self, size_bytes: int) -> None:
        """Notes bytes that go out; who asks for more before their time has passed is told to come back."""
        self._allowance.wait_s(size_bytes, trio.current_time())

    def _come_later(self) -> Response:
        wait_s = max(self._piece_time_s, self._allowance.backlog_s(trio.current_time()))
        wait_ms = round(min(RETRY_MAX_MS, max(RETRY_MIN_MS, wait_s * 1000)))
        return Response(503, ((RETRY_AFTER, str(wait_ms)),))

    def _taken_slot(self, sha256: Sha256, host: str, waiting: trio.lowlevel.ParkingLot | None) -> Callable[[], None]:
        """Counts a piece that goes out, and gives what ends it."""
        self._slots[host] += 1
        self._giving[sha256] += 1
        began = trio.current_time()

        def done() -> None:
            self._give_back(host)
            self._giving[sha256] -= 1
            if not self._giving[sha256]:
                del self._giving[sha256]
            self._piece_time_s += (trio.current_time() - began - self._piece_time_s) / 8
            if waiting is not None:
                waiting.unpark_all()

        return done

    def _give_back(self, host: str) -> None:
        self._slots[host] -= 1
        if not self._slots[host]:
            del self._slots[host]

    # --- manifests

    def _manifest(self, ask: AskManifest, *, sealed: bool) -> Response | Awaitable[Response]:
        blob = self._blob(ask.id, sealed=sealed)
        if blob is None:
            return self._manifest_of_growing(ask.id, sealed=sealed)
        if blob.content is not None:
            return _manifest_answer(*self._signed(blob.sha256, manifest_of(blob.sha256, blob.content, self._cutting)))
        made = self._made(blob)
        return self._make_and_send(blob) if made is None else _manifest_answer(*made)

    def _manifest_of_growing(self, id_: str, *, sealed: bool) -> Response:
        """The one by which a file comes in is passed on, with the word of whoever made it."""
        sharing = self._sharings.get(id_)
        if sharing is None or sharing.manifest is None or not self._gives(sharing, sealed=sealed):
            return _NOT_HELD
        word = "" if sharing.manifest_proof is None else sharing.manifest_proof.encode()
        return _manifest_answer(sharing.manifest.encode(), word, sharing.manifest.name)

    @property
    def _cutting(self) -> Cutting:
        return self._tools.cutting

    def _signed(self, sha256: Sha256, manifest: Manifest) -> tuple[bytes, str, str]:
        content = manifest.encode()
        return content, prove_manifest(self._tools.identity, sha256, content).encode(), manifest.name

    def _made(self, blob: Blob) -> tuple[bytes, str, str] | None:
        made = self._manifests.get(blob.sha256)
        if made is None:
            content = self._store.value("manifests", blob.sha256)
            manifest = None if content is None else _fitting(blob, content, self._cutting)
            if manifest is None:
                return None
            made = self._remember(blob.sha256, manifest)
        return made

    def _remember(self, sha256: Sha256, manifest: Manifest) -> tuple[bytes, str, str]:
        made = self._manifests[sha256] = self._signed(sha256, manifest)
        self._manifests.move_to_end(sha256)
        if len(self._manifests) > MANIFESTS_KEPT:
            self._manifests.popitem(last=False)
        return made

    async def _make_and_send(self, blob: Blob) -> Response:
        if self._nursery is None:
            return Response(503, ((RETRY_AFTER, str(MANIFEST_RETRY_MS)),))
        done = self._start_making(blob)
        with trio.move_on_after(MANIFEST_WAIT_S):
            await done.wait()
        made = self._manifests.get(blob.sha256)
        if made is not None:
            return _manifest_answer(*made)
        return _NOT_HELD if done.is_set() else Response(503, ((RETRY_AFTER, str(MANIFEST_RETRY_MS)),))

    def _start_making(self, blob: Blob) -> trio.Event:
        assert self._nursery is not None
        done = self._making.get(blob.sha256)
        if done is None:
            done = self._making[blob.sha256] = trio.Event()
            self._nursery.start_soon(self._make, blob, done)
        return done

    async def _make(self, blob: Blob, done: trio.Event) -> None:
        try:
            async with self._makers:
                manifest = await make_manifest(blob, self._threads, self._cutting)
            self._remember(blob.sha256, manifest)
            await self._store.change(values={("manifests", blob.sha256): manifest.encode()})
        except StoreStopped as error:
            log.debug("a manifest was not kept: %s", error)
        except (P2pcdnError, OSError) as error:
            log.warning("no manifest of %s: %s", blob.origin.filename, error)
        finally:
            done.set()
            del self._making[blob.sha256]


async def make_manifest(blob: Blob, threads: Threads, cutting: Cutting) -> Manifest:
    """Reads a whole blob and hashes its pieces in a thread. Raises NotFound, OSError."""
    hashes = bytearray()
    cut = cutting(blob.size_bytes)
    file = await blob.open()
    try:
        for index in range(cut.pieces):
            start, end = cut.span(index)
            content = await file.pread(end - start, start)
            if len(content) != end - start:
                raise NotFound(f"{blob.origin.filename} is shorter than it was when it was kept.")
            hashes += await threads.run(piece_hash, blob.sha256, cut, index, content)
    finally:
        file.close()
    return Manifest(blob.sha256, cut, bytes(hashes))


def _fitting(blob: Blob, content: bytes, cutting: Cutting) -> Manifest | None:
    try:
        manifest = Manifest.decode(blob.sha256, content, cutting)
    except RemoteProtocolError:
        return None
    return manifest if manifest.size_bytes == blob.size_bytes else None


def _holds(bits: int, cut: Cut) -> Response:
    """None of what is wanted; this is what there is."""
    return Response(409, ((HOLDS, bitfield.encode(bits, cut.pieces)),))


def _manifest_answer(content: bytes, word: str, _name: str) -> Response:
    return Response(200, (*_CBOR, (PROOF, word)) if word else _CBOR, content)


def _host(peer: str) -> str:
    return peer.rpartition(":")[0].removeprefix("[").removesuffix("]")


class _OpenFile:
    __slots__ = ("file", "left_at", "sha256", "users")

    def __init__(self, sha256: Sha256, file: DiskFile) -> None:
        self.sha256 = sha256
        self.file = file
        self.users = 0
        self.left_at = trio.current_time()


class _OpenFiles:
    """Files that are open for the next piece; closed when nobody asked for a while."""

    def __init__(self) -> None:
        self._open: OrderedDict[Sha256, _OpenFile] = OrderedDict()

    def get(self, sha256: Sha256) -> _OpenFile | None:
        opened = self._open.get(sha256)
        if opened is not None:
            self._open.move_to_end(sha256)
        return opened

    def add(self, sha256: Sha256, file: DiskFile) -> _OpenFile:
        there = self._open.get(sha256)
        if there is not None:
            file.close()
            return there
        opened = self._open[sha256] = _OpenFile(sha256, file)
        if len(self._open) > OPEN_FILES_MAX:
            idle = next((one for one in self._open.values() if not one.users and one is not opened), None)
            if idle is not None:
                self.forget(idle.sha256)
        return opened

    def leave(self, opened: _OpenFile) -> None:
        opened.users -= 1
        opened.left_at = trio.current_time()
        if not opened.users and self._open.get(opened.sha256) is not opened:
            opened.file.close()

    def forget(self, sha256: Sha256) -> None:
        opened = self._open.pop(sha256, None)
        if opened is not None and not opened.users:
            opened.file.close()

    def close_idle(self) -> None:
        before = trio.current_time() - OPEN_FILE_IDLE_S
        for opened in [one for one in self._open.values() if not one.users and one.left_at <= before]:
            self.forget(opened.sha256)

    def close_all(self) -> None:
        for sha256 in list(self._open):
            self.forget(sha256)
