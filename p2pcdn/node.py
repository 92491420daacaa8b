"""Node(settings, store, world): every room wired to the others, and all its tasks in one nursery."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import trio

from p2pcdn.counters import Counters
from p2pcdn.errors import P2pcdnError
from p2pcdn.fetch import Delivery, Fetch, Metadata, OriginReader
from p2pcdn.group import Identity
from p2pcdn.http1 import AllowedHosts
from p2pcdn.index import Pages
from p2pcdn.lock.room import Room
from p2pcdn.provision import OpenPages, Workroom
from p2pcdn.store import Store, StoreLimits
from p2pcdn.swarm import Swarm
from p2pcdn.swarm.giving.manners import Manners
from p2pcdn.web.control_face import ControlFace, Route
from p2pcdn.web.faces import CONTROL_METHODS, LOOPBACK_NAMES, Listener, address, index_url, serve_face
from p2pcdn.web.files import FileDesk
from p2pcdn.web.index_face import IndexFace
from p2pcdn.web.pages import PageDesk
from p2pcdn.web.pip_face import PipFace
from p2pcdn.web.status import Status
from p2pcdn.web.zephyr_face import ZephyrFace
from p2pcdn.world import Index, Sighting, World

log = logging.getLogger(__name__)

# How often the store is looked at for what is over its limits: blobs that were being read when room was made.
UPKEEP_EVERY_S = 15.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What a node is told. indexes: in order, the first is the default one and there is at least one.

    identity: the node's device key, and the group it is in. piece_size_bytes: into which files are cut for neighbours,
    the same at all of them; None: by the file's size (a simulation scales pieces down with its links).
    origin_readers: how many nodes of a room may read one file from its upstream at once (1 to 8), each its part.
    manners: how much the machine gives to neighbours at the start; `Node.mind` tells a change.
    """

    indexes: tuple[Index, ...]
    offline: bool
    store_limits: StoreLimits
    allow_hosts: tuple[str, ...]
    static_peers: tuple[Sighting, ...]
    version: str
    identity: Identity
    piece_size_bytes: int | None = None
    origin_readers: int = 1
    manners: Manners = Manners()  # noqa: RUF009 - frozen


