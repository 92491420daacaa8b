"""The wires: hosts with their interfaces, what lies between them, and how bytes get from one to the other.

A connection's bytes travel in chunks. A chunk is sent by the sender's interface, which gives each of its connections
its turn; it flies, crosses what lies between, and is taken by the receiver's interface. Both ends of a wire work at
once (only the excess of the slower one is added). Something small (a request, a head) slips in between: packets are
small, and a queue of a switch is fair to who sends little.

Bytes have a weight: with `scale` 32 a byte of a large write stands for 32 of the real world, and pieces of 32 KiB on
wires of 1 Gbit/s take the time of a MiB. Heads and bitfields weigh what they weigh.
"""

from __future__ import annotations

import errno
import random
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from simnet.dns import Dns
from simnet.kernel import Kernel

if TYPE_CHECKING:
    from simnet.flow import Flow
    from simnet.tcp import Listening, SimSocket

GIGABIT = 125_000_000.0
# 1 ms at 1 Gbit/s, an eighth of a piece.
CHUNK_BYTES = 128 * 1024
# On slow wires a chunk takes no longer than this, as long as it is a packet at least.
CHUNK_TIME_MAX_S = 0.01
CHUNK_BYTES_MIN = 1500
# Two packets slip in between others.
SMALL_BYTES = 3000
# A socket takes more when so little is unsent (TCP_NOTSENT_LOWAT as the product sets it).
UNSENT_BYTES = 128 * 1024
# Sent and not yet read by the other end: what Linux's receive buffer grows to on a LAN, or less.
WINDOW_BYTES = 2 * 1024 * 1024
# A reader that waits is woken for so much, a part of a piece; in the real world for every packet.
WAKE_BYTES = 128 * 1024
# A copy in memory: system call and wake-up.
LOOPBACK_TIME_S = 20e-6
PACKET_BYTES = 60
# A packet that got lost is sent again after so long, doubled each time (RFC 6298 with Linux's minimum).
RETRANSMIT_FIRST_S = 0.2
RETRANSMIT_TRIES_MAX = 9
SYN_AGAIN_FIRST_S = 1.0
SYN_TRIES_MAX = 6
# A later arrival is booked when it comes, so that what comes before goes before.
BOOK_AHEAD_S = 1e-3

# Which host the running code is on. Set once at the top of a node's tasks; children inherit it.
HERE: ContextVar[Host] = ContextVar("host")
# Which process of that host, where it matters: the system closes what a killed one had open.
PROCESS: ContextVar[object] = ContextVar("process", default=None)


def here() -> Host:
    """The host of the task that runs. Raises RuntimeError outside of all."""
    try:
        return HERE.get()
    except LookupError:
        raise RuntimeError("a socket was asked for outside of every simulated host") from None


class Sender(Protocol):
    """What takes its turn at a link. queued: whether it waits there."""

    queued: bool

    def depart(self, link: Link) -> float | None:
        """Its turn: sends a chunk and says how long the link is busy with it, or None where nothing can go."""
        ...


