"""One run: a seed, a world of hosts and nodes, a story told by a scenario, and everything put back afterwards."""

from __future__ import annotations

import ctypes
import gc
import logging
import random
import resource
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

import trio

from simnet.disks.disk import SimDisk
from simnet.disks.inode import Pool
from simnet.net.announcements import Air
from simnet.net.host import Host
from simnet.net.link import GIGABIT
from simnet.net.network import Net
from simnet.net.tcp import Factory
from simnet.net.topologies import Builder, Topology, lan
from simnet.node import Options, SimNode
from simnet.patches import Patches
from simnet.turns.kernel import BEGIN_S, Kernel
from simnet.upstream import SimUpstream

MEMORY = Path("/dev/shm")
# mallopt(3): what is larger is mapped, and unmapped when it is freed; so much of the heap's end is kept. Half a
# megabyte that comes and goes with each read costs a twentieth of a run in page faults where it is mapped each time.
M_MMAP_THRESHOLD, MAPPED_SIZE_BYTES_MIN = -3, 4 * 1024 * 1024
M_TRIM_THRESHOLD, KEPT_SIZE_BYTES_MAX = -1, 64 * 1024 * 1024
# A story that has not ended after so long, in virtual seconds, hangs.
TIME_MAX_S = 3600.0
# Garbage is collected at moments that the virtual time decides, so that what it finalizes comes at its place.
COLLECT_EVERY_S = 30.0


class Hang(RuntimeError):
    """The story did not come to its end in time, or everything waits for ever."""


class Simulation:
    """The world of one run. A scenario makes it, and `run`s its story in it, once."""

    def __init__(
        self,
        seed: int,
        *,
        scale: int = 1,
        bulk_from_bytes: int = 0,
        options: Options | None = None,
        trace_file: IO[str] | None = None,
        time_max_s: float = TIME_MAX_S,
    ) -> None:
        """scale, bulk_from_bytes: see `Net`. options: of nodes that are added without any."""
        self.seed = seed
        self.kernel = Kernel(trace_file)
        self.net = Net(self.kernel, seed, scale=scale, bulk_from_bytes=bulk_from_bytes)
        self.air = Air(self.kernel, self.net, seed)
        self.dice = random.Random(f"scenario {seed}")
        self.options = options or Options()
        self.nodes: list[SimNode] = []
        self.failures: list[str] = []
        self.pool = Pool()
        self.cpu_seconds = 0.0
        self.topology: Topology
        self.upstream: SimUpstream
        self.nursery: trio.Nursery
        self.directory: Path
        self.no_certificates: Path
        self._time_max_s = time_max_s

    def build(self, nodes: int, *, topology: Builder = lan, upstream_rate: float = GIGABIT) -> Topology:
        """Hosts for so many nodes, and the upstream's. To be called before `run`."""
        self.topology = topology(self.net, nodes, upstream_rate)
        self.upstream = SimUpstream(self.net, index=self.topology.upstreams[0], files=self.topology.upstreams[1])
        return self.topology

    def run(self, story: Callable[[], Awaitable[None]]) -> None:
        """Tells it in virtual time, to its end. Raises what it raises; Hang where it has no end.

        The world is closed behind it: real sockets, threads, processes and sleeping raise Leak.
        """
        _raise_descriptor_limit()
        _give_memory_back()
        self.directory = Path(tempfile.mkdtemp(prefix="simnet-", dir=MEMORY if MEMORY.is_dir() else None))
        self.no_certificates = self.directory / "no-certificates"
        self.no_certificates.mkdir()
        real_clock, began = time.process_time, time.process_time()
        patches = Patches()
        collected = gc.isenabled()
        gc.collect()
        gc.disable()
        try:
            patches.apply(self.kernel, str(self.seed))
            trio.run(self._run, story, patches, clock=self.kernel.clock)
        except BaseExceptionGroup as group:
            raise _lone(group) from None
        finally:
            patches.undo()
            if collected:
                gc.enable()
            shutil.rmtree(self.directory, ignore_errors=True)
            self.cpu_seconds = real_clock() - began

    async def _run(self, story: Callable[[], Awaitable[None]], patches: Patches) -> None:
        trio.socket.set_custom_socket_factory(Factory(self.net))
        trio.socket.set_custom_hostname_resolver(self.net.dns)
        patches.close_doors()
        scope = trio.CancelScope(deadline=trio.current_time() + self._time_max_s)
        deadlocked = False

        def on_deadlock() -> None:
            nonlocal deadlocked
            deadlocked = True
            scope.cancel()

        self.kernel.on_deadlock = on_deadlock
        self._collect()
        with scope:
            async with trio.open_nursery() as self.nursery:
                if hasattr(self, "upstream"):
                    await self.nursery.start(self.upstream.run)
                await story()
                # The end of the run is a power-off of everything: nobody is to say goodbye to nobody.
                for node in self.nodes:
                    if node.alive:
                        node.power_off()
                        await node.over()  # one by one: a thousand that unwind at once take gigabytes
                self.nursery.cancel_scope.cancel()
        if scope.cancelled_caught:
            why = "everything waits for ever" if deadlocked else f"it has no end within {self._time_max_s:g} s"
            raise Hang(why)

    def _collect(self) -> None:
        gc.collect()
        if self.nodes or self.kernel.now == BEGIN_S:
            self.kernel.after(COLLECT_EVERY_S, self._collect)

    # --- nodes

    def add_node(self, host: Host, options: Options | None = None) -> SimNode:
        """A node on that host, switched off. To be called within the story."""
        node = SimNode(self, len(self.nodes), host, options or self.options)
        self.nodes.append(node)
        return node

    async def start_nodes(self, hosts: list[Host] | None = None, options: Options | None = None) -> list[SimNode]:
        """Nodes on these hosts (all of the topology's), switched on and ready."""
        nodes = [self.add_node(host, options) for host in (hosts or self.topology.nodes)]
        for node in nodes:
            node.start()
        for node in nodes:
            await node.ready()
        return nodes

    def disk_of(self, node: SimNode) -> SimDisk:
        """A disk that takes no time and loses nothing but power; what all nodes hold is in memory once."""
        layout = node.layout
        rooms = (layout.directory, layout.blobs, layout.partials)
        dice = random.Random(f"disk {self.seed} {node.host.name}")
        return SimDisk(dice, pool=self.pool, rooms=rooms, crashes=False, paced=False)

    def died(self, node: SimNode, error: BaseException) -> None:
        """A node ended by itself: a failure of the run."""
        self.failures.append(f"{node.host} died: {_innermost(error)!r}")
        logging.getLogger("simnet").error("%s died", node.host, exc_info=error)


def _lone(error: BaseException) -> BaseException:
    """What a group of one has in it; a group of several says more than any of them."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _give_memory_back() -> None:
    """As said above; glibc would learn to keep what is large, in pieces."""
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, MAPPED_SIZE_BYTES_MIN)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_SIZE_BYTES_MAX)


def _raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