class Node:
    """One node. `run` it once; `status` may be asked at any time by the same trio loop."""

    def __init__(self, settings: Settings, store: Store, world: World, *, node_id: str, token: str) -> None:
        if not settings.indexes:
            raise ValueError("a node needs at least one index")
        self._settings = settings
        self._store = store
        self._world = world
        self._private_prefix = f"/t/{token}"
        self._counters = Counters()
        self._swarm = Swarm(
            store=store,
            network=world.network,
            discoveries=world.discoveries,
            clock=world.clock,
            threads=world.threads,
            random=world.random,
            counters=self._counters,
            static_peers=settings.static_peers,
            version=settings.version,
            node_id=node_id,
            shares={index.key: index.share for index in settings.indexes},
            identity=settings.identity,
            piece_size_bytes=settings.piece_size_bytes,
            origin_readers=settings.origin_readers,
            manners=settings.manners,
        )
        self.status = Status(
            version=settings.version,
            node_id=node_id,
            identity=settings.identity,
            indexes=settings.indexes,
            offline=settings.offline,
            private_prefix=self._private_prefix,
            store=store,
            swarm=self._swarm,
            counters=self._counters,
            started_at=trio.current_time(),
        )

    def mind(self, manners: Manners) -> None:
        """How much is given to neighbours from now on: the machine has changed its link, or its plug was pulled."""
        self._swarm.mind(manners)

    async def run(
        self,
        *,
        index_listeners: Sequence[Listener],
        peer_listeners: Sequence[Listener],
        control_listeners: Sequence[Listener],
        stop: trio.Event,
        sealed_listeners: Sequence[Listener] = (),
        sealed_port: int = 0,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serves until `stop`; `started()` when all faces accept. Downloads that run then go on at the next start.

        sealed_listeners: in a group, for its members over TLS; all at sealed_port.
        """
        index_ports = [address(listener)[1] for listener in index_listeners]
        self.status.index_url = index_url(index_listeners)
        self.status.peer_address = ":".join(map(str, address(peer_listeners[0]))) if peer_listeners else ""
        hosts = AllowedHosts.of([*LOOPBACK_NAMES, *self._settings.allow_hosts], index_ports)
        async with trio.open_nursery() as rooms:
            index_face, control_face = self._wired(rooms)
            if peer_listeners:
                peer_port = address(peer_listeners[0])[1]
                await rooms.start(partial(self._swarm.run, peer_port=peer_port, sealed_port=sealed_port))
            rooms.start_soon(self._upkeep)
            async with trio.open_nursery() as faces:
                counted = partial(serve_face, counters=self._counters, now=self._world.clock.now, stop=stop)
                await faces.start(partial(counted, "index", index_listeners, index_face, allowed_hosts=hosts))
                await faces.start(partial(counted, "peer", peer_listeners, self._swarm.answer, cross_site=True))
                if self._swarm.answer_sealed is not None:
                    sealed_face = self._swarm.answer_sealed
                    await faces.start(partial(counted, "sealed", sealed_listeners, sealed_face, cross_site=True))
                await faces.start(
                    partial(counted, "control", control_listeners, control_face, methods=CONTROL_METHODS, bodies=True)
                )
                task_status.started()
            rooms.cancel_scope.cancel()

    def _wired(self, nursery: trio.Nursery) -> tuple[IndexFace, ControlFace]:
        world, store, counters = self._world, self._store, self._counters
        open_pages = partial(
            Pages,
            store=store,
            upstream=world.upstream,
            threads=world.threads,
            clock=world.clock,
            counters=counters,
            nursery=nursery,
            offline=self._settings.offline,
            claims=self._swarm.claims,
        )
        pages = self.status.pages = open_pages(self._settings.indexes)
        page_desk = PageDesk(
            store,
            world.threads,
            nursery,
            private_prefix=self._private_prefix,
            held_nearby=self._swarm.nearby.held_nearby,
        )
        origin = OriginReader(world.upstream, counters, world.random, offline=self._settings.offline)
        metadata = Metadata(
            store=store,
            swarm=self._swarm,
            origin=origin,
            nursery=nursery,
            offline=self._settings.offline,
            whole=lambda wanted: fetch.whole(wanted),  # which tells this one of what it keeps
            on_change=page_desk.forget,
        )
        fetch = Fetch(
            store=store,
            swarm=self._swarm,
            origin=origin,
            counters=counters,
            nursery=nursery,
            offline=self._settings.offline,
            on_kept=metadata.note_kept,
        )
        index_face = IndexFace(
            pages=pages,
            page_desk=page_desk,
            file_desk=FileDesk(fetch, metadata, Delivery(origin, nursery), counters),
            upstream=world.upstream,
            counters=counters,
            clock=world.clock,
            private_prefix=self._private_prefix,
            status=self.status,
        )
        control_face = ControlFace(
            store=store,
            counters=counters,
            indexes=self._settings.indexes,
            status=self.status,
            peers=self.status.peers,
            nursery=nursery,
            look_around=self._swarm.nearby.look_around,
            more=self._zephyr_routes(pages, open_pages, metadata, fetch, nursery),
            installed=world.installed,
        )
        return index_face, control_face

    def _zephyr_routes(
        self,
        pages: Pages,
        open_pages: OpenPages,
        metadata: Metadata,
        fetch: Fetch,
        nursery: trio.Nursery,
    ) -> Mapping[tuple[str, str], Route]:
        """None in a world without other programs."""
        world = self._world
        if world.processes is None:
            return {}
        workroom = Workroom(
            store=self._store,
            pages=pages,
            metadata=metadata,
            fetch=fetch,
            processes=world.processes,
            threads=world.threads,
            nursery=nursery,
            version=self._settings.version,
            open_pages=open_pages,
            upstream=world.upstream,
            more_indexes=world.more_indexes,
            repositories=world.repositories,
            attestations=world.attestations,
            neighbours=Room(
                self._swarm.resolutions, self._store, world.threads, self._settings.indexes, self._settings.version
            ),
        )
        return {**ZephyrFace(workroom, nursery).routes(), **PipFace(workroom).routes()}

    async def _upkeep(self) -> None:
        while True:
            await trio.sleep(UPKEEP_EVERY_S)
            try:
                await self._store.tidy()
            except P2pcdnError as error:
                log.warning("the store was not tidied: %s", error)
            except Exception:  # here it would end the node
                log.exception("the store was not tidied")
