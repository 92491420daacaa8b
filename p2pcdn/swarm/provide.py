"""The peer face: what neighbours ask of us, and what they get.

Only whole blobs whose files may go to the whole network. Unknown, private, withdrawn and unfinished ones look the same
from outside. Pieces leave by sendfile, and nobody queues for one: a full node says so at once.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping

import trio

from p2pcdn.digest import Sha256
from p2pcdn.errors import NotFound, P2pcdnError, RemoteProtocolError, StoreStopped
from p2pcdn.http1 import FileSlice, Request, Response
from p2pcdn.store import Blob, Origin, Store
from p2pcdn.swarm.directory import Directory
from p2pcdn.swarm.manifest import Manifest, manifest_of, piece_hash, piece_size_of, pieces_of
from p2pcdn.swarm.messages import (
    CBOR_TYPE,
    PIECE_TYPE,
    RETRY_AFTER,
    SMALL_SIZE_BYTES_MAX,
    AskHave,
    AskHello,
    AskManifest,
    AskPiece,
    Hello,
    encode_have,
    encode_small,
    read_target,
)
from p2pcdn.world import DiskFile, Share, Threads

log = logging.getLogger(__name__)

# Pieces on their way out at once: four neighbours with three requests each. More would only share the same wire.
SLOTS = 12
# One host (a few nodes of its users) cannot take all of them.
SLOTS_PER_HOST = 6
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

_NOT_HELD = Response(404)
_CBOR = (("content-type", CBOR_TYPE),)
_PIECE = (("content-type", PIECE_TYPE),)


class Provider:
    """Answers neighbours. Used on trio's thread."""

    def __init__(
        self,
        store: Store,
        threads: Threads,
        directory: Directory,
        hello: Callable[[], Hello],
        on_hello: Callable[[str, int], None],
        shares: Mapping[str, Share],
    ) -> None:
        """on_hello: told the host of a node that said at which port it can be asked. shares: see `_is_public`."""
        self._store = store
        self._threads = threads
        self._directory = directory
        self._hello = hello
        self._on_hello = on_hello
        self._shares = shares
        self._files = _OpenFiles()
        self._slots: Counter[str] = Counter()
        self._piece_time_s = 0.02
        self._manifests: OrderedDict[Sha256, bytes] = OrderedDict()
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
            return self._manifest(ask)
        if isinstance(ask, AskHello):
            return self._say_hello(ask, request)
        if isinstance(ask, AskHave):
            sizes = [None if blob is None else blob.size_bytes for blob in map(self._blob, ask.ids)]
            return Response(200, _CBOR, encode_have(sizes))
        return Response(200, _CBOR, encode_small(self._small_ones(ask.ids)))

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
            self._on_hello(host, ask.port)
        return Response(200, _CBOR, self._hello().encode())

    def _blob(self, id_: str) -> Blob | None:
        """The blob if it is here and may be given."""
        sha256 = self._directory.find(id_)
        if sha256 is None:
            return None
        blob = self._store.blob(sha256)
        if blob is None:
            if not self._store.holds(sha256):
                self._files.forget(sha256)
            return None
        return blob if self._is_public(blob.origin) else None

    def _is_public(self, origin: Origin) -> bool:
        """Whether it was kept for the whole network, and its index still is for it: who closes it, closes what is here.

        An index that is not configured any more is as open as the most open one that is. There are no groups yet.
        """
        others = "lan" in self._shares.values() or not self._shares
        now = self._shares.get(origin.index_key)
        return origin.share == "lan" and (others if now is None else now == "lan")

    def _small_ones(self, ids: tuple[str, ...]) -> list[bytes | None]:
        contents: list[bytes | None] = []
        # What CBOR adds to each, and to the list.
        room = SMALL_SIZE_BYTES_MAX - 16
        for blob in map(self._blob, ids):
            content = None if blob is None else blob.content
            fits = content is not None and len(content) + 8 <= room
            room -= len(content) + 8 if fits and content is not None else 8
            contents.append(content if fits else None)
        return contents

    # --- pieces

    def _piece(self, ask: AskPiece, request: Request) -> Response | Awaitable[Response]:
        blob = self._blob(ask.id)
        if blob is None or ask.index >= pieces_of(blob.size_bytes):
            return _NOT_HELD
        start = ask.index * piece_size_of(blob.size_bytes)
        size_bytes = min(piece_size_of(blob.size_bytes), blob.size_bytes - start)
        host = _host(request.peer)
        if self._slots.total() >= SLOTS or self._slots[host] >= SLOTS_PER_HOST:
            wait_ms = round(min(RETRY_MAX_MS, max(RETRY_MIN_MS, self._piece_time_s * 1000)))
            return Response(503, ((RETRY_AFTER, str(wait_ms)),))
        if blob.content is not None:
            return Response(200, _PIECE, blob.content[start : start + size_bytes])
        opened = self._files.get(blob.sha256)
        if opened is None:
            return self._open_and_send(blob, start, size_bytes, host)
        return self._send(opened, start, size_bytes, host)

    async def _open_and_send(self, blob: Blob, start: int, size_bytes: int, host: str) -> Response:
        self._slots[host] += 1
        try:
            opened = self._files.get(blob.sha256) or self._files.add(blob.sha256, await blob.open())
        except NotFound:
            self._directory.remove(blob.sha256)
            return _NOT_HELD
        finally:
            self._give_back(host)
        return self._send(opened, start, size_bytes, host)

    def _send(self, opened: _OpenFile, start: int, size_bytes: int, host: str) -> Response:
        self._slots[host] += 1
        opened.users += 1
        began = trio.current_time()

        def sent() -> None:
            self._give_back(host)
            self._piece_time_s += (trio.current_time() - began - self._piece_time_s) / 8
            self._files.leave(opened)

        return Response(200, _PIECE, FileSlice(opened.file, start, size_bytes), release=sent)

    def _give_back(self, host: str) -> None:
        self._slots[host] -= 1
        if not self._slots[host]:
            del self._slots[host]

    # --- manifests

    def _manifest(self, ask: AskManifest) -> Response | Awaitable[Response]:
        blob = self._blob(ask.id)
        if blob is None:
            return _NOT_HELD
        if blob.content is not None:
            return Response(200, _CBOR, manifest_of(blob.sha256, blob.content).encode())
        made = self._made(blob)
        return self._make_and_send(blob) if made is None else Response(200, _CBOR, made)

    def _made(self, blob: Blob) -> bytes | None:
        made = self._manifests.get(blob.sha256)
        if made is None:
            made = self._store.value("manifests", blob.sha256)
            if made is None or not _fits(blob, made):
                return None
            self._remember(blob.sha256, made)
        return made

    def _remember(self, sha256: Sha256, made: bytes) -> None:
        self._manifests[sha256] = made
        self._manifests.move_to_end(sha256)
        if len(self._manifests) > MANIFESTS_KEPT:
            self._manifests.popitem(last=False)

    async def _make_and_send(self, blob: Blob) -> Response:
        if self._nursery is None:
            return Response(503, ((RETRY_AFTER, str(MANIFEST_RETRY_MS)),))
        done = self._start_making(blob)
        with trio.move_on_after(MANIFEST_WAIT_S):
            await done.wait()
        made = self._manifests.get(blob.sha256)
        if made is not None:
            return Response(200, _CBOR, made)
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
                made = (await make_manifest(blob, self._threads)).encode()
            self._remember(blob.sha256, made)
            await self._store.change(values={("manifests", blob.sha256): made})
        except StoreStopped as error:
            log.debug("a manifest was not kept: %s", error)
        except (P2pcdnError, OSError) as error:
            log.warning("no manifest of %s: %s", blob.origin.filename, error)
        finally:
            done.set()
            del self._making[blob.sha256]


async def make_manifest(blob: Blob, threads: Threads) -> Manifest:
    """Reads a whole blob and hashes its pieces in a thread. Raises NotFound, OSError."""
    hashes = bytearray()
    file = await blob.open()
    try:
        piece = piece_size_of(blob.size_bytes)
        for index in range(pieces_of(blob.size_bytes)):
            size_bytes = min(piece, blob.size_bytes - index * piece)
            content = await file.pread(size_bytes, index * piece)
            if len(content) != size_bytes:
                raise NotFound(f"{blob.origin.filename} is shorter than it was when it was kept.")
            hashes += await threads.run(piece_hash, blob.sha256, blob.size_bytes, index, content)
    finally:
        file.close()
    return Manifest(blob.sha256, blob.size_bytes, bytes(hashes))


def _fits(blob: Blob, made: bytes) -> bool:
    try:
        return Manifest.decode(blob.sha256, made).size_bytes == blob.size_bytes
    except RemoteProtocolError:
        return False


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