class Link:
    """One direction of a wire, or a medium that all share. rate: bytes a second; may be changed at any time."""

    __slots__ = (
        "active", "busy_until", "bytes_carried", "held", "kernel", "name", "net", "paused", "queue", "rate", "shared",
    )  # fmt: skip

    def __init__(self, net: Net, name: str, rate: float, *, shared: bool = False) -> None:
        """shared: by both directions of several hosts; then what comes in takes its turn with what goes out."""
        self.net = net
        self.kernel = net.kernel
        self.name = name
        self.rate = rate
        self.shared = shared
        self.busy_until = 0.0
        self.bytes_carried = 0.0
        self.queue: deque[Sender] = deque()
        self.active = False
        self.paused = False
        self.held: list[Callable[[], None]] = []

    def chunk_bytes(self) -> float:
        return min(CHUNK_BYTES, max(CHUNK_BYTES_MIN, self.rate * CHUNK_TIME_MAX_S))

    def enqueue(self, flow: Sender) -> None:
        """It has something to send, and takes its turn."""
        flow.queued = True
        self.queue.append(flow)
        if not self.active and not self.paused:
            self.active = True
            if self.busy_until > self.kernel.now:
                self.kernel.at(self.busy_until, self._turn)
            else:
                self._turn()

    def book(self, first: float, last: float, wire_bytes: float) -> float:
        """When bytes that come between these times are through."""
        begins = self.busy_until if self.busy_until > first else first
        done = self.busy_until = begins + wire_bytes / self.rate
        self.bytes_carried += wire_bytes
        return done if done > last else last

    def slip(self, first: float, wire_bytes: float) -> float:
        """The same for something small, which does not wait for what is large."""
        took_s = wire_bytes / self.rate
        self.busy_until = max(self.busy_until, self.kernel.now) + took_s
        self.bytes_carried += wire_bytes
        return first + took_s

    def clog(self) -> None:
        """Nothing moves any more; nothing is lost."""
        self.paused = True

    def unclog(self) -> None:
        self.paused = False
        held, self.held = self.held, []
        for go_on in held:
            go_on()
        if self.queue and not self.active:
            self.active = True
            self.kernel.at(self.kernel.now, self._turn)

    def _turn(self) -> None:
        now = self.kernel.now
        if self.paused:
            self.active = False
            return
        if self.busy_until > now:
            self.kernel.at(self.busy_until, self._turn)
            return
        queue = self.queue
        while queue:
            flow = queue.popleft()
            flow.queued = False
            time_s = flow.depart(self)
            if time_s is not None:
                self.busy_until = now + time_s
                if queue:
                    self.kernel.at(self.busy_until, self._turn)
                else:
                    self.active = False
                return
        self.active = False


@dataclass(slots=True)
class Traffic:
    """Bytes of large writes at one port: as they are, not weighed. all_bytes: of small ones, too."""

    bulk_bytes: int = 0
    all_bytes: int = 0


@dataclass(eq=False)
class Host:
    """A machine. alive and life: a power-off ends a life, and what belonged to it is silent."""

    name: str
    ip: str
    up: Link
    down: Link
    latency_s: float  # from here to the middle
    segment: str = "lan"
    alive: bool = True
    life: int = 0
    kind: str = "wired"
    listening: dict[tuple[str, int], Listening] = field(default_factory=dict)
    sockets: dict[SimSocket, None] = field(default_factory=dict)  # those that are connected, or listen
    next_port: int = 32768
    # By the port that a connection was accepted at: what was given from ours, what came from others'.
    given: dict[int, Traffic] = field(default_factory=dict)
    taken: dict[int, Traffic] = field(default_factory=dict)

    def free_port(self) -> int:
        self.next_port = 32768 if self.next_port >= 60999 else self.next_port + 1
        return self.next_port

    def __str__(self) -> str:
        return self.name


@dataclass
class Weather:
    """What the wires do to packets. loss: of chunks, one in how many (0.01: one in a hundred). jitter_s: at most."""

    loss: float = 0.0
    jitter_s: float = 0.0


