"""The swarm: what a node has of its neighbours, and they of it. The only door of this room for the rooms above."""

from __future__ import annotations

import logging
import random
from collections import OrderedDict
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import trio

from p2pcdn.counters import Counters
from p2pcdn.digest import Sha256
from p2pcdn.errors import RemoteProtocolError, Unavailable
from p2pcdn.http1 import Request, Response
from p2pcdn.store import Partial, Store
from p2pcdn.swarm.directory import Directory
from p2pcdn.swarm.download import Download, Tools, refuse
from p2pcdn.swarm.exchange import Exchange, Patience
from p2pcdn.swarm.messages import HELLO_SIZE_BYTES_MAX, PROTOCOL_VERSION, AskHello, Hello
from p2pcdn.swarm.peers import ASKED_US, CONFIGURED, HELLO_EVERY_S, LOCAL, Peer, Peers, PeerStatus
from p2pcdn.swarm.provide import Provider
from p2pcdn.swarm.small import SmallReads
from p2pcdn.world import Announcement, Clock, Discovery, Network, Share, Sighting, Threads

log = logging.getLogger(__name__)

# Asked at once for one file. A room of thirty has it somewhere among these if many have it; the next issue knows who.
PEERS_ASKED_MAX = 16
# Hellos under way at once; the others wait, for a forged crowd costs time-outs.
GREETINGS_AT_ONCE = 32
# Hints between discovery and the table.
SIGHTINGS_WAITING_MAX = 256
# Files whose makers of manifests are remembered until the file is proven or not.
VOUCHERS_REMEMBERED = 1024
# How often idle connections are looked at.
TIDY_EVERY_S = 15.0


