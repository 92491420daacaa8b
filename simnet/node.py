"""One whole node on a simulated host: the product's Node, the daemon's upstream and listeners, and its power switch."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import trio

from p2pcdn.group.device import Device
from p2pcdn.group.identity import Identity
from p2pcdn.group.key import GroupKey
from p2pcdn.http1 import Handler
from p2pcdn.node import Node, Settings
from p2pcdn.store import Store, StoreLimits
from p2pcdn.store.layout import Layout
from p2pcdn.world import Discovery, Sighting, Upstream, World
from p2pcdn_daemon.doors.link import Machine, manners_of
from p2pcdn_daemon.doors.network import TcpNetwork
from p2pcdn_daemon.neighbours.peers_dns import DnsPeers
from p2pcdn_daemon.upstream.index_url import make_index
from p2pcdn_daemon.upstream.upstream import UpstreamSettings, open_upstream
from simnet import client
from simnet.disks.disk import SimDisk
from simnet.disks.life_of_disk import LifeOfDisk
from simnet.net.announcements import Air
from simnet.net.host import HERE, PROCESS, Host
from simnet.net.network import Net
from simnet.net.tcp import listen
from simnet.patches import THREAD_DELAY_S
from simnet.threads import SimThreads
from simnet.turns.kernel import Kernel, WallClock
from simnet.upstream import SimUpstream

T = TypeVar("T")

INDEX_PORT = 8440
PEER_PORT = 8441
LIMITS = StoreLimits(size_bytes=1 << 40, keep_for_s=None, pages_bytes=1 << 26, reserve_bytes=0)
VERSION = "0.0+simnet"


@dataclass
class Options:
    """What a scenario wants of its nodes; each is the same for all, or set for one by `Simulation.add_node`.

    indexes: URLs; the simulated upstream's where empty. peers: hosts' names to be configured as peers. names: those of
    neighbours in the DNS, as `--peer-dns` takes them. disk: makes a node's disk, once; power-offs leave it.
    thread_delay_s: None for no delay at all. upstream, answers: wrap what a node has of its upstream, and what it says
    to its neighbours. on_store: told of the store of each new life.
    """

    indexes: Sequence[str] = ()
    peers: Sequence[str] = ()
    names: Sequence[str] = ()
    offline: bool = False
    group: GroupKey | None = None
    share: Any = None
    limits: StoreLimits = LIMITS
    piece_size_bytes: int | None = None
    announces: bool = True
    disk: Callable[[SimNode], SimDisk] | None = None
    thread_delay_s: tuple[float, float] | None = THREAD_DELAY_S
    upstream: Callable[[Upstream], Upstream] = lambda upstream: upstream
    answers: Callable[[Handler], Handler] = lambda answer: answer
    on_store: Callable[[SimNode, Store], None] = lambda node, store: None
    more: dict[str, Any] = field(default_factory=dict)  # further fields of Settings


class Run(Protocol):
    """What a node needs of the run that it is in (`simnet.simulation`)."""

    seed: int
    kernel: Kernel
    net: Net
    air: Air
    nursery: trio.Nursery
    directory: Path
    no_certificates: Path

    @property
    def upstream(self) -> SimUpstream: ...

    def disk_of(self, node: SimNode) -> SimDisk:
        """Made once, where the node's options make none; power-offs leave it."""
        ...

    def died(self, node: SimNode, error: BaseException) -> None:
        """The node ended by itself."""
        ...


