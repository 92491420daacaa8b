"""The manifests of what lies here: made, signed, remembered, and given to who asks."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable
from dataclasses import dataclass, field

import trio

from p2pcdn.bounded import forget_oldest
from p2pcdn.digest import Sha256
from p2pcdn.errors import NotFound, P2pcdnError, RemoteProtocolError, StoreStopped, Unavailable
from p2pcdn.group import Identity
from p2pcdn.http1 import Response
from p2pcdn.store import Blob, Store
from p2pcdn.swarm.pieces.manifest import Cutting, Manifest, Proof, manifest_of, part_hashes, piece_hash, prove_manifest
from p2pcdn.swarm.wire.messages import CBOR_TYPE, PROOF, RETRY_AFTER
from p2pcdn.world import Threads

log = logging.getLogger(__name__)

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

_NOT_HELD = Response(404)
_COME_LATER = Response(503, ((RETRY_AFTER, str(MANIFEST_RETRY_MS)),))
_CBOR = (("content-type", CBOR_TYPE),)


@dataclass(slots=True)
class _Making:
    """put_off: the file is here, and cannot be opened now; a "no" would be believed."""

    over: trio.Event = field(default_factory=trio.Event)
    put_off: bool = False


class Manifests:
    """Of blobs that may be given: its caller decides which. None is made unless `run` runs. Used on trio's thread."""

    def __init__(self, store: Store, threads: Threads, identity: Identity, cutting: Cutting) -> None:
        """identity: who signs."""
        self._store = store
        self._threads = threads
        self._identity = identity
        self._cutting = cutting
        self._kept: OrderedDict[Sha256, tuple[bytes, str, str]] = OrderedDict()  # with its proof and its name
        self._making: dict[Sha256, _Making] = {}
        self._makers = trio.CapacityLimiter(MAKERS_MAX)
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Makes those that are asked for, until it is cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None

    @property
    def running(self) -> bool:
        return self._nursery is not None

    def answer(self, blob: Blob) -> Response | Awaitable[Response]:
        """At once where it was made before or the blob is small; else when it is made, or with a word when to come."""
        if blob.content is not None:
            return _answer(*self._signed(blob.sha256, manifest_of(blob.sha256, blob.content, self._cutting)))
        made = self._made(blob)
        return self._make_and_send(blob) if made is None else _answer(*made)

    def name_of(self, blob: Blob) -> str | None:
        """The name of the one that was made before."""
        made = self._made(blob)
        return None if made is None else made[2]

    def make_ahead(self, blob: Blob) -> None:
        """Makes that of a large file before anybody asks. Only while `running`."""
        if blob.size_bytes >= EAGER_SIZE_BYTES_MIN and self._made(blob) is None:
            self._start_making(blob)

    def _signed(self, sha256: Sha256, manifest: Manifest) -> tuple[bytes, str, str]:
        content = manifest.encode()
        return content, prove_manifest(self._identity, sha256, content).encode(), manifest.name

    def _made(self, blob: Blob) -> tuple[bytes, str, str] | None:
        made = self._kept.get(blob.sha256)
        if made is None:
            content = self._store.value("manifests", blob.sha256)
            manifest = None if content is None else _fitting(blob, content, self._cutting)
            if manifest is None:
                return None
            made = self._remember(blob.sha256, manifest)
        return made

    def _remember(self, sha256: Sha256, manifest: Manifest) -> tuple[bytes, str, str]:
        made = self._kept[sha256] = self._signed(sha256, manifest)
        self._kept.move_to_end(sha256)
        forget_oldest(self._kept, MANIFESTS_KEPT)
        return made

    async def _make_and_send(self, blob: Blob) -> Response:
        if self._nursery is None:
            return _COME_LATER
        making = self._start_making(blob)
        with trio.move_on_after(MANIFEST_WAIT_S):
            await making.over.wait()
        made = self._kept.get(blob.sha256)
        if made is not None:
            return _answer(*made)
        return _NOT_HELD if making.over.is_set() and not making.put_off else _COME_LATER

    def _start_making(self, blob: Blob) -> _Making:
        assert self._nursery is not None
        making = self._making.get(blob.sha256)
        if making is None:
            making = self._making[blob.sha256] = _Making()
            self._nursery.start_soon(self._make, blob, making)
        return making

    async def _make(self, blob: Blob, making: _Making) -> None:
        try:
            async with self._makers:
                manifest = await make_manifest(blob, self._threads, self._cutting)
            self._remember(blob.sha256, manifest)
            await self._store.change(values={("manifests", blob.sha256): manifest.encode()})
        except StoreStopped as error:
            log.debug("a manifest was not kept: %s", error)
        except (P2pcdnError, OSError) as error:
            making.put_off = isinstance(error, Unavailable)
            log.warning("no manifest of %s: %s", blob.origin.filename, error)
        finally:
            making.over.set()
            del self._making[blob.sha256]


async def make_manifest(blob: Blob, threads: Threads, cutting: Cutting) -> Manifest:
    """Reads a whole blob and hashes its pieces in a thread. Raises NotFound, Unavailable, OSError."""
    if blob.content is not None:
        return manifest_of(blob.sha256, blob.content, cutting)
    hashes = bytearray()
    cut = cutting(blob.size_bytes)
    file = await blob.open()
    try:
        for index in range(cut.pieces):
            start, end = cut.span(index)
            content = await file.pread(end - start, start)
            if len(content) != end - start:
                raise NotFound(f"{blob.origin.filename} is shorter than it was when it was kept.")
            parts = await threads.run(part_hashes, blob.sha256, cut, index, content)
            hashes += piece_hash(blob.sha256, cut, index, parts)
    finally:
        file.close()
    return Manifest(blob.sha256, cut, bytes(hashes))


def passed_on(manifest: Manifest, proof: Proof | None) -> Response:
    """The one by which a file comes in, with the word of whoever made it."""
    return _answer(manifest.encode(), "" if proof is None else proof.encode(), manifest.name)


def _fitting(blob: Blob, content: bytes, cutting: Cutting) -> Manifest | None:
    try:
        manifest = Manifest.decode(blob.sha256, content, cutting)
    except RemoteProtocolError:
        return None
    return manifest if manifest.size_bytes == blob.size_bytes else None


def _answer(content: bytes, word: str, _name: str) -> Response:
    return Response(200, (*_CBOR, (PROOF, word)) if word else _CBOR, content)
