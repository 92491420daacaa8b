"""The wires: all hosts of a run, what lies between them, and what may happen to it.

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
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from simnet.net.dns import Dns
from simnet.net.host import Host
from simnet.net.link import GIGABIT, Link
from simnet.turns.kernel import Kernel

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


class Mover(Protocol):
    """One direction of a connection. dirty: whether it is to be looked at."""

    dirty: bool

    def move(self) -> None:
        """Sends what can be sent."""
        ...


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
        self._dirty: list[Mover] = []

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
        uplink = up if isinstance(up, Link) else Link(self.kernel, f"{name}>", up)
        downlink = down if isinstance(down, Link) else Link(self.kernel, f">{name}", down)
        host = Host(name, ip, uplink, downlink, latency_s, segment, kind=kind)
        assert name not in self.hosts
        assert ip not in self._by_ip
        self.hosts[name] = self._by_ip[ip] = host
        self.dns.names[name] = [ip]
        return host

    def link(self, name: str, rate: float, *, shared: bool = False) -> Link:
        """A link between hosts, for `middle`, or a medium that hosts share."""
        return Link(self.kernel, name, rate, shared=shared)

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

    def touch(self, flow: Mover) -> None:
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