class Swarm:
    """Used on trio's thread. `run` finds neighbours; without it nobody is known and every `fill` ends at once."""

    def __init__(
        self,
        *,
        store: Store,
        network: Network,
        discoveries: Sequence[Discovery],
        clock: Clock,
        threads: Threads,
        random: random.Random,
        counters: Counters,
        static_peers: Sequence[Sighting],
        version: str,
        node_id: str = "",
        shares: Mapping[str, Share] = MappingProxyType({}),
        patience: Patience = Patience(),  # noqa: B008 - frozen
    ) -> None:
        """clock: unused now; pages signed by a group will carry times. node_id: shown to neighbours.

        shares: to whom each index's files may be given, by its key.
        """
        self._store = store
        self._discoveries = discoveries
        self._counters = counters
        self._static_peers = static_peers
        self._version = "".join(version.split()) or "0"
        self._boot = f"{random.getrandbits(128):032x}"
        self._node_id = node_id or self._boot[:16]
        self._directory = Directory()
        self._peers = Peers(self._boot, random)
        self._exchange = Exchange(network, patience)
        self._tools = Tools(self._exchange, self._peers, counters, threads, random)
        self._provider = Provider(store, threads, self._directory, self._hello, self._was_greeted, shares)
        self._small: SmallReads | None = None
        self._greeting: set[Peer] = set()
        self._due = trio.Event()
        self._port: int | None = None
        self._vouchers: OrderedDict[str, tuple[Sha256, str, list[Peer]]] = OrderedDict()

    async def run(self, *, peer_port: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Finds neighbours, greets them, and lets them find us, until it is cancelled."""
        self._port = peer_port
        self._store.on_kept = self._kept
        send, receive = trio.open_memory_channel[Sighting](SIGHTINGS_WAITING_MAX)
        announcement = Announcement(instance=self._boot, port=peer_port, group_tag="", version=self._version)
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._provider.run)
                self._small = SmallReads(self._tools, self._whom, nursery)
                for sighting in self._static_peers:
                    self._sight(sighting, CONFIGURED)
                nursery.start_soon(self._directory.read, self._store)
                nursery.start_soon(self._take_sightings, receive)
                nursery.start_soon(self._greet_all)
                nursery.start_soon(self._tidy)
                for discovery in self._discoveries:
                    nursery.start_soon(self._discover, discovery, announcement, send)
                task_status.started()
        finally:
            self._small = None
            with trio.CancelScope(shield=True):
                await self._exchange.close()

    # --- bytes

    async def fill(self, partial: Partial) -> None:
        """Fills what is missing from neighbours; a peer's bytes are provisional until the whole file is proven.

        Raises Unavailable where they do not have all of it (what came stays): at once where no neighbour is known,
        else after at most 3 s without progress. Raises StoreStopped.
        """
        if partial.sha256 is None:
            raise Unavailable(f"{partial.origin.filename} has no hash to ask neighbours for.")
        if partial.origin.share != "lan":
            # Even the question would tell strangers what this node reads.
            raise Unavailable(f"Neighbours are not asked for {partial.origin.filename}: it is not public.")
        peers = self._whom(partial.sha256)
        if not peers:
            raise Unavailable("No neighbour is known that could be asked.")
        size_bytes_max = self._store.summary().limit_bytes
        id_ = self._directory.id_of(partial.sha256)
        download = Download(partial, partial.sha256, id_, size_bytes_max, self._tools)
        try:
            await download.run(peers)
        finally:
            self._remember_vouchers(partial, partial.sha256, download.vouchers)

    async def read(self, sha256: Sha256, size_bytes_max: int) -> bytes | None:
        """A small blob from a neighbour, right by its sha256; None where none gives it within 3 s."""
        if self._small is None or not self._whom():
            return None
        return await self._small.read(sha256, self._directory.id_of(sha256), size_bytes_max)

    def distrust(self, partial: Partial) -> None:
        """The whole file's hash was wrong although every piece was as its manifest said: a strike for who made it."""
        sha256, name, vouchers = self._vouchers.pop(partial.attempt, (None, "", []))
        for peer in vouchers:
            if sha256 is not None:
                refuse(self._tools, peer, sha256, name, "its manifest is not that of this file")

    def _remember_vouchers(self, partial: Partial, sha256: Sha256, vouchers: dict[Peer, None]) -> None:
        if vouchers:
            self._vouchers[partial.attempt] = (sha256, partial.origin.filename, list(vouchers))
            if len(self._vouchers) > VOUCHERS_REMEMBERED:
                self._vouchers.popitem(last=False)

    def answer(self, request: Request) -> Response | Awaitable[Response]:
        """The peer face: what neighbours ask of us."""
        return self._provider.answer(request)

    def _kept(self, sha256: Sha256) -> None:
        self._provider.kept(sha256, soon_wanted=any(peer.living for peer in self._peers))

    # --- neighbours

    def peers(self) -> list[PeerStatus]:
        """Those that answered, were configured, or lied."""
        return self._peers.status(dict(self._counters.given_bytes), trio.current_time())

    def _whom(self, sha256: Sha256 | None = None) -> list[Peer]:
        return self._peers.to_ask(trio.current_time(), PEERS_ASKED_MAX, sha256)

    def _hello(self) -> Hello:
        return Hello(self._node_id, self._boot, self._version)

    def _was_greeted(self, host: str, port: int) -> None:
        """Somebody said hello and where it listens: a hint like any other."""
        self._sight(Sighting(host, port), ASKED_US)

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
            if sighting.gone:
                if replace(sighting, gone=False) not in self._static_peers:
                    self._peers.unname(sighting)
                continue
            self._sight(sighting, CONFIGURED if sighting.instance is None else LOCAL)

    async def _greet_all(self) -> None:
        at_once = trio.CapacityLimiter(GREETINGS_AT_ONCE)
        async with trio.open_nursery() as nursery:
            while True:
                now = trio.current_time()
                for peer in self._peers.to_greet(now):
                    if peer not in self._greeting:
                        self._greeting.add(peer)
                        nursery.start_soon(self._greet, peer, at_once)
                self._due = trio.Event()
                wait_s = self._peers.next_greeting(now, self._greeting) - now
                with trio.move_on_after(min(max(wait_s, 0.01), HELLO_EVERY_S)):
                    await self._due.wait()

    async def _greet(self, peer: Peer, at_once: trio.CapacityLimiter) -> None:
        try:
            async with at_once:
                await self._say_hello(peer)
        finally:
            self._greeting.discard(peer)
            self._due.set()

    async def _say_hello(self, peer: Peer) -> None:
        began = trio.current_time()
        patience_s = self._exchange.patience.no_progress_s
        try:
            with trio.fail_after(patience_s):
                async with self._exchange.ask(peer.address, AskHello(self._port), HELLO_SIZE_BYTES_MAX) as answer:
                    if answer.status != 200:
                        raise Unavailable(f"It answers hello with {answer.status}.")
                    hello = Hello.decode(bytes(answer.body))
            if hello.protocol != PROTOCOL_VERSION:
                raise Unavailable(
                    f"It speaks version {hello.protocol} of the protocol, and we speak {PROTOCOL_VERSION}."
                )
        except (Unavailable, trio.TooSlowError) as error:
            why = str(error) or f"It did not say hello within {patience_s:g} s."
            log.debug("no hello from %s: %s", peer.address, why)
            self._peers.failed(peer, why, trio.current_time())
            return
        except RemoteProtocolError as error:
            # Something listens there that is no node: it is left alone, but it has harmed nobody.
            self._peers.failed(peer, f"It does not speak our protocol: {error}.", trio.current_time())
            return
        new = peer.hello is None or peer.hello.boot != hello.boot
        now = trio.current_time()
        if self._peers.answered(peer, hello, now - began, now) and new:
            log.info("neighbour %s", peer.address, extra={"peer": str(peer.address), "source": peer.source})

    async def _tidy(self) -> None:
        while True:
            await trio.sleep(TIDY_EVERY_S)
            await self._exchange.tidy()