class Net:
    """All hosts of a run and what is between them. Changed at will while it runs, by scenarios and by faults."""

    def __init__(
        self,
        kernel: Kernel,
        seed: object,
        *,
        scale: int = 1,
        bulk_from_bytes: int = 0,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        """scale: what a byte of a write of at least bulk_from_bytes weighs on the wires."""
        self.kernel = kernel
        self.dice = random.Random(f"network {seed}")
        self.scale = scale
        self.bulk_from_bytes = bulk_from_bytes
        self.window_bytes = window_bytes // scale
        self.wake_bytes = WAKE_BYTES // scale
        self.hosts: dict[str, Host] = {}
        self.dns = Dns(kernel)
        self.weather = Weather()
        self.middle: Callable[[Host, Host], tuple[list[Link], float]] = lambda a, b: ([], 0.0)
        # Changes bytes on their way, where a scenario wants a liar: (from, to, port of the connection, bytes) -> bytes.
        self.tamper: Callable[[Host, Host, int, bytes], bytes] | None = None
        self.flows = 0
        self._by_ip: dict[str, Host] = {}
        self.cuts: set[tuple[str, str]] = set()  # from and to: names of hosts between which nothing gets through
        self._dirty: list[Flow] = []

    # --- building

    def add_host(
        self,
        name: str,
        *,
        ip: str | None = None,
        up: float | Link = GIGABIT,
        down: float | Link = GIGABIT,
        latency_s: float = 0.1e-3,
        segment: str = "lan",
        kind: str = "wired",
    ) -> Host:
        """up, down: bytes a second, or a link that it shares with others. ip: 10.x.y.z by its number where None."""
        number = len(self.hosts) + 1
        ip = ip or f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        uplink = up if isinstance(up, Link) else Link(self, f"{name}>", up)
        downlink = down if isinstance(down, Link) else Link(self, f">{name}", down)
        host = Host(name, ip, uplink, downlink, latency_s, segment, kind=kind)
        assert name not in self.hosts
        assert ip not in self._by_ip
        self.hosts[name] = self._by_ip[ip] = host
        self.dns.names[name] = [ip]
        return host

    def link(self, name: str, rate: float, *, shared: bool = False) -> Link:
        """A link between hosts, for `middle`, or a medium that hosts share."""
        return Link(self, name, rate, shared=shared)

    def host_at(self, ip: str) -> Host | None:
        return self._by_ip.get(ip)

    # --- faults

    def cut(self, one: Iterable[Host], other: Iterable[Host], *, one_way: bool = False) -> None:
        """Nothing gets from `one` to `other` any more, and nothing back unless one_way."""
        others = list(other)
        for a in one:
            for b in others:
                self.cuts.add((a.name, b.name))
                if not one_way:
                    self.cuts.add((b.name, a.name))

    def heal(self) -> None:
        """Every cut is mended."""
        self.cuts.clear()

    def reaches(self, a: Host, b: Host) -> bool:
        return not self.cuts or (a.name, b.name) not in self.cuts

    def power_off(self, host: Host) -> None:
        """Nothing leaves the host any more and nothing is delivered; nobody is told."""
        host.alive = False
        host.life += 1
        self.kernel.trace(f"off {host}")
        sockets, host.sockets = host.sockets, {}
        host.listening.clear()
        for socket in sockets:
            socket.lose_power()

    def kill(self, host: Host, process: object) -> None:
        """A process of the host ends without a word: the system resets its connections and frees its ports."""
        for socket in list(host.sockets):
            if socket.process is process:
                socket.abort()

    def power_on(self, host: Host) -> None:
        host.alive = True
        self.kernel.trace(f"on {host}")

    # --- for connections

    def latency_s(self, a: Host, b: Host) -> float:
        if a is b:
            return LOOPBACK_TIME_S
        _, extra_s = self.middle(a, b)
        return a.latency_s + b.latency_s + extra_s

    def write_weight(self, size_bytes: int) -> int:
        return self.scale if size_bytes >= self.bulk_from_bytes else 1

    def touch(self, flow: Flow) -> None:
        """The flow may be able to move. It is looked at when all tasks wait: what is written at once goes as one."""
        if not flow.dirty:
            flow.dirty = True
            if not self._dirty:
                self.kernel.soon(self._sweep)
            self._dirty.append(flow)

    def _sweep(self) -> None:
        dirty, self._dirty = self._dirty, []
        for flow in dirty:
            flow.dirty = False
            flow.move()

    def lost_for_s(self) -> float:
        """How much later a chunk comes because of losses."""
        late_s, pause_s = 0.0, RETRANSMIT_FIRST_S
        for _ in range(5):
            if self.dice.random() >= self.weather.loss:
                break
            late_s += pause_s
            pause_s *= 2
        return late_s


def os_error(number: int) -> OSError:
    return OSError(number, errno.errorcode[number])
