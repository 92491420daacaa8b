"""Finding neighbours: what discovery sees, hello to each, and whom they know in turn."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Sequence
from contextlib import suppress

import trio

from p2pcdn.errors import RemoteProtocolError, Unanswered, Unavailable
from p2pcdn.swarm.neighbours.attendance import Place, seen_from
from p2pcdn.swarm.neighbours.exchange import Exchange
from p2pcdn.swarm.neighbours.peer import ASKED_US, CONFIGURED, LOCAL, Peer
from p2pcdn.swarm.neighbours.peers import HELLO_EVERY_S, Peers
from p2pcdn.swarm.wire.messages import (
    HELLO_SIZE_BYTES_MAX,
    PEERS_SIZE_BYTES_MAX,
    PROTOCOL_VERSION,
    AskHello,
    AskPeers,
    Hello,
    Known,
    decode_peers,
)
from p2pcdn.world import Announcement, Discovery, Sighting

log = logging.getLogger(__name__)

# Hellos under way at once; the others wait, for a forged crowd costs time-outs. So many to those of whom only rumour
# speaks, and as many to all others, who do not wait behind a crowd of nobodies.
GREETINGS_AT_ONCE = 32
# Who is only rumour has so long to say hello the first time, and twice as long each time after it.
RUMOUR_PATIENCE_S = 0.5
# Hints between discovery and the table.
SIGHTINGS_WAITING_MAX = 256
# Nodes that are asked whom they know when they are first met; then one of them, soon again while it names new ones, so
# that a room in which each hears of a few agrees on who there is (and on its trackers) within seconds; then so often.
FIRST_ASKED_FOR_PEERS = 3
ASK_FOR_PEERS_SOON_S, ASK_FOR_PEERS_EVERY_S = 0.5, 20.0


class Greetings:
    """Keeps the table of peers filled. Used on trio's thread."""

    def __init__(
        self,
        peers: Peers,
        exchange: Exchange,
        dice: random.Random,
        discoveries: Sequence[Discovery],
        static_peers: Sequence[Sighting],
        *,
        boot: str,
        tag: str,
    ) -> None:
        """boot: our boot id. tag: of our group, empty in open mode."""
        self._peers = peers
        self._exchange = exchange
        self._dice = dice
        self._discoveries = discoveries
        self._static_peers = static_peers
        self._boot = boot
        self._tag = tag
        self._port: int | None = None
        self._greeting: set[Peer] = set()
        self._due = trio.Event()
        self._asked_for_peers = 0
        # Else whoever was silent once is down until some other hello is due: half a minute, not two seconds.
        peers.on_failed = lambda: self._due.set()

    def start(self, announcement: Announcement, nursery: trio.Nursery) -> None:
        """Finds neighbours and greets them, and lets them find us, in tasks of this nursery."""
        self._port = announcement.port
        send, receive = trio.open_memory_channel[Sighting](SIGHTINGS_WAITING_MAX)
        for sighting in self._static_peers:
            self._sight(sighting, CONFIGURED)
        nursery.start_soon(self._take_sightings, receive)
        nursery.start_soon(self._greet_all)
        nursery.start_soon(self._hear_of_others)
        for discovery in self._discoveries:
            nursery.start_soon(self._discover, discovery, announcement, send)

    def known(self) -> list[Known]:
        """Whom we may name to others, those first that answered us last."""
        now = trio.current_time()
        ages = {
            peer: now - max(peer.heard_at, peer.last_seen if peer.last_seen is not None else -math.inf)
            for peer in self._peers.members(now)
        }
        named = sorted((one for one in ages if one.boot is not None), key=lambda one: (not one.living, ages[one]))
        return [Known(peer.boot or "", str(peer.address), int(ages[peer])) for peer in named]

    def was_greeted(self, host: str, port: int, boot: str | None) -> None:
        """Somebody said hello and where it listens: a hint like any other."""
        self._sight(Sighting(host, port, boot), ASKED_US)

    def meet(self, peer: Peer) -> None:
        """Somebody of whom we only heard is to say hello now."""
        if peer.hello is None and not peer.down:
            peer.ask_at = min(peer.ask_at, trio.current_time())
            self._due.set()

    # --- below

    def _sight(self, sighting: Sighting, source: str) -> None:
        peer = self._peers.sight(sighting, source, trio.current_time())
        if peer is not None and peer.ask_at <= trio.current_time():
            self._due.set()

    async def _discover(
        self, discovery: Discovery, announcement: Announcement, found: trio.MemorySendChannel[Sighting]
    ) -> None:
        try:
            await discovery.run(announcement, found.clone())
        except Exception:
            log.exception("%s stopped looking for neighbours", type(discovery).__name__)

    async def _take_sightings(self, found: trio.MemoryReceiveChannel[Sighting]) -> None:
        async for sighting in found:
            self._take_sighting(sighting)
            with suppress(trio.WouldBlock):
                while True:  # as many as are here: a room is found in handfuls
                    self._take_sighting(found.receive_nowait())

    def _take_sighting(self, sighting: Sighting) -> None:
        if not sighting.gone:
            self._sight(sighting, CONFIGURED if sighting.instance is None else LOCAL)
        elif sighting._replace(gone=False) not in self._static_peers:
            self._peers.unname(sighting)

    async def _greet_all(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                now = trio.current_time()
                due = self._peers.to_greet(now)
                for peer in self._next_of(due):
                    self._greeting.add(peer)
                    nursery.start_soon(self._greet, peer)
                self._due = trio.Event()
                wait_s = self._peers.next_greeting(now, self._greeting.union(due)) - now
                with trio.move_on_after(min(max(wait_s, 0.01), HELLO_EVERY_S)):
                    await self._due.wait()

    def _next_of(self, due: Sequence[Peer]) -> list[Peer]:
        """Those of them for whom there is room."""
        waiting = [peer for peer in due if peer not in self._greeting]
        busy = sum(peer.rumoured for peer in self._greeting)
        rumoured = [peer for peer in waiting if peer.rumoured][: max(0, GREETINGS_AT_ONCE - busy)]
        others = GREETINGS_AT_ONCE - (len(self._greeting) - busy)
        return [peer for peer in waiting if not peer.rumoured][: max(0, others)] + rumoured

    async def _greet(self, peer: Peer) -> None:
        try:
            await self._say_hello(peer)
        finally:
            self._greeting.discard(peer)
            self._due.set()

    async def _say_hello(self, peer: Peer) -> None:
        began = trio.current_time()
        patience_s = self._exchange.patience.no_progress_s
        if peer.rumoured:
            patience_s = min(patience_s, RUMOUR_PATIENCE_S * 2 ** min(peer.failures, 20))
        try:
            with trio.fail_after(patience_s):
                async with self._exchange.ask(
                    peer.address, AskHello(self._port, self._boot), HELLO_SIZE_BYTES_MAX
                ) as answer:
                    if answer.status == 403:
                        raise Unavailable("It speaks to members of its group only.")
                    if answer.status != 200:
                        raise Unavailable(f"It answers hello with {answer.status}.")
                    hello = Hello.decode(bytes(answer.body))
            if hello.protocol != PROTOCOL_VERSION:
                raise Unavailable(
                    f"It speaks version {hello.protocol} of the protocol, and we speak {PROTOCOL_VERSION}."
                )
            if hello.tag != self._tag:
                raise Unavailable("It belongs to another group." if hello.tag else "It belongs to no group, and we do.")
        except (Unavailable, trio.TooSlowError) as error:
            why = str(error) or f"It did not say hello within {patience_s:g} s."
            log.debug("no hello from %s: %s", peer.address, why)
            self._peers.failed(peer, why, trio.current_time(), silent=isinstance(error, Unanswered | trio.TooSlowError))
            return
        except RemoteProtocolError as error:
            # Something listens there that is no node: it is left alone, but it has harmed nobody.
            self._peers.failed(peer, f"It does not speak our protocol: {error}.", trio.current_time())
            return
        new = peer.hello is None or peer.hello.boot != hello.boot
        now = trio.current_time()
        if self._peers.answered(peer, hello, now - began, now) and new:
            log.info("neighbour %s", peer.address, extra={"peer": str(peer.address), "source": peer.source})
            if self._asked_for_peers < FIRST_ASKED_FOR_PEERS:
                self._asked_for_peers += 1
                await self._ask_for_peers(peer)

    async def _hear_of_others(self) -> None:
        """Asks a neighbour now and then whom it knows: so that one `--peer` is enough to find the room."""
        pause_s = ASK_FOR_PEERS_SOON_S
        while True:
            await trio.sleep(pause_s * (0.5 + self._dice.random()))
            known = len(self._peers)
            for peer in self._peers.to_ask(trio.current_time(), 1):
                await self._ask_for_peers(peer)
            pause_s = ASK_FOR_PEERS_SOON_S if len(self._peers) > known else ASK_FOR_PEERS_EVERY_S

    async def _ask_for_peers(self, peer: Peer) -> None:
        try:
            with trio.fail_after(self._exchange.patience.no_progress_s):
                async with self._exchange.ask(peer.address, AskPeers(), PEERS_SIZE_BYTES_MAX) as answer:
                    known = decode_peers(bytes(answer.body)) if answer.status == 200 else []
        except (Unavailable, RemoteProtocolError, trio.TooSlowError) as error:
            log.debug("%s does not say whom it knows: %s", peer.address, error)
            return
        now, place = trio.current_time(), Place(peer.address)
        for one in known:
            address = seen_from(one.address, place)
            if one.boot != self._boot and address is not None:
                self._peers.told(one.boot, address, float(one.age_s), now)
        self._due.set()
