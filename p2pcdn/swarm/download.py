"""Filling one partial from peers that have the file: who has it, which manifest holds, pieces until all are here."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from p2pcdn.counters import Counters
from p2pcdn.digest import Sha256
from p2pcdn.errors import P2pcdnError, RemoteProtocolError, Unavailable
from p2pcdn.store import Partial
from p2pcdn.swarm.connection import Answer
from p2pcdn.swarm.exchange import Exchange
from p2pcdn.swarm.manifest import Manifest
from p2pcdn.swarm.messages import MANIFEST_SIZE_BYTES_MAX, AskManifest, AskPiece
from p2pcdn.swarm.peers import Peer, Peers
from p2pcdn.swarm.picker import Offer, Want, next_want
from p2pcdn.world import Threads

log = logging.getLogger(__name__)

# Pieces under way for one file. As many requests as a sender has slots for one node (notes: symmetry beats depth).
PIECES_UNDER_WAY = 3
# After the first manifest others are waited for as long again, and at least so long: most of a room answers at once.
SECOND_OPINION_S = 0.01
# Where nobody but a peer says how long a file is, it may not be longer than this.
UNNAMED_SIZE_BYTES_MAX = 8 * 1024**3
# A busy peer that does not say when to come back.
BUSY_PAUSE_S = 0.05
# A piece of 1 MiB is hashed on the loop: 0.25 ms. In a thread it was slower (1.6 GB/s for 1.8) and dearer (0.47 CPU
# seconds a GB for 0.35), measured with two cores by benchmarks/bench_peers.py.
INLINE_SIZE_BYTES_MAX = 1024 * 1024


@dataclass(slots=True)
class _Source:
    """A peer that vouches for the manifest. busy_since: since when it has only refused us."""

    busy_until: float = 0.0
    busy_since: float | None = None


@dataclass(frozen=True, slots=True)
class Tools:
    """What every download of a node works with."""

    exchange: Exchange
    peers: Peers
    counters: Counters
    threads: Threads
    dice: random.Random


class Download:
    """One attempt to fill one partial from peers. `run` it once."""

    def __init__(self, partial: Partial, sha256: Sha256, blob_id: str, size_bytes_max: int, tools: Tools) -> None:
        self._partial = partial
        self._sha256 = sha256
        self._id = blob_id
        self._size_bytes_max = size_bytes_max
        self._tools = tools
        self._offered: dict[bytes, dict[Peer, None]] = {}
        self._manifest: Manifest | None = None
        self._sources: dict[Peer, _Source] = {}
        self._missing: dict[int, None] = {}
        self._in_flight: set[int] = set()
        self._asking = 0
        self._asked_at: dict[Peer, float] = {}  # those that owe an answer about the manifest
        self._error: P2pcdnError | None = None
        self._changed = trio.lowlevel.ParkingLot()
        self.vouchers: dict[Peer, None] = {}  # whose word the bytes stand on

    async def run(self, peers: Sequence[Peer]) -> None:
        """Fills what is missing. Raises Unavailable where these peers cannot give all of it, StoreStopped."""
        self._asking = len(peers)
        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(self._ask_for_manifest, peer)
            manifest = await self._choose_manifest()
            if manifest is not None:
                await self._pull(manifest)
            nursery.cancel_scope.cancel()
        if self._error is not None:
            raise self._error
        if manifest is None:
            raise Unavailable(f"No neighbour has {self._partial.origin.filename}.")
        if self._missing:
            raise Unavailable(
                f"The neighbours gave {manifest.pieces - len(self._missing)} of {manifest.pieces} pieces "
                f"of {self._partial.origin.filename}."
            )

    # --- who has it

    async def _ask_for_manifest(self, peer: Peer) -> None:
        patience_s = self._tools.exchange.patience.no_progress_s
        try:
            with trio.move_on_after(patience_s) as patience:
                content = await self._manifest_of(peer)
            if not patience.cancelled_caught:
                if content is not None:
                    self._offer(peer, content)
            elif trio.current_time() - self._asked_at.get(peer, math.inf) >= patience_s / 2:
                self._failed(peer, "no manifest in time")
            else:
                # It makes manifests, or most of the time went by in our own queue.
                log.info("%s needs too long for a manifest of %s", peer.address, self._name)
                self._tools.peers.was_busy(peer, trio.current_time())
        except Unavailable as error:
            self._failed(peer, str(error))
        except RemoteProtocolError as error:
            self._lied(peer, f"manifest: {error}")
        finally:
            self._asking -= 1
            self._changed.unpark_all()

    async def _manifest_of(self, peer: Peer) -> bytes | None:
        while True:
            async with self._tools.exchange.question(peer.address):
                if self._is_quiet(peer):
                    return None
                question = AskManifest(self._id)
                self._asked_at[peer] = trio.current_time()
                async with self._tools.exchange.ask(peer.address, question, MANIFEST_SIZE_BYTES_MAX) as answer:
                    if answer.status == 200:
                        return bytes(answer.body)
                    status, retry_after_s = answer.status, answer.retry_after_s
            del self._asked_at[peer]
            if status != 503:
                return None
            await trio.sleep(BUSY_PAUSE_S if retry_after_s is None else retry_after_s)

    def _offer(self, peer: Peer, content: bytes) -> None:
        manifest = Manifest.decode(self._sha256, content)
        known = self._partial.size_bytes
        if known is not None and manifest.size_bytes != known:
            raise RemoteProtocolError(f"it says {manifest.size_bytes} bytes, and the file has {known}")
        if known is None and manifest.size_bytes > min(UNNAMED_SIZE_BYTES_MAX, self._size_bytes_max):
            log.info("%s says that %s has %d bytes, too many", peer.address, self._name, manifest.size_bytes)
            return
        self._tools.peers.is_there(peer, trio.current_time())
        self._offered.setdefault(manifest.encode(), {})[peer] = None
        if manifest == self._manifest:
            self._join(peer)

    async def _choose_manifest(self) -> Manifest | None:
        """The one for which most vouch, shortly after the first came."""
        began = trio.current_time()
        while self._asking and not self._offered:
            await self._changed.park()
        with trio.move_on_after(max(SECOND_OPINION_S, trio.current_time() - began)):
            while self._asking:
                await self._changed.park()
        if not self._offered:
            return None
        most = max(map(len, self._offered.values()))
        return Manifest.decode(
            self._sha256,
            self._tools.dice.choice([content for content, peers in self._offered.items() if len(peers) == most]),
        )

    # --- its pieces

    async def _pull(self, manifest: Manifest) -> None:
        self._missing = dict.fromkeys(missing_pieces(manifest, self._partial.missing()))
        self._manifest = manifest
        for peer in self._offered[manifest.encode()]:
            self._join(peer)
        async with trio.open_nursery() as nursery:
            for _ in range(min(PIECES_UNDER_WAY, len(self._missing))):
                nursery.start_soon(self._work, manifest, nursery.cancel_scope)

    def _join(self, peer: Peer) -> None:
        self._sources[peer] = _Source()
        self.vouchers[peer] = None
        self._changed.unpark_all()

    async def _work(self, manifest: Manifest, scope: trio.CancelScope) -> None:
        try:
            while self._missing and (self._sources or self._asking):
                want = next_want(self._missing, self._in_flight, self._offers(), self._tools.dice)
                if want is None:
                    await self._wait()
                    continue
                self._in_flight.add(want.index)
                try:
                    await self._take(want, manifest)
                finally:
                    self._in_flight.discard(want.index)
                    self._changed.unpark_all()
        except P2pcdnError as error:
            # The store's, or whoever ended the partial: nobody's pieces can help now.
            self._error = error
            scope.cancel()

    def _offers(self) -> dict[Peer, Offer]:
        now = trio.current_time()
        free = self._tools.exchange.free_slots
        # One whose slots are taken by other files is queued for, here: it is asked only when there is room.
        return {
            peer: Offer(None, max(1, free(peer.address)))
            for peer, source in self._sources.items()
            if source.busy_until <= now
        }

    async def _wait(self) -> None:
        soonest = min((source.busy_until for source in self._sources.values()), default=trio.current_time() + 1)
        now = trio.current_time()
        with trio.move_on_at(soonest if soonest > now else now + 1):
            await self._changed.park()

    async def _take(self, want: Want[Peer], manifest: Manifest) -> None:
        peer = want.peer
        start, end = manifest.span(want.index)
        exchange = self._tools.exchange
        async with exchange.slot(peer.address):
            if self._is_quiet(peer):
                self._sources.pop(peer, None)
            if peer not in self._sources:
                return
            try:
                async with exchange.ask(peer.address, AskPiece(self._id, want.index), end - start) as answer:
                    await self._judge(peer, want.index, manifest, answer)
            except Unavailable as error:
                if self._partial.error is error:
                    raise
                self._failed(peer, str(error))
            except RemoteProtocolError as error:
                self._lied(peer, f"piece {want.index}: {error}")

    async def _judge(self, peer: Peer, index: int, manifest: Manifest, answer: Answer) -> None:
        if answer.status == 503:
            self._refused(peer, answer.retry_after_s)
        elif answer.status != 200:
            # It was evicted there, or the node was started anew.
            self._sources.pop(peer, None)
        elif not await self._is_piece(manifest, index, answer.body):
            self._lied(peer, f"piece {index}: {len(answer.body)} bytes that its own manifest does not name")
        else:
            await self._keep(peer, manifest.span(index)[0], answer.body)
            self._missing.pop(index, None)

    async def _is_piece(self, manifest: Manifest, index: int, content: memoryview) -> bool:
        if len(content) <= INLINE_SIZE_BYTES_MAX:
            return manifest.matches(index, content)
        return await self._tools.threads.run(manifest.matches, index, content)

    async def _keep(self, peer: Peer, start: int, content: memoryview) -> None:
        if content:
            await self._partial.write(start, content, provisional=True)
        source = self._sources.get(peer)
        if source is not None:
            source.busy_since = None
        self._tools.counters.peer_bytes[str(peer.address)] += len(content)
        self._tools.peers.gave(peer, len(content), trio.current_time())

    # --- what becomes of a peer

    @property
    def _name(self) -> str:
        return self._partial.origin.filename

    def _is_quiet(self, peer: Peer) -> bool:
        return self._tools.peers.is_quiet(peer, trio.current_time())

    def _refused(self, peer: Peer, retry_after_s: float | None) -> None:
        now = trio.current_time()
        source = self._sources.get(peer)
        if source is None:
            return
        source.busy_since = source.busy_since if source.busy_since is not None else now
        pause_s = BUSY_PAUSE_S if retry_after_s is None else retry_after_s
        source.busy_until = now + pause_s * (0.5 + self._tools.dice.random())
        if source.busy_until - source.busy_since > self._tools.exchange.patience.no_progress_s:
            log.info("%s is too busy for %s", peer.address, self._name)
            self._sources.pop(peer, None)
            self._tools.peers.was_busy(peer, now)

    def _failed(self, peer: Peer, why: str) -> None:
        self._sources.pop(peer, None)
        if not self._is_quiet(peer):
            log.info("left %s alone: %s", peer.address, why, extra={"peer": str(peer.address), "file": self._name})
            self._tools.peers.failed(peer, why, trio.current_time())

    def _lied(self, peer: Peer, why: str) -> None:
        self._sources.pop(peer, None)
        refuse(self._tools, peer, self._sha256, self._name, why)


def refuse(tools: Tools, peer: Peer, sha256: Sha256, name: str, why: str) -> None:
    """A peer gave what no honest one gives: a strike for the file, a count, and the audit line: who, what, why."""
    if sha256 not in peer.distrusted:
        tools.peers.lied(peer, why, trio.current_time())
        tools.peers.distrust(peer, sha256)
    tools.counters.refused_pieces[str(peer.address)] += 1
    log.warning(
        "refused from %s: %s: %s",
        peer.address,
        name,
        why,
        extra={"peer": str(peer.address), "file": name, "sha256": sha256, "why": why, "strikes": peer.strikes},
    )


def missing_pieces(manifest: Manifest, ranges: Sequence[tuple[int, int]]) -> list[int]:
    """The pieces of which a byte is missing. A range that ends where it starts goes on to the end of the file."""
    piece = manifest.piece_size_bytes
    pieces: set[int] = set()
    for start, end in ranges:
        until = manifest.size_bytes if end == start else min(end, manifest.size_bytes)
        pieces.update(range(start // piece, -(-until // piece)))
    return sorted(pieces)
