"""The swarm: what a node has of its neighbours, and they of it. The only door of this room for the rooms above."""

from __future__ import annotations

import logging
import math
import random
from collections import OrderedDict
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import trio

from p2pcdn.counters import Counters
from p2pcdn.digest import Sha256
from p2pcdn.errors import P2pcdnError, RemoteProtocolError, Unavailable
from p2pcdn.group import Device, Identity
from p2pcdn.http1 import Handler, Request, Response
from p2pcdn.store import Origin, Partial, Store
from p2pcdn.swarm.advice import DISTRUSTED_MAKERS_MAX, Advice, AskCrowd
from p2pcdn.swarm.attendance import Attendance, Place, seen_from
from p2pcdn.swarm.belief import Belief
from p2pcdn.swarm.claims import Claims
from p2pcdn.swarm.directory import Directory
from p2pcdn.swarm.download import Download
from p2pcdn.swarm.exchange import Exchange, Patience
from p2pcdn.swarm.manifest import Manifest, Proof, cutting
from p2pcdn.swarm.manifests import make_manifest
from p2pcdn.swarm.manners import Manners
from p2pcdn.swarm.meeting import Meeting, is_sealed
from p2pcdn.swarm.messages import (
    HELLO_SIZE_BYTES_MAX,
    PEERS_SIZE_BYTES_MAX,
    PROTOCOL_VERSION,
    AskHello,
    AskPeers,
    Hello,
    Known,
    decode_peers,
)
from p2pcdn.swarm.nearby import Nearby
from p2pcdn.swarm.peers import ASKED_US, CONFIGURED, HELLO_EVERY_S, LOCAL, PEERS_MAX, Peer, Peers, PeerStatus
from p2pcdn.swarm.provide import Provider
from p2pcdn.swarm.reading import ReadOrigin
from p2pcdn.swarm.resolutions import Resolutions
from p2pcdn.swarm.sharing import Sharing
from p2pcdn.swarm.small import SmallReads
from p2pcdn.swarm.tools import Tools, refuse
from p2pcdn.swarm.tracker import Tracker, ranked
from p2pcdn.world import Announcement, Clock, Discovery, Network, Share, Sighting, Threads

log = logging.getLogger(__name__)

