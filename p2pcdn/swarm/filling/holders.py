"""Who has the whole file: its manifest is asked of many, and the one for which most vouch is adopted."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import trio

from p2pcdn.errors import RemoteProtocolError
from p2pcdn.swarm.filling.belief import Belief
from p2pcdn.swarm.filling.sources import BUSY_PAUSE_S, Sources
from p2pcdn.swarm.neighbours.peer import Peer
from p2pcdn.swarm.pieces.manifest import Manifest, Proof
from p2pcdn.swarm.pieces.sharing import Sharing
from p2pcdn.swarm.pieces.tools import Tools
from p2pcdn.swarm.wire.messages import MANIFEST_SIZE_BYTES_MAX, PROOF, AskManifest

log = logging.getLogger(__name__)

# After the first manifest others are waited for as long again, and at least so long: most of a room answers at once.
SECOND_OPINION_S = 0.01
# Before the origin is read, each neighbour has so long to say that it holds the file: a hundred times what it needs,
# for its machine may be busy with the same install.
HOLD_OFF_S = 0.5


class Holders:
    """One download's. Its questions run in tasks of the download; whoever holds the file joins the sources."""

    def __init__(self, sharing: Sharing, sources: Sources, belief: Belief, tools: Tools, size_bytes_max: int) -> None:
        """size_bytes_max: where the index names no size, a neighbour's word is believed up to this."""
        self._sharing = sharing
        self._sources = sources
        self._belief = belief
        self._tools = tools
        self._size_bytes_max = size_bytes_max
        self._began = trio.current_time()
        self._offered: dict[bytes, dict[Peer, Proof | None]] = {}
        self._asked_at: dict[Peer, float] = {}  # those that owe an answer
        self._choosing = False  # manifests came, and none is chosen yet
        self._without: set[Peer] = set()  # those that say that they do not have it
        self.asking = 0
        self._news = trio.lowlevel.ParkingLot()  # where `choose` waits: each piece that comes is none of its business

    def undecided(self, now: float) -> bool:
        """Whether somebody may still turn out to hold the file, or a manifest waits to be chosen."""
        return self._choosing or (self.asking > 0 and self._may_yet_answer(now))

    def says_no(self, peer: Peer) -> bool:
        """Whether it has told that it does not have the file; or is not listened to, whatever it tells."""
        return peer in self._without or peer.banned or self._sharing.sha256 in peer.distrusted

    def asks(self, peers: Sequence[Peer]) -> list[Callable[[], Awaitable[None]]]:
        """A task for each of these; they count as asked from now on."""
        self.asking += len(peers)
        return [_bound(self._ask, peer) for peer in peers]

    async def ask(self, peer: Peer) -> None:
        """Asks one that says that it has the file."""
        self.asking += 1
        await self._ask(peer)

    async def choose(self) -> None:
        """Adopts the manifest for which most vouch, shortly after the first came; and anew when it was disowned."""
        sharing = self._sharing
        while True:
            while sharing.manifest is not None or not self._offered:
                await self._news.park()
            with trio.move_on_after(min(HOLD_OFF_S, max(SECOND_OPINION_S, trio.current_time() - self._began))):
                while self.asking:
                    await self._news.park()
            if self._offered:
                self._adopt_best()
            self._choosing = False

    def doubt(self, doubted: Collection[bytes]) -> None:
        """Manifests that only these devices signed do not count any more; one that another signed, too, stays."""
        for content, peers in list(self._offered.items()):
            for peer, proof in list(peers.items()):
                if proof is None or proof.maker in doubted:
                    del peers[peer]
            if not peers:
                del self._offered[content]
        sharing, proof = self._sharing, self._sharing.manifest_proof
        if sharing.manifest is None or (proof is not None and proof.maker not in doubted):
            return
        left = self._offered.get(sharing.manifest.encode(), {})
        self._belief.vouchers.clear()
        if left:
            self._stand_by(left)
        else:
            self._belief.disown()
            self._choosing = bool(self._offered)
            sharing.changed.unpark_all()
            self._news.unpark_all()

    def _adopt_best(self) -> None:
        sharing = self._sharing
        most = max(map(len, self._offered.values()))
        content = self._tools.dice.choice([one for one, peers in self._offered.items() if len(peers) == most])
        manifest = Manifest.decode(sharing.sha256, content, self._tools.cutting)
        peers = self._offered[content]
        if sharing.cut not in (None, manifest.cut):
            del self._offered[content]  # the crowd began with another size; its pieces prove themselves
            return
        sharing.adopt(manifest)
        self._sources.keep_only(peers)
        self._stand_by(peers)

    def _stand_by(self, peers: Mapping[Peer, Proof | None]) -> None:
        """These vouch for the manifest that we have adopted."""
        self._sharing.manifest_proof = proof = next((one for one in peers.values() if one is not None), None)
        if proof is not None:
            self._belief.makers[proof.maker] = None
        for peer, own in peers.items():
            self._join(peer, own)

    # --- below

    def _may_yet_answer(self, now: float) -> bool:
        """Whether one of the asked has still time to answer, or has not even been asked."""
        if now - self._began > self._tools.exchange.patience.no_progress_s:
            return False
        owing = self._asked_at.values()
        return len(owing) < self.asking or any(now - asked_at < HOLD_OFF_S for asked_at in owing)

    async def _ask(self, peer: Peer) -> None:
        patience_s = self._tools.exchange.patience.no_progress_s
        try:
            with trio.move_on_after(patience_s) as patience:
                with self._sources.blamed(peer, "manifest"):
                    await self._ask_and_take(peer)
            if patience.cancelled_caught:
                if trio.current_time() - self._asked_at.get(peer, math.inf) >= patience_s / 2:
                    self._sources.failed(peer, "no manifest in time", silent=True)
                else:
                    # It makes manifests, or most of the time went by in our own queue.
                    log.info("%s needs too long for a manifest of %s", peer.address, self._sources.name)
                    self._tools.peers.was_busy(peer, trio.current_time())
        finally:
            self.asking -= 1
            self._asked_at.pop(peer, None)
            self._sharing.changed.unpark_all()
            self._news.unpark_all()

    async def _ask_and_take(self, peer: Peer) -> None:
        exchange = self._tools.exchange
        while True:
            async with exchange.question(peer.address):
                if self._sources.is_quiet(peer) or not self._sources.is_reachable(peer):
                    if peer.hello is not None and not peer.down:
                        self._without.add(peer)  # it has no door for this file
                    return
                question = AskManifest(self._sharing.id)
                self._asked_at[peer] = trio.current_time()
                port = self._sources.port_of(peer)
                async with exchange.ask(peer.address, question, MANIFEST_SIZE_BYTES_MAX, sealed_port=port) as answer:
                    if answer.status == 200:
                        self._offer(peer, bytes(answer.body), answer.headers.get(PROOF, ""))
                        return
                    status, retry_after_s = answer.status, answer.retry_after_s
            self._asked_at.pop(peer, None)
            if status != 503:
                self._without.add(peer)
                return
            await trio.sleep(BUSY_PAUSE_S if retry_after_s is None else retry_after_s)

    def _offer(self, peer: Peer, content: bytes, word: str) -> None:
        """Takes a manifest in. Raises RemoteProtocolError where it or its proof is none."""
        sharing = self._sharing
        manifest = Manifest.decode(sharing.sha256, content, self._tools.cutting)
        known = sharing.partial.size_bytes
        if known is not None and manifest.size_bytes != known:
            raise RemoteProtocolError(f"it says {manifest.size_bytes} bytes, and the file has {known}")
        if known is None and manifest.size_bytes > self._size_bytes_max:
            log.info("%s says that %s has %d bytes, too many", peer.address, self._sources.name, manifest.size_bytes)
            return
        proof = self._belief.takes_manifest(content, word)
        if proof is not None and proof.maker in self._belief.distrusted:
            return
        self._tools.peers.is_there(peer, trio.current_time())
        self._choosing = self._choosing or not self._offered
        self._offered.setdefault(content, {})[peer] = proof
        if sharing.manifest is not None and content == sharing.manifest.encode():
            self._join(peer, proof)
        sharing.changed.unpark_all()
        self._news.unpark_all()

    def _join(self, peer: Peer, proof: Proof | None) -> None:
        self._belief.vouchers[peer] = b"" if proof is None else proof.maker
        self._sources.add(peer)


def _bound(ask: Callable[[Peer], Awaitable[None]], peer: Peer) -> Callable[[], Awaitable[None]]:
    return lambda: ask(peer)