class SimNode:
    """One node, through all its lives. Its methods may be called by any task of the run.

    `node` and `store` are those of the life that runs, else None. `died`: why a life ended that nobody ended.
    `up`: set while it serves; another event once that has ended.
    """

    def __init__(self, simulation: Run, number: int, host: Host, options: Options) -> None:
        self.number = number
        self.host = host
        self.options = options
        self.directory = simulation.directory / host.name
        self.layout = Layout(self.directory)
        self.clock = WallClock(simulation.kernel)
        self.node: Node | None = None
        self.store: Store | None = None
        self.died: BaseException | None = None
        self.lives = 0
        self._sim = simulation
        self._dice = random.Random(f"node {simulation.seed} {host.name}")
        self.identity = Identity(Device.from_seed(self._dice.randbytes(32)), options.group)
        self._token = f"{self._dice.getrandbits(128):032x}"
        self.disk = options.disk(self) if options.disk is not None else simulation.disk_of(self)
        self._ended = False
        self._scope = trio.CancelScope()
        self._stop = trio.Event()
        self.up = trio.Event()
        self._over = trio.Event()
        self._over.set()

    @property
    def alive(self) -> bool:
        return not self._ended and not self._over.is_set()

    def lives_on(self, life: int) -> bool:
        """Whether that life, the number of which is `lives` while it runs, has its power still."""
        return not self._ended and self.lives == life

    def start(self) -> None:
        """Switches it on. `ready` waits until it serves."""
        assert self._over.is_set(), f"{self.host} runs"
        self.lives += 1
        self._ended = False
        self._over = trio.Event()
        self._scope = trio.CancelScope()
        self._stop = trio.Event()
        self._sim.nursery.start_soon(self._live)

    async def ready(self) -> None:
        """Returns when all faces accept. Raises RuntimeError where the node died before."""
        while not self.up.is_set():
            async with trio.open_nursery() as nursery:
                for event in (self.up, self._over):
                    nursery.start_soon(_cancel_after, event, nursery.cancel_scope)
            if self._over.is_set():
                raise RuntimeError(f"{self.host} did not come up: {self.died!r}")

    async def over(self) -> None:
        """Returns when the life that was ended has unwound."""
        await self._over.wait()

    async def stop(self) -> None:
        """SIGTERM: it ends what runs, says goodbye and closes its store."""
        self._stop.set()
        await self._over.wait()

    def power_off(self) -> None:
        """Pulls the plug: from this instant nothing of it is heard, and of its disk only what was synced is left."""
        self._sim.kernel.trace(f"power off {self.host}")
        self._sim.net.power_off(self.host)
        self.disk.cut() if self.disk.crashes else self.disk.end_life()
        self._end()

    def kill(self) -> None:
        """SIGKILL: connections are reset by the system, and the disk keeps what was written."""
        self._sim.kernel.trace(f"kill {self.host}")
        self._sim.net.kill(self.host, self)
        self.disk.end_life()
        self._end()

    async def restart(self) -> None:
        """Waits for the end of the life that was cut, and starts a new one on the same disk."""
        await self._over.wait()
        if not self.host.alive:
            self._sim.net.power_on(self.host)
        self.start()
        await self.ready()

    # --- its user

    async def get(self, path: str, *, keep: bool = False, headers: str = "") -> client.Got:
        """A GET of this machine's user at the index face. Raises client.Failed and OSError."""
        return await self.on_host(partial(client.get, INDEX_PORT, path, keep=keep, headers=headers))

    async def install(self, project: str) -> client.Got:
        """The page, then its first file. Raises client.Failed and OSError."""
        return await self.on_host(partial(client.install, INDEX_PORT, project))

    async def on_host(self, task: Callable[[], Awaitable[T]]) -> T:
        """Runs it as a program on this machine."""
        before = HERE.set(self.host)
        try:
            return await task()
        finally:
            HERE.reset(before)

    # --- one life

    def _end(self) -> None:
        self._ended = True
        self._is_down()
        self._scope.cancel()

    def _is_down(self) -> None:
        if self.up.is_set():
            self.up = trio.Event()

    async def _live(self) -> None:
        life = self.lives
        HERE.set(self.host)
        PROCESS.set(self)
        self.died = None
        try:
            with self._scope:
                await self._run()
        except (Exception, BaseExceptionGroup) as error:
            cancelled, own = error.split(trio.Cancelled) if isinstance(error, BaseExceptionGroup) else (None, error)
            if own is not None and self.lives_on(life):
                self.died = own
                self._sim.died(self, own)
            if cancelled is not None:
                raise cancelled from None
        finally:
            store, self.store, self.node = self.store, None, None
            if store is not None:
                store.abandon()
            self._is_down()
            self._over.set()

    async def _run(self) -> None:
        sim, options, host = self._sim, self.options, self.host
        dice = random.Random(f"life {sim.seed} {host.name} {self.lives}")
        lives = partial(self.lives_on, self.lives)
        threads = SimThreads(lives, dice, delay_s=options.thread_delay_s)
        disk = LifeOfDisk(self.disk, lives)
        made = [
            make_index(url, position, options.share, environment={})
            for position, url in enumerate(options.indexes or [sim.upstream.index_url])
        ]
        async with AsyncExitStack() as stack:
            index_listener, peer_listener = await listen("127.0.0.1", INDEX_PORT), await listen("0.0.0.0", PEER_PORT)
            for listener in (index_listener, peer_listener):
                stack.callback(listener.socket.close)
            store = self.store = await Store.open(
                self.directory, disk=disk, threads=threads, clock=self.clock, random=dice, limits=options.limits
            )
            options.on_store(self, store)
            upstream = await stack.enter_async_context(
                open_upstream(
                    [UpstreamSettings(index, credentials=credentials) for index, credentials in made],
                    environment={"SSL_CERT_DIR": str(sim.no_certificates)},
                )
            )
            discoveries: list[Discovery] = [sim.air.discovery()] if options.announces else []
            if options.names:
                discoveries.append(DnsPeers(options.names, dice, find_targets=sim.net.dns.targets))
            world = World(
                upstream=options.upstream(upstream),
                network=TcpNetwork(),
                discoveries=discoveries,
                disk=disk,
                threads=threads,
                clock=self.clock,
                random=dice,
            )
            settings = Settings(
                indexes=tuple(index for index, _ in made),
                offline=options.offline,
                store_limits=options.limits,
                allow_hosts=(),
                static_peers=tuple(Sighting(sim.net.hosts[name].ip, PEER_PORT) for name in options.peers),
                version=VERSION,
                identity=self.identity,
                piece_size_bytes=options.piece_size_bytes,
                **{"manners": manners_of(Machine(wireless=host.kind == "wireless")), **options.more},
            )
            self.node = node = Node(settings, store, world, node_id=host.name, token=self._token)
            node._swarm.answer = options.answers(node._swarm.answer)
            async with trio.open_nursery() as nursery:
                run = partial(
                    node.run,
                    index_listeners=[index_listener],
                    peer_listeners=[peer_listener],
                    control_listeners=(),
                    stop=self._stop,
                )
                await nursery.start(run)
                self.up.set()
                sim.kernel.trace(f"ready {host}")
            self.store = None
            await store.close()


async def _cancel_after(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