# Asked at once whether they hold a file: a room of seventeen whole, of a larger one some.
PEERS_ASKED_MAX = 16
# Hellos under way at once; the others wait, for a forged crowd costs time-outs.
GREETINGS_AT_ONCE = 32
# Hints between discovery and the table.
SIGHTINGS_WAITING_MAX = 256
# Downloads of which is remembered on whose word they stand, until the file is proven or not.
DOWNLOADS_REMEMBERED = 64
# Nodes that are asked whom they know when they are first met; then one of them, soon again while it names new ones, so
# that a room in which each hears of a few agrees on who there is (and on its trackers) within seconds; then so often.
FIRST_ASKED_FOR_PEERS = 3
ASK_FOR_PEERS_SOON_S, ASK_FOR_PEERS_EVERY_S = 0.5, 20.0
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
        identity: Identity | None = None,
        piece_size_bytes: int | None = None,
        origin_readers: int = 1,
        manners: Manners = Manners(),  # noqa: B008 - frozen
        patience: Patience = Patience(),  # noqa: B008 - frozen
    ) -> None:
        """node_id: shown to neighbours. shares: to whom each index's files may be given, by its key.

        identity: None draws a device key for this run, in open mode. piece_size_bytes: see `Settings`.
        origin_readers: how many nodes may read an origin at once. manners: how much is given at the start; see `mind`.
        """
        self._store = store
        self._discoveries = discoveries
        self._counters = counters
        self._static_peers = static_peers
        self._version = "".join(version.split()) or "0"
        self._boot = f"{random.getrandbits(128):032x}"
        self._node_id = node_id or self._boot[:16]
        self._identity = identity or Identity(Device.from_seed(random.randbytes(32)))
        self._manners = manners
        self._origin_readers = origin_readers
        self._directory = Directory(self._identity.lookup_key)
        self._peers = Peers(self._boot, random)
        self._meeting = Meeting(self._identity, random) if self._identity.group is not None else None
        self._exchange = Exchange(network, patience, self._meeting)
        cut = cutting(piece_size_bytes)
        self._tools = Tools(self._exchange, self._peers, counters, threads, random, self._identity, cut, self._meet)
        self._tracker = Tracker()
        self._provider = Provider(
            store,
            self._directory,
            self._hello,
            self._was_greeted,
            self._advise,
            self._known,
            shares,
            self._tools,
            manners,
        )
        # The one that has a page may be anybody, so all are asked.
        everybody = partial(self._whom, most=PEERS_MAX)
        self.claims = Claims(self._tools, everybody, self._identity, clock)
        self.resolutions = Resolutions(self._tools, everybody, self._identity, clock)
        self.nearby = Nearby(
            self._tools,
            everybody,
            store,
            id_of=self._directory.id_of,
            gives=self._provider.may_share,
            grouped=self._identity.group is not None,
            pages=self.claims.count,
        )
        # The peer face: what neighbours ask of us; in a group what members ask, and over TLS.
        self.answer: Handler = self._answer if self._meeting is None else self._meeting.door.guard(self._answer)
        self.answer_sealed = None if self._meeting is None else self._meeting.sealed_door.guard(self._answer)
        self._small: SmallReads | None = None
        self._greeting: set[Peer] = set()
        self._due = trio.Event()
        self._port: int | None = None
        self._sealed_port = 0
        self._running: trio.Nursery | None = None
        self._asked_for_peers = 0
        self._downloads: OrderedDict[str, tuple[Download, Sharing]] = OrderedDict()  # by the partial's attempt
        self._suspects: dict[Sha256, tuple[Belief, dict[int, Proof]]] = {}
        self._wrong_makers: OrderedDict[Sha256, dict[bytes, None]] = OrderedDict()

    async def run(
        self, *, peer_port: int, sealed_port: int = 0, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Finds neighbours, greets them, and lets them find us, until it is cancelled.

        sealed_port: where `answer_sealed` answers, 0 where it does not.
        """
        self._port, self._sealed_port = peer_port, sealed_port
        self._store.on_kept = self._kept
        send, receive = trio.open_memory_channel[Sighting](SIGHTINGS_WAITING_MAX)
        announcement = Announcement(
            instance=self._boot, port=peer_port, group_tag=self._identity.tag, version=self._version
        )
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
                nursery.start_soon(self._hear_of_others)
                self._running = nursery
                for discovery in self._discoveries:
                    nursery.start_soon(self._discover, discovery, announcement, send)
                task_status.started()
        finally:
            self._small = self._running = None
            with trio.CancelScope(shield=True):
                await self._exchange.close()

    # --- bytes

    async def fill(
        self, partial: Partial, read_origin: ReadOrigin | None = None, *, wire_bytes_s: float | None = None
    ) -> None:
        """Fills what is missing: from the room, and from the origin when it is this node's turn to read it.

        A peer's bytes are provisional until the whole file is proven. wire_bytes_s: how fast this node's wire to the
        origin was, where that is known: a room that stays far behind it is helped. Raises Unavailable where the room
        does not have all of it (what came stays): at once where there is none and no origin, after at most 3 s without
        progress; StoreStopped; and what `read_origin` raised.
        """
        sha256, origin = partial.sha256, partial.origin
        if sha256 is None:
            raise Unavailable(f"{origin.filename} has no hash to ask neighbours for.")
        if not self.may_ask_for(origin):
            # Even the question would tell strangers what this node reads.
            raise Unavailable(f"Neighbours are not asked for {origin.filename}: it is not public.")
        peers = self._whom(sha256)
        if self._port is None or self._running is None or not (peers or read_origin):
            raise Unavailable("No neighbour is known that could be asked.")
        id_ = self._directory.id_of(sha256)
        sharing = Sharing(partial, sha256, id_, self._tools.cutting)
        download = Download(
            sharing,
            Attendance(id_, self._exchange, self._tracker, self._ranks),
            read_origin,
            self._tools,
            boot=self._boot,
            port=self._port,
            size_bytes_max=self._store.summary().limit_bytes,
            gives=lambda: self._manners.prefers_to_give,
            on_air=self._manners.on_air,
            readers=self._origin_readers,
            wire_bytes_s=wire_bytes_s,
            distrusted_makers=tuple(self._wrong_makers.get(sha256, ())),
        )
        self._remember(partial, download, sharing)
        self._provider.share(sharing)
        try:
            await download.run(peers)
        except BaseException:
            self._provider.unshare(sharing)
            raise
        self._running.start_soon(download.tell_that_all_is_here)

    def may_ask_for(self, origin: Origin) -> bool:
        return origin.share == "lan" or (origin.share == "group" and self._identity.group is not None)

    async def read(self, sha256: Sha256, size_bytes_max: int, share: Share = "lan") -> bytes | None:
        """A small blob from a neighbour, right by its sha256; None where none gives it within 3 s.

        share: of its index; what only the group may have is asked for over TLS.
        """
        if self._small is None or not self._whom():
            return None
        return await self._small.read(sha256, self._directory.id_of(sha256), size_bytes_max, sealed=share == "group")

    def distrust(self, partial: Partial) -> None:
        """The whole file's hash was wrong although every piece was as its maker said: nobody takes his word again."""
        remembered = self._downloads.pop(partial.attempt, None)
        if remembered is None:
            return
        download, sharing = remembered
        self._provider.unshare(sharing)
        belief = download.belief
        makers = self._wrong_makers.setdefault(sharing.sha256, {})
        makers.update(belief.makers)
        makers.pop(self._identity.device.public, None)
        while len(makers) > DISTRUSTED_MAKERS_MAX:
            makers.pop(next(iter(makers)))
        while len(self._wrong_makers) > DOWNLOADS_REMEMBERED:
            self._wrong_makers.popitem(last=False)
        for peer, maker in belief.vouchers.items():
            if belief.named.get(maker) in (None, peer):  # others only passed it on
                refuse(self._tools, peer, sharing.sha256, partial.origin.filename, "its manifest is not of this file")
        if len(belief.makers) == 1:
            self._refuse_makers(partial.origin.filename, sharing.sha256, belief.named, list(belief.makers))
        else:
            # Which of them lied, the right file will tell: its pieces do not fit what the liar signed.
            self._suspects[sharing.sha256] = (belief, dict(sharing.proofs))
            if len(self._suspects) > DOWNLOADS_REMEMBERED:
                self._suspects.pop(next(iter(self._suspects)))

    def _refuse_makers(
        self, filename: str, sha256: Sha256, named: Mapping[bytes, Peer | None], makers: Sequence[bytes]
    ) -> None:
        for maker in makers:
            liar = named.get(maker)
            if liar is not None:
                refuse(self._tools, liar, sha256, filename, "it signed pieces of another file")
            else:
                log.warning(
                    "refused the word of %s: %s: its pieces are not those of this file",
                    maker.hex()[:16],
                    filename,
                    extra={"device": maker.hex(), "file": filename, "sha256": sha256},
                )

    async def _convict(self, sha256: Sha256) -> None:
        """The right file has come: whoever signed another piece of it has lied."""
        belief, proofs = self._suspects.pop(sha256)
        blob = self._store.blob(sha256, mark=False)
        if blob is None:
            return
        try:
            manifest = await make_manifest(blob, self._tools.threads, self._tools.cutting)
        except (P2pcdnError, OSError) as error:
            log.debug("nobody was convicted: %s", error)
            return
        # A tenth of a millisecond for each: a large file's would stop the loop.
        liars = await self._tools.threads.run(_liars, proofs, manifest)
        self._refuse_makers(blob.origin.filename, sha256, belief.named, liars)

    def _remember(self, partial: Partial, download: Download, sharing: Sharing) -> None:
        self._downloads[partial.attempt] = (download, sharing)
        if len(self._downloads) > DOWNLOADS_REMEMBERED:
            self._downloads.popitem(last=False)

    def _answer(self, request: Request) -> Response | Awaitable[Response]:
        if not self._manners.slots:
            return self._provider.answer(request)  # a metered link gives nothing to anybody
        return (
            self.claims.answer(request, sealed=is_sealed(request))
            or self.resolutions.answer(request, sealed=is_sealed(request))
            or self.nearby.answer(request)
            or self._provider.answer(request)
        )

    def mind(self, manners: Manners) -> None:
        """From now on: the machine has changed its link, or its plug was pulled."""
        self._manners = manners
        self._provider.mind(manners)

    def _kept(self, sha256: Sha256) -> None:
        if sha256 in self._suspects and self._running is not None:
            self._running.start_soon(self._convict, sha256)
        self._provider.kept(sha256, soon_wanted=any(peer.living for peer in self._peers))

    # --- neighbours

    def peers(self) -> list[PeerStatus]:
        """Those that answered, were configured, or lied."""
        return self._peers.status(dict(self._counters.given_bytes), trio.current_time())

    def _whom(self, sha256: Sha256 | None = None, most: int = PEERS_ASKED_MAX) -> list[Peer]:
        return self._peers.to_ask(trio.current_time(), most, sha256)

    def _ranks(self, id_: str) -> list[Peer | None]:
        """The room in the order in which its nodes are this file's tracker; None stands for ourselves."""
        members: dict[str, Peer | None] = {
            peer.boot: peer for peer in self._peers.members(trio.current_time()) if peer.boot is not None
        }
        members[self._boot] = None
        return [members[boot] for boot in ranked(id_, members)]

    def _advise(self, ask: AskCrowd, address: str) -> Advice:
        """Our answer as a tracker; or who in our eyes is it, where nobody has asked us for this file before."""
        if not self._tracker.knows(ask.id):
            first = self._ranks(ask.id)[0]
            if first is not None and first.living and first.boot != ask.boot:
                return Advice(elsewhere=str(first.address))
        return self._tracker.advise(ask, address, trio.current_time())

    def _known(self) -> list[Known]:
        """Whom we may name to others, those first that answered us last."""
        now = trio.current_time()
        ages = {
            peer: now - max(peer.heard_at, peer.last_seen if peer.last_seen is not None else -math.inf)
            for peer in self._peers.members(now)
        }
        named = sorted((peer for peer in ages if peer.boot is not None), key=lambda peer: ages[peer])
        return [Known(peer.boot or "", str(peer.address), int(ages[peer])) for peer in named]

    async def _hear_of_others(self) -> None:
        """Asks a neighbour now and then whom it knows: so that one `--peer` is enough to find the room."""
        pause_s = ASK_FOR_PEERS_SOON_S
        while True:
            await trio.sleep(pause_s * (0.5 + self._tools.dice.random()))
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
        now = trio.current_time()
        for one in known:
            address = seen_from(one.address, Place(peer.address))
            if one.boot != self._boot and address is not None:
                self._peers.told(one.boot, address, float(one.age_s), now)
        self._due.set()

    def _hello(self) -> Hello:
        return Hello(self._node_id, self._boot, self._version, tag=self._identity.tag, sealed_port=self._sealed_port)

    def _was_greeted(self, host: str, port: int, boot: str | None) -> None:
        """Somebody said hello and where it listens: a hint like any other."""
        self._sight(Sighting(host, port, boot), ASKED_US)

    def _meet(self, peer: Peer) -> None:
        """Somebody of whom we only heard is to say hello now."""
        if peer.hello is None and not peer.down:
            peer.ask_at = min(peer.ask_at, trio.current_time())
            self._due.set()

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
        elif replace(sighting, gone=False) not in self._static_peers:
            self._peers.unname(sighting)

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
            if hello.tag != self._identity.tag:
                raise Unavailable("It belongs to another group." if hello.tag else "It belongs to no group, and we do.")
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
            if self._asked_for_peers < FIRST_ASKED_FOR_PEERS:
                self._asked_for_peers += 1
                await self._ask_for_peers(peer)

    async def _tidy(self) -> None:
        while True:
            await trio.sleep(TIDY_EVERY_S)
            await self._exchange.tidy()


def _liars(proofs: Mapping[int, Proof], manifest: Manifest) -> list[bytes]:
    """Whoever signed a piece that is none of this file."""
    return sorted(
        {
            proof.maker
            for index, proof in proofs.items()
            if index >= manifest.pieces or not proof.holds_for_piece(manifest.hash_of(index))
        }
    )
