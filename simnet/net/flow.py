"""One direction of a connection: its bytes are sent in chunks, cross the links, get lost, and land."""

from __future__ import annotations

import errno
import zlib
from functools import partial
from typing import Any, Protocol

from trio.lowlevel import Task

from simnet.marks import sometimes
from simnet.net.content import Content
from simnet.net.host import Host, Traffic
from simnet.net.link import CHUNK_BYTES, Link
from simnet.net.network import (
    BOOK_AHEAD_S,
    LOOPBACK_TIME_S,
    PACKET_BYTES,
    RETRANSMIT_FIRST_S,
    RETRANSMIT_TRIES_MAX,
    SMALL_BYTES,
    UNSENT_BYTES,
    Net,
)
from simnet.net.relay import Relay

# A reader that waits is woken for whole messages and for a part of a piece; for less, when it has waited for so long.
PATIENT_READER_S = 0.05
# Instead of a number of bytes: nothing more comes.
FIN = -1


class End(Protocol):
    """A socket, as what flows to and from it sees it. reader, reader_since: the task that waits for bytes; since when.

    wanted_bytes: for fewer it is not woken.
    """

    host: Host
    port: int
    closed: bool
    ended: bool
    reader: Task | None
    reader_since: float
    wanted_bytes: int

    def wake_reader(self) -> None: ...

    def wake_writer(self) -> None: ...

    def fail(self, number: int) -> None: ...

    def reset_other(self) -> None: ...


