"""A machine of a fault scenario: its disk and its clock outlive its nodes; each life is one node on both."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

import trio

from p2pcdn.digest import Sha256
from p2pcdn.http1 import Handler
from p2pcdn.node import Node, Settings
from p2pcdn.store import Store
from p2pcdn.store.layout import Layout
from p2pcdn.world import Discovery, Upstream, World
from p2pcdn_daemon.doors.network import TcpNetwork
from simnet.disk import SimDisk
from simnet.disk_faults import PowerCut
from simnet.host import HERE, Host
from simnet.kernel import WallClock, pause
from simnet.network import Net
from simnet.tcp import listen

P = ParamSpec("P")
T = TypeVar("T")

INDEX_PORT = 8000
PEER_PORT = 7273
# Firmware, kernel, service: a machine is back after so long at least. Also the time that a dead life has to unwind.
BOOT_TIME_S = 0.3
THREAD_DELAY_S = (20e-6, 600e-6)

# The life that the running code belongs to: what a dead one still logs is of no interest.
LIFE: ContextVar[Life] = ContextVar("life")


class LifeThreads:
    """The door Threads: work runs inline after a seeded delay, and is told of after another.

    Between the two the power may go: then it happened, and nobody was told. A life that is over gets nothing.
    """

    def __init__(self, disk: SimDisk, dice: random.Random, *, delay_s: tuple[float, float] = THREAD_DELAY_S) -> None:
        """delay_s: the least and the most that either delay takes."""
        self._disk = disk
        self._generation = disk.generation
        self._dice = dice
        self._delay_s = delay_s

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._wait()
        value = function(*args, **kwargs)
        await self._wait()
        return value

    async def _wait(self) -> None:
        await pause(self._dice.uniform(*self._delay_s))
        if self._generation != self._disk.generation:
            raise PowerCut


@dataclass(eq=False)
class Life:
    """One node on a machine, from its start to its end. Changed by its machine only."""

    number: int
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    store: Store | None = None
    node: Node | None = None
    stop: trio.Event = field(default_factory=trio.Event)
    gone: trio.Event = field(default_factory=trio.Event)
    ended: bool = False

    def is_over(self) -> bool:
        return self.ended


class Machine:
    """Starts lives and ends them. `up`: set while its node accepts; another event for each life.

    settings: of its nodes. bad: wraps what the node answers its neighbours. on_start: told of each new life's store.
    """

    def __init__(
        self,
        net: Net,
        host: Host,
        disk: SimDisk,
        directory: Path,
        settings: Settings,
        upstream: Callable[[], Upstream],
        discoveries: Callable[[], list[Discovery]],
        seed: object,
    ) -> None:
        self.net = net
        self.host = host
        self.disk = disk
        self.layout = Layout(directory)
        self.settings = settings
        self.clock = WallClock(net.kernel)
        self.life: Life | None = None
        self.up = trio.Event()
        self.kept: set[Sha256] = set()  # rows of the catalog when the last life ended
        self.bad: Callable[[Handler], Handler] = lambda honest: honest
        self.on_start: Callable[[Machine, Store], None] = lambda machine, store: None
        self.attempts: set[trio.CancelScope] = set()  # of its users; the power takes them along
        self._upstream = upstream
        self._discoveries = discoveries
        self._seed = seed
        self._lives = 0

    async def live(self) -> None:
        """One life, to its end. Never raises for what a dead life still says."""
        HERE.set(self.host)
        life = self.life = Life(self._lives)
        LIFE.set(life)
        self._lives += 1
        try:
            with life.scope:
                await self._live(life)
        except BaseException as error:
            if not life.is_over() or not _is_of_the_end(error):
                raise
        finally:
            life.gone.set()

    def end(self, *, power: bool) -> None:
        """The power goes, or the process is killed: at once, and nobody is told."""
        life = self.life
        assert life is not None
        assert not life.is_over()
        life.ended = True
        if power:
            self.net.power_off(self.host)
            self.disk.cut()
        else:
            self.disk.end_life()
        if life.store is not None:
            self.kept = {row.sha256 for row in life.store.rows()}
            life.store.abandon()
        self.up = trio.Event()
        life.scope.cancel()
        for attempt in list(self.attempts):
            attempt.cancel()

    async def stop(self) -> None:
        """The node ends as it does on SIGTERM."""
        assert self.life is not None
        self.life.stop.set()
        await self.life.gone.wait()

    async def start_again(self, nursery: trio.Nursery) -> None:
        """After `end`: another life on the same disk. Returns when it accepts."""
        assert self.life is not None
        assert self.life.is_over()
        with trio.move_on_after(BOOT_TIME_S * 10):
            await trio.sleep(BOOT_TIME_S)
            await self.life.gone.wait()
        self.net.power_on(self.host)
        nursery.start_soon(self.live)
        await self.up.wait()

    async def _live(self, life: Life) -> None:
        dice = random.Random(f"life {self._seed} {self.host} {life.number}")
        threads = LifeThreads(self.disk, dice)
        store = life.store = await Store.open(
            self.layout.directory,
            disk=self.disk,
            threads=threads,
            clock=self.clock,
            random=dice,
            limits=self.settings.store_limits,
        )
        self.on_start(self, store)
        upstream = self._upstream()
        world = World(upstream, TcpNetwork(), self._discoveries(), self.disk, threads, self.clock, dice)
        node = life.node = Node(self.settings, store, world, node_id=self.host.name, token="token")
        node._swarm.answer = self.bad(node._swarm.answer)
        index = await listen("127.0.0.1", INDEX_PORT)
        peer = await listen(self.host.ip, PEER_PORT)
        async with trio.open_nursery() as nursery:
            await nursery.start(
                partial(node.run, index_listeners=[index], peer_listeners=[peer], control_listeners=[], stop=life.stop)
            )
            self.up.set()
        await store.close()
        close = getattr(upstream, "aclose", None)
        if close is not None:
            await close()


def _is_of_the_end(error: BaseException) -> bool:
    """Whether nothing but the end of a life is in it: what its calls raise when nothing answers any more."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_of_the_end, error.exceptions))
    return isinstance(error, Exception | trio.Cancelled)
