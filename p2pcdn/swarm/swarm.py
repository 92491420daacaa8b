"""The swarm: what a node has of its neighbours, and they of it. The only door of this room for the rooms above."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import trio

from p2pcdn.counters import Counters
from p2pcdn.digest import Sha256
from p2pcdn.errors import Unanswered, Unavailable
from p2pcdn.group import Device, Identity
from p2pcdn.http1 import Handler, Request, Response
from p2pcdn.store import Origin, Partial, Store
from p2pcdn.swarm.advising.tracker import Tracker, ranked
from p2pcdn.swarm.filling.convictions import Convictions
from p2pcdn.swarm.filling.download import Download
from p2pcdn.swarm.filling.reading import ReadOrigin
from p2pcdn.swarm.filling.small import SmallReads
from p2pcdn.swarm.giving.directory import Directory
from p2pcdn.swarm.giving.manners import Manners
from p2pcdn.swarm.giving.provide import Provider
from p2pcdn.swarm.group.claims import Claims
from p2pcdn.swarm.group.holding import OwnHolding
from p2pcdn.swarm.group.nearby import Nearby
from p2pcdn.swarm.group.resolutions import Resolutions
from p2pcdn.swarm.neighbours.attendance import Absent, Attendance, Place, seen_from
from p2pcdn.swarm.neighbours.exchange import Exchange, Patience
from p2pcdn.swarm.neighbours.greetings import Greetings
from p2pcdn.swarm.neighbours.meeting import Meeting, is_sealed
from p2pcdn.swarm.neighbours.peer import Peer, PeerStatus
from p2pcdn.swarm.neighbours.peers import PEERS_MAX, Peers
from p2pcdn.swarm.neighbours.silence import heard_again
from p2pcdn.swarm.pieces.manifest import cutting
from p2pcdn.swarm.pieces.sharing import Sharing
from p2pcdn.swarm.pieces.tools import Tools
from p2pcdn.swarm.wire.advice import Advice, AskCrowd, Reader
from p2pcdn.swarm.wire.messages import Hello
from p2pcdn.world import Announcement, Clock, Discovery, Network, Share, Sighting, Threads

log = logging.getLogger(__name__)

# Asked at once whether they hold a file: a room of seventeen whole, of a larger one some.
PEERS_ASKED_MAX = 16
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
        self._counters = counters
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
        self._greetings = Greetings(
            self._peers,
            self._exchange,
            random,
            discoveries,
            static_peers,
            boot=self._boot,
            tag=self._identity.tag,
        )
        cut, meet = cutting(piece_size_bytes), self._greetings.meet
        self._tools = Tools(self._exchange, self._peers, counters, threads, random, self._identity, cut, meet)
        self._tracker, self._absent = Tracker(), Absent()
        self._provider = Provider(
            store,
            self._directory,
            self._hello,
            self._greetings.was_greeted,
            self._advise,
            self._greetings.known,
            shares,
            self._tools,
            manners,
        )
        # The one that has a page may be anybody, so all are asked.
        everybody = partial(self._whom, most=PEERS_MAX)
        self.claims = Claims(self._tools, everybody, self._identity, clock)
        self.resolutions = Resolutions(self._tools, everybody, self._identity, clock)
        id_of, grouped = self._directory.id_of, self._identity.group is not None
        self.nearby = Nearby(self._tools, everybody, id_of=id_of, grouped=grouped)
        gives, pages = self._provider.givable.may_share, self.claims.count
        self._holding = OwnHolding(store, id_of=id_of, gives=gives, grouped=grouped, pages=pages)
        # The peer face: what neighbours ask of us; in a group what members ask, and over TLS.
        self.answer: Handler = self._answer if self._meeting is None else self._meeting.door.guard(self._answer)
        self.answer_sealed = None if self._meeting is None else self._meeting.sealed_door.guard(self._answer)
        self._small: SmallReads | None = None
        self._port: int | None = None
        self._sealed_port = 0
        self._running: trio.Nursery | None = None
        self._convictions = Convictions(store, self._tools)

    async def run(
        self, *, peer_port: int, sealed_port: int = 0, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Finds neighbours, greets them, and lets them find us, until it is cancelled.

        sealed_port: where `answer_sealed` answers, 0 where it does not.
        """
        self._port, self._sealed_port = peer_port, sealed_port
        self._store.on_kept = self._kept
        announcement = Announcement(
            instance=self._boot, port=peer_port, group_tag=self._identity.tag, version=self._version
        )
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._provider.run)
                self._small = SmallReads(self._tools, self._whom, nursery)
                nursery.start_soon(self._directory.read, self._store)
                nursery.start_soon(self._tidy)
                self._running = nursery
                self._greetings.start(announcement, nursery)
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
        progress; Unanswered where somebody who may have it did not say; StoreStopped; and what `read_origin` raised.
        """
        sha256, origin = partial.sha256, partial.origin
        if sha256 is None:
            raise Unavailable(f"{origin.filename} has no hash to ask neighbours for.")
        if not self.may_ask_for(origin):
            # Even the question would tell strangers what this node reads.
            raise Unavailable(f"Neighbours are not asked for {origin.filename}: it is not public.")
        peers = self._whom(sha256)
        if self._port is None or self._running is None or not (peers or read_origin):
            if self.somebody_is_silent():
                raise Unanswered("The neighbours that are known do not answer now.")
            raise Unavailable("No neighbour is known that could be asked.")
        id_ = self._directory.id_of(sha256)
        sharing = Sharing(partial, sha256, id_, self._tools.cutting)
        download = Download(
            sharing,
            Attendance(id_, self._exchange, self._tracker, self._ranks, self._absent),
            read_origin,
            self._tools,
            boot=self._boot,
            port=self._port,
            size_bytes_max=self._store.summary().limit_bytes,
            gives=lambda: self._manners.prefers_to_give,
            on_air=self._manners.on_air,
            readers=self._origin_readers,
            wire_bytes_s=wire_bytes_s,
            distrusted_makers=self._convictions.wrong_makers(sha256),
        )
        self._convictions.remember(partial, download.belief, sharing)
        self._provider.outgoing.share(sharing)
        try:
            await download.run(peers)
        except Unavailable as error:
            self._provider.outgoing.unshare(sharing)
            if self.somebody_is_silent() and read_origin is None:
                raise Unanswered(str(error)) from error  # who was not asked may have it
            raise
        except BaseException:
            self._provider.outgoing.unshare(sharing)
            raise
        self._running.start_soon(download.tell_that_all_is_here)

    def somebody_is_silent(self) -> bool:
        """Whether a neighbour that answered lately does not answer now."""
        return bool(self._peers.silent(trio.current_time()))

    async def heard_again(self, until: float) -> bool:
        """Waits for a neighbour that is silent; False where none is, or none answers by then (trio's time)."""
        return await heard_again(self._peers, until)

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
        sharing = self._convictions.distrust(partial)
        if sharing is not None:
            self._provider.outgoing.unshare(sharing)

    def _answer(self, request: Request) -> Response | Awaitable[Response]:
        if not self._manners.slots:
            return self._provider.answer(request)  # a metered link gives nothing to anybody
        return (
            self.claims.answer(request, sealed=is_sealed(request))
            or self.resolutions.answer(request, sealed=is_sealed(request))
            or self._holding.answer(request)
            or self._provider.answer(request)
        )

    def mind(self, manners: Manners) -> None:
        """From now on: the machine has changed its link, or its plug was pulled."""
        self._manners = manners
        self._provider.mind(manners)

    def _kept(self, sha256: Sha256) -> None:
        if self._convictions.has_suspects(sha256) and self._running is not None:
            self._running.start_soon(self._convictions.convict, sha256)
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
        """Our answer as a tracker; or who in our eyes is it, where nobody has asked us for this file before.

        Whoever has gone, as who asks has just found out, or we have, is it no more.
        """
        if not self._tracker.knows(ask.id):
            first = next(one for one in self._ranks(ask.id) if one is None or not self._has_gone(one, ask))
            if first is not None and first.living and first.boot != ask.boot:
                return Advice(elsewhere=str(first.address))
        reader = None if ask.reader is None else self._known_reader(ask.reader, address)
        return self._tracker.advise(replace(ask, reader=reader), address, trio.current_time())

    def _has_gone(self, peer: Peer, ask: AskCrowd) -> bool:
        absent = self._absent.is_absent(peer.address, trio.current_time(), hearsay=False)
        return absent or str(peer.address) in ask.left

    def _known_reader(self, reader: Reader, told_by: str) -> Reader | None:
        """As we call it; None for one that does not live in our eyes: nobody is sent to an address that one tells."""
        if reader.device == self._identity.device.public:
            return replace(reader, address="")
        address = seen_from(reader.address, Place(seen_from(told_by, Place(None))))
        peers = self._peers.members(trio.current_time())
        return next(
            (replace(reader, address=str(one.address)) for one in peers if one.living and one.address == address), None
        )

    def _hello(self) -> Hello:
        return Hello(self._node_id, self._boot, self._version, tag=self._identity.tag, sealed_port=self._sealed_port)

    async def _tidy(self) -> None:
        while True:
            await trio.sleep(TIDY_EVERY_S)
            await self._exchange.tidy()