class Flow(Content):
    """One direction of a connection: its bytes on their way."""

    __slots__ = (
        "again",
        "blocked",
        "chunk_bytes",
        "cwnd",
        "dead",
        "dirty",
        "dst",
        "dst_life",
        "fin",
        "fin_sent",
        "first",
        "given",
        "hops",
        "in_flight",
        "kernel",
        "last",
        "latency_s",
        "local",
        "name",
        "net",
        "port",
        "queued",
        "receiver",
        "relay",
        "sender",
        "src",
        "src_life",
        "taken",
        "tries",
        "up",
        "window",
    )  # fmt: skip

    def __init__(self, net: Net, sender: End, receiver: End, port: int, name: str) -> None:
        """port: the one that the connection was accepted at; its traffic is counted by it."""
        super().__init__()
        self.net, self.kernel, self.name, self.port = net, net.kernel, name, port
        self.sender, self.receiver = sender, receiver
        self.src, self.dst = src, dst = sender.host, receiver.host
        self.src_life, self.dst_life = src.life, dst.life
        self.local = src is dst
        self.up = src.up
        middle, extra_s = ([], 0.0) if self.local else net.middle(src, dst)
        self.latency_s = LOOPBACK_TIME_S if self.local else src.latency_s + dst.latency_s + extra_s
        # On a shared medium the last hop is the first one again, and the bytes cross it twice.
        self.hops: list[Link] = [*middle, dst.down]
        self.relay = Relay(self.kernel, self.travel) if dst.down.shared else None
        self.in_flight = 0.0
        self.chunk_bytes = src.up.chunk_bytes()
        slowest = min(src.up.rate, *(hop.rate for hop in self.hops))
        under_way = slowest * 2 * self.latency_s
        self.cwnd = 2 * CHUNK_BYTES + under_way
        # Both ends of a long line take more.
        self.window = net.window_bytes + (0 if self.local else int(under_way / net.scale))
        self.first = self.last = 0.0  # no later byte comes before these
        self.dirty = self.queued = self.blocked = self.fin = self.fin_sent = self.dead = False
        self.tries = 0
        self.again: list[Any] | None = None
        self.given = src.given.setdefault(port, Traffic()) if sender.port == port else None
        self.taken = dst.taken.setdefault(port, Traffic()) if sender.port == port else None

    # --- the sender's side

    def write(self, content: bytes) -> None:
        size_bytes = len(content)
        weight = 1 if self.local else self.net.write_weight(size_bytes)
        if self.net.tamper is not None and not self.local:
            content = self.net.tamper(self.src, self.dst, self.port, bytes(content))
            assert len(content) == size_bytes
        self.put(content, weight)
        self.kernel.trace(f"w {self.name} {size_bytes} {zlib.crc32(content[:512])}")
        self.net.touch(self)

    def finish(self) -> None:
        self.fin = True
        self.net.touch(self)

    def move(self) -> None:
        """Sends what can be sent, or takes its turn at the interface."""
        if self.queued or self.blocked or self.dead:
            return
        if self.sent == self.written:
            if self.fin and not self.fin_sent:
                self._send_fin()
        elif self.local:
            self._hand_over()
        elif self.unsent_wire <= SMALL_BYTES and self._slips_through():
            self._send_small()
        else:
            self.up.enqueue(self)

    def _hand_over(self) -> None:
        """Loopback: whatever the window takes, at once."""
        size_bytes = min(self.written - self.sent, self.window * self.net.scale - (self.sent - self.read))
        if size_bytes <= 0:
            self.blocked = True
            return
        raw, wire = self._take(size_bytes)
        self._landing(self.kernel.now + LOOPBACK_TIME_S, raw, wire)
        self._sent_on()

    def _slips_through(self) -> bool:
        return self.can_send() and not self.up.paused and not self.net.weather.loss

    def can_send(self) -> bool:
        """Whether the next packet would arrive, as far as anybody can know now."""
        src, dst = self.src, self.dst
        net = self.net
        return src.alive and src.life == self.src_life and dst.alive and (not net.cuts or net.reaches(src, dst))

    def _send_small(self) -> None:
        raw, wire = self._take(self.unsent_wire)
        self.in_flight += wire
        self._slip(raw, wire)
        self._sent_on()

    def _slip(self, raw: int, wire: int) -> None:
        """Something small goes at once, and what it slips past waits a little longer. raw: FIN for the end."""
        now, up = self.kernel.now, self.up
        took_s = wire / up.rate
        up.busy_until = max(up.busy_until, now) + took_s
        up.bytes_carried += wire
        first = self._first()
        self.travel(0, first, first + took_s, raw, wire)

    def _first(self) -> float:
        """When what is sent now comes to the end of the first wire. Nothing overtakes within a connection."""
        net, late_s = self.net, self.latency_s
        if net.weather.jitter_s:
            late_s += net.dice.uniform(0, net.weather.jitter_s)
        if net.weather.loss:
            late_s += net.lost_for_s()
        self.first = first = max(self.kernel.now + late_s, self.first)
        return first

    def _take(self, wire_max: float) -> tuple[int, int]:
        raw, wire = taken = self.unsent(wire_max)
        if self.given is not None:
            self._count(self.given, raw, wire)
        return taken

    def _count(self, traffic: Traffic, raw: int, wire: int) -> None:
        traffic.all_bytes += raw
        scale = self.net.scale
        traffic.bulk_bytes += raw if scale == 1 or self.local else (wire - raw) // (scale - 1)

    def _sent_on(self) -> None:
        if self.unsent_wire <= UNSENT_BYTES:
            self.sender.wake_writer()
        if self.sent < self.written or self.fin:
            self.net.touch(self)

    def depart(self, link: Link) -> float | None:
        """Our turn: sends a chunk and says how long the interface is busy with it, or None where nothing can go."""
        if self.dead or self.sent == self.written:
            self.net.touch(self)
            return None
        if self.src.life != self.src_life or not self.src.alive:
            self.dead = True
            return None
        if not self.can_send():
            self._stall()
            return None
        if self.in_flight >= self.cwnd or self.sent - self.read >= self.window:
            self.blocked = True
            sometimes("a window was full", self.sent - self.read >= self.window)
            return None
        raw, wire = self._take(self.chunk_bytes)
        self.in_flight += wire
        twice = 2 if link is self.hops[-1] else 1
        time_s = twice * wire / link.rate
        link.bytes_carried += twice * wire
        first = self._first()
        self.travel(0, first, first + time_s, raw, wire)
        if self.unsent_wire <= UNSENT_BYTES:
            self.sender.wake_writer()
        if self.sent < self.written:
            if self.in_flight < self.cwnd:
                link.queue.append(self)
                self.queued = True
            else:
                self.blocked = True
        elif self.fin:
            self.net.touch(self)
        return time_s

    def travel(self, hop: int, first: float, last: float, raw: int, wire: int) -> None:
        """Crosses one link after the other; first and last: when its bytes come to the next one."""
        while hop < len(self.hops):
            link = self.hops[hop]
            if link.paused:
                link.held.append(partial(self._go_on, hop, first, last, raw, wire))
                return
            if link is self.up:  # a shared medium: it has been on it twice already
                break
            if first > self.kernel.now + BOOK_AHEAD_S:
                self.kernel.at(first, self.travel, hop, first, last, raw, wire)
                return
            if self.relay is not None and link.shared and (wire > SMALL_BYTES or self.relay.coming):
                self.relay.expect(last, link, hop, raw, wire)
                return
            if wire <= SMALL_BYTES:
                last = max(last, link.slip(first, wire))
            else:
                last = link.book(first, last, wire)
                first = max(first, last - wire / link.rate)
            hop += 1
        self._landing(last, raw, wire)

    def _go_on(self, hop: int, first: float, last: float, raw: int, wire: int) -> None:
        now = self.kernel.now
        self.travel(hop, max(first, now), max(last, now), raw, wire)

    def _landing(self, time: float, raw: int, wire: int) -> None:
        self.last = time = max(time, self.last)
        if raw == FIN:
            self.kernel.at(time, self._fin_lands)
        else:
            self.kernel.at(time, self._land, raw, wire)

    def _stall(self) -> None:
        """Nothing gets through: again after a while, and at last not any more (tcp(7), tcp_retries2; shorter)."""
        self.blocked = True
        if self.again is not None:
            return
        sometimes("bytes had to be sent again")
        self.tries += 1
        if self.tries > RETRANSMIT_TRIES_MAX:
            self.kernel.trace(f"timeout {self.name}")
            sometimes("a connection timed out")
            self.sender.fail(errno.ETIMEDOUT)
            return
        pause_s = RETRANSMIT_FIRST_S * 2 ** (self.tries - 1)
        self.again = self.kernel.after(pause_s, self._try_again)

    def _try_again(self) -> None:
        self.again = None
        if self.dead:
            return
        if self.src.life != self.src_life:
            self.dead = True
        elif not self.can_send() or not self.net.reaches(self.dst, self.src):
            self._stall()
        elif self.dst.life != self.dst_life:
            self._reset_by_stranger()
        else:
            self.blocked = False
            self.in_flight = 0.0
            self.net.touch(self)

    def _reset_by_stranger(self) -> None:
        """The host was started anew and knows nothing of this connection."""
        self.dead = True
        sometimes("a machine that came back knew nothing of a connection")
        self.kernel.after(self.latency_s, self.sender.fail, errno.ECONNRESET)

    def _send_fin(self) -> None:
        if self.local:
            self.fin_sent = True
            self._landing(self.kernel.now + LOOPBACK_TIME_S, FIN, 0)
        elif self.src.life != self.src_life:
            self.dead = True
        elif not self.can_send():
            self._stall()
        elif self.up.paused:
            self.up.held.append(partial(self.net.touch, self))
        else:
            self.fin_sent = True
            self._slip(FIN, PACKET_BYTES)

    # --- the receiver's side

    def _land(self, raw: int, wire: int) -> None:
        if self.dead:
            return
        dst = self.dst
        if not dst.alive:
            self._lost(raw, wire)
            return
        if dst.life != self.dst_life:
            self._reset_by_stranger()
            return
        if not self.local:
            self.in_flight -= wire
            self.tries = 0
        self.delivered += raw
        if self.taken is not None:
            self._count(self.taken, raw, wire)
        self.kernel.trace(f"d {self.name} {raw}")
        receiver = self.receiver
        if receiver.closed:
            # Nobody will read it (RFC 2525, 2.17).
            receiver.reset_other()
            return
        if self.net.cuts and not self.net.reaches(dst, self.src):
            self.in_flight += wire
            self._stall()  # the bytes came, and the word that they did does not get back
        elif self.blocked and self.again is None and self.in_flight < self.cwnd:
            self._unblock_later()
        if receiver.reader is not None and self._is_worth_a_wake(receiver):
            receiver.wake_reader()

    def _is_worth_a_wake(self, receiver: End) -> bool:
        if receiver.wanted_bytes > 1:
            return self.delivered - self.read >= receiver.wanted_bytes
        return (
            self.delivered == self.written
            or self.delivered - self.read >= self.net.wake_bytes
            or self.kernel.now - receiver.reader_since > PATIENT_READER_S
        )

    def _lost(self, raw: int, wire: int) -> None:
        """The other machine is off: it stays to be sent."""
        self.send_again(raw, wire)
        self.in_flight -= wire
        self._stall()

    def _unblock_later(self) -> None:
        if self.sent - self.read < self.window:
            self.blocked = False
            self.kernel.after(self.latency_s, self.net.touch, self)

    def was_read(self, size_bytes: int) -> None:
        self.read += size_bytes
        if self.blocked and self.again is None and not self.dead:
            if self.local:
                if self.written > self.sent:
                    self.blocked = False
                    self.net.touch(self)
            elif self.sent - self.read <= self.window // 2 and self.in_flight < self.cwnd:
                self._unblock_later()

    def _fin_lands(self) -> None:
        if self.dead or not self.dst.alive or self.dst.life != self.dst_life:
            return
        self.kernel.trace(f"fin {self.name}")
        self.receiver.ended = True
        self.receiver.wake_reader()
