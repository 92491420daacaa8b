"""TCP over the simulated wires: sockets as trio knows them, with windows, FIN and RST, refusals and time-outs."""

from __future__ import annotations

import builtins
import errno
import socket as real
import struct
import zlib
from collections import deque
from functools import partial
from types import TracebackType
from typing import Any

import trio
from trio.lowlevel import Abort, Task, checkpoint_if_cancelled, current_task, reschedule, wait_task_rescheduled

from simnet.marks import sometimes
from simnet.network import (
    BOOK_AHEAD_S,
    CHUNK_BYTES,
    LOOPBACK_TIME_S,
    PACKET_BYTES,
    PROCESS,
    RETRANSMIT_FIRST_S,
    RETRANSMIT_TRIES_MAX,
    SMALL_BYTES,
    SYN_AGAIN_FIRST_S,
    SYN_TRIES_MAX,
    UNSENT_BYTES,
    Host,
    Link,
    Net,
    Traffic,
    here,
    os_error,
)

EVERYWHERE = ("0.0.0.0", "::")
BACKLOG_MAX = 4096
# A reader that waits is woken for whole messages and for a part of a piece; for less, when it has waited for so long.
PATIENT_READER_S = 0.05
# Instead of a number of bytes: nothing more comes.
FIN = -1
# The last chunk of a message is not split for this little.
CHUNK_SLACK_BYTES = 8 * 1024


class Relay:
    """A connection's bytes from outside that wait at the access point: in the air they take their turn like others."""

    __slots__ = ("coming", "flow", "queued", "waiting")

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.queued = False
        self.coming = 0  # chunks that are on their way here, or wait
        self.waiting: deque[tuple[int, int, int]] = deque()  # hop, raw, wire

    def expect(self, at: float, hop: int, raw: int, wire: int) -> None:
        """A chunk is here at that time."""
        self.coming += 1
        self.flow.kernel.at(max(at, self.flow.kernel.now), self._came, hop, raw, wire)

    def _came(self, hop: int, raw: int, wire: int) -> None:
        self.waiting.append((hop, raw, wire))
        if not self.queued:
            self.flow.hops[hop].enqueue(self)

    def depart(self, link: Link) -> float | None:
        hop, raw, wire = self.waiting.popleft()
        self.coming -= 1
        time_s = wire / link.rate
        link.bytes_carried += wire
        now = self.flow.kernel.now
        self.flow.travel(hop + 1, now, now + time_s, raw, wire)
        if self.waiting:
            link.queue.append(self)
            self.queued = True
        return time_s


class Flow:
    """One direction of a connection. The positions count bytes from the beginning of the connection."""

    __slots__ = (
        "again",
        "blocked",
        "buffer",
        "chunk_bytes",
        "cwnd",
        "dead",
        "delivered",
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
        "read",
        "receiver",
        "relay",
        "segments",
        "sender",
        "sent",
        "src",
        "src_life",
        "taken",
        "tries",
        "unsent_wire",
        "up",
        "window",
        "written",
    )  # fmt: skip

    def __init__(self, net: Net, sender: SimSocket, receiver: SimSocket, port: int, name: str) -> None:
        """port: the one that the connection was accepted at; its traffic is counted by it."""
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
        self.relay = Relay(self) if dst.down.shared else None
        self.buffer: deque[bytes | memoryview] = deque()
        self.segments: deque[list[int]] = deque()  # [bytes not yet sent, what each weighs]
        self.written = self.sent = self.delivered = self.read = 0
        self.unsent_wire = 0
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
        self.buffer.append(content)
        self.segments.append([size_bytes, weight])
        self.written += size_bytes
        self.unsent_wire += size_bytes * weight
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
        return src.alive and src.life == self.src_life and dst.alive and self.net.reaches(src, dst)

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
        """The next bytes to send, about that heavy: how many, and how heavy they are."""
        raw = wire = 0
        segments = self.segments
        while segments:
            segment = segments[0]
            size_bytes, weight = segment
            if wire + size_bytes * weight <= wire_max + CHUNK_SLACK_BYTES:
                raw += size_bytes
                wire += size_bytes * weight
                segments.popleft()
                continue
            fits = int((wire_max - wire) // weight)
            if fits <= 0 and raw:
                break
            fits = max(1, fits)
            raw += fits
            wire += fits * weight
            segment[0] -= fits
            break
        self.sent += raw
        self.unsent_wire -= wire
        if self.given is not None:
            self._count(self.given, raw, wire)
        return raw, wire

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
                self.relay.expect(last, hop, raw, wire)
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
        if not self.net.reaches(dst, self.src):
            self.in_flight += wire
            self._stall()  # the bytes came, and the word that they did does not get back
        elif self.blocked and self.again is None and self.in_flight < self.cwnd:
            self._unblock_later()
        if receiver.reader is not None and self._is_worth_a_wake(receiver):
            receiver.wake_reader()

    def _is_worth_a_wake(self, receiver: SimSocket) -> bool:
        if receiver.wanted_bytes > 1:
            return self.delivered - self.read >= receiver.wanted_bytes
        return (
            self.delivered == self.written
            or self.delivered - self.read >= self.net.wake_bytes
            or self.kernel.now - receiver.reader_since > PATIENT_READER_S
        )

    def _lost(self, raw: int, wire: int) -> None:
        """The other machine is off: it stays to be sent."""
        self.sent -= raw
        self.unsent_wire += wire
        self.in_flight -= wire
        self.segments.appendleft([raw, max(1, wire // max(1, raw))])
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

    @property
    def waiting_bytes(self) -> int:
        return self.delivered - self.read


class Listening:
    """A listening port: connections that wait to be accepted."""

    __slots__ = ("acceptor", "backlog", "queue", "socket")

    def __init__(self, socket: SimSocket, backlog: int) -> None:
        self.socket = socket
        self.backlog = backlog
        self.queue: deque[SimSocket] = deque()
        self.acceptor: Task | None = None


class SimSocket(trio.socket.SocketType):
    """A stream socket on a simulated host. Its descriptor is -1, by which the product takes its plain paths."""

    def __init__(self, net: Net, host: Host, family: int = real.AF_INET) -> None:
        self.net = net
        self.host = host
        self.life = host.life
        self.process = PROCESS.get()
        self.ip, self.port = "0.0.0.0", 0
        self.peer: tuple[str, int] | None = None
        self.incoming: Flow | None = None
        self.outgoing: Flow | None = None
        self.reader: Task | None = None
        self.reader_since = 0.0
        self.wanted_bytes = 1  # SO_RCVLOWAT
        self.writer: Task | None = None
        self.closed = self.ended = False
        self.error: int | None = None
        self._family = real.AddressFamily(family)
        self._listening: Listening | None = None
        self._shut = False
        self._lingers = True
        self._options: dict[tuple[int, int], Any] = {}

    # --- facts

    @property
    def family(self) -> real.AddressFamily:
        return self._family

    @property
    def type(self) -> real.SocketKind:
        return real.SOCK_STREAM

    @property
    def proto(self) -> int:
        return 0

    @property
    def did_shutdown_SHUT_WR(self) -> bool:
        return self._shut

    def __repr__(self) -> str:
        return f"<SimSocket {self.host} {self.ip}:{self.port} {self.peer}>"

    def __enter__(self) -> SimSocket:
        return self

    def __exit__(
        self,
        exc_type: builtins.type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def fileno(self) -> int:
        return -1

    def getsockname(self) -> Any:
        return (self.ip, self.port)

    def getpeername(self) -> Any:
        self._check_open()
        if self.peer is None:
            raise os_error(errno.ENOTCONN)
        return self.peer

    def getsockopt(self, level: int, optname: int, buflen: int | None = None) -> Any:
        self._check_open()
        if (level, optname) == (real.SOL_SOCKET, real.SO_ACCEPTCONN):
            return int(self._listening is not None)
        if (level, optname) == (real.SOL_SOCKET, real.SO_ERROR):
            return self.error or 0
        return self._options.get((level, optname), 0)

    def setsockopt(self, level: int, optname: int, value: Any, optlen: int | None = None) -> None:
        self._check_open()
        if (level, optname) == (real.SOL_SOCKET, real.SO_LINGER):
            on, seconds = struct.unpack("ii", bytes(value))
            self._lingers = not (on and seconds == 0)
        if (level, optname) == (real.SOL_SOCKET, real.SO_RCVLOWAT):
            # As Linux, which lets nobody wait for more than half of what the buffer may grow to.
            self.wanted_bytes = max(1, min(int(value), self.net.window_bytes // 2))
            if self.incoming is not None and self.incoming.waiting_bytes >= self.wanted_bytes:
                self.wake_reader()
        self._options[level, optname] = value

    def is_readable(self) -> bool:
        flow = self.incoming
        return self.closed or self.ended or self.error is not None or (flow is not None and flow.waiting_bytes > 0)

    # --- listening

    async def bind(self, address: Any) -> None:
        self._check_open()
        host, port = address[:2]
        if self._family != real.AF_INET or host not in ("127.0.0.1", "0.0.0.0", "", self.host.ip):
            raise os_error(errno.EADDRNOTAVAIL)
        self.ip = host or "0.0.0.0"
        port = port or self.host.free_port()
        if any((ip, port) in self.host.listening for ip in {self.ip, "0.0.0.0"}):
            raise os_error(errno.EADDRINUSE)
        self.port = port

    def listen(self, backlog: int = 128) -> None:
        self._check_open()
        if (self.ip, self.port) in self.host.listening:
            raise os_error(errno.EADDRINUSE)
        self._listening = self.host.listening[self.ip, self.port] = Listening(self, min(backlog, BACKLOG_MAX))
        self.host.sockets[self] = None

    async def accept(self) -> tuple[SimSocket, Any]:
        listening = self._listening
        await checkpoint_if_cancelled()
        self._check_open()
        if listening is None:
            raise os_error(errno.EINVAL)
        while not listening.queue:
            assert listening.acceptor is None, "two tasks accept on one socket"
            listening.acceptor = current_task()

            def abort(_: object) -> Abort:
                listening.acceptor = None
                return Abort.SUCCEEDED

            await wait_task_rescheduled(abort)
            self._check_open()
        accepted = listening.queue.popleft()
        return accepted, accepted.peer

    # --- connecting

    async def connect(self, address: Any) -> None:
        await checkpoint_if_cancelled()
        self._check_open()
        ip, port = address[:2]
        loopback = ip in ("127.0.0.1", "localhost", *EVERYWHERE)
        if self._family != real.AF_INET:
            raise os_error(errno.ENETUNREACH)
        net, kernel = self.net, self.net.kernel
        target = self.host if loopback else net.host_at(ip)
        self.peer = (ip, port)
        self.port = self.port or self.host.free_port()
        self.ip = "127.0.0.1" if loopback else self.host.ip
        pause_s = SYN_AGAIN_FIRST_S
        for _ in range(SYN_TRIES_MAX + 1):
            latency_s = 1e-3 if target is None else net.latency_s(self.host, target)
            await kernel.sleep(2 * latency_s)
            self._check_open()
            answer = self._knock(target, ip, port)
            if answer == "taken":
                kernel.trace(f"c {self.host}:{self.port} {ip}:{port}")
                return
            if answer == "refused":
                kernel.trace(f"refused {self.host} {ip}:{port}")
                raise os_error(errno.ECONNREFUSED)
            await kernel.sleep(pause_s)
            pause_s *= 2
        raise os_error(errno.ETIMEDOUT)

    def _knock(self, target: Host | None, ip: str, port: int) -> str:
        """A SYN, and what comes back: "taken", "refused", or nothing."""
        net, host = self.net, self.host
        if target is None or not target.alive or self.life != host.life or not host.alive:
            return ""
        if target is not host and not (net.reaches(host, target) and net.reaches(target, host)):
            return ""
        if target.up.paused or target.down.paused or host.up.paused or host.down.paused:
            return ""
        if net.weather.loss and target is not host and net.dice.random() < net.weather.loss:
            return ""
        door = next((target.listening[at, port] for at in (ip, *EVERYWHERE) if (at, port) in target.listening), None)
        if door is None:
            return "refused"
        if len(door.queue) >= door.backlog:
            sometimes("a listener's queue was full")
            return ""
        net.flows += 1
        other = SimSocket(net, target)
        other.ip, other.port = ip if target is not host else "127.0.0.1", port
        other.peer = (self.ip, self.port)
        other.process = door.socket.process
        host.sockets[self] = target.sockets[other] = None
        name = f"{net.flows}"
        self.outgoing = other.incoming = Flow(net, self, other, port, f"{name}>")
        self.incoming = other.outgoing = Flow(net, other, self, port, f"{name}<")
        door.queue.append(other)
        if door.acceptor is not None:
            task, door.acceptor = door.acceptor, None
            reschedule(task)
        return "taken"

    # --- bytes

    def send_now(self, content: Any) -> int:
        """Takes all of it, or nothing where too much is unsent already."""
        flow = self._flow_out()
        if flow.unsent_wire > UNSENT_BYTES:
            return 0
        size_bytes = len(content)
        whole = content.obj if isinstance(content, memoryview) else content
        # What is immutable is shared; no copy is made before the other end reads.
        flow.write(whole if type(whole) is bytes and len(whole) == size_bytes else bytes(content))
        return size_bytes

    async def send(self, content: Any, flags: int = 0, /) -> int:
        """Takes all of it. Returns at once where that is no more than a buffer takes, else when nearly all is sent."""
        await checkpoint_if_cancelled()
        flow = self._flow_out()
        if flow.unsent_wire > UNSENT_BYTES:
            await self._wait_writable(flow)
        unsent_before = flow.unsent_wire
        size_bytes = self.send_now(content)
        if flow.unsent_wire - unsent_before > UNSENT_BYTES:
            try:
                await self._wait_writable(flow)
            except trio.Cancelled:
                self._take_back(flow)
                raise
        return size_bytes

    async def _wait_writable(self, flow: Flow) -> None:
        while flow.unsent_wire > UNSENT_BYTES:
            assert self.writer is None, "two tasks write to one socket"
            self.writer = current_task()

            def abort(_: object) -> Abort:
                self.writer = None
                return Abort.SUCCEEDED

            await wait_task_rescheduled(abort)
            self._flow_out()

    def _take_back(self, flow: Flow) -> None:
        """Of a send that was cancelled, the socket has what its buffer takes, and no more."""
        sometimes("a send was cancelled")
        keep = UNSENT_BYTES // self.net.scale
        surplus = flow.written - flow.sent - keep
        while surplus > 0 and flow.segments:
            segment = flow.segments[-1]
            cut = min(surplus, segment[0])
            segment[0] -= cut
            flow.unsent_wire -= cut * segment[1]
            if not segment[0]:
                flow.segments.pop()
            surplus -= cut
            flow.written -= cut
            while cut:
                last = flow.buffer.pop()
                if len(last) > cut:
                    flow.buffer.append(memoryview(last)[: len(last) - cut])
                    cut = 0
                else:
                    cut -= len(last)

    async def wait_writable(self) -> None:
        await checkpoint_if_cancelled()
        await self._wait_writable(self._flow_out())

    def receive_now(self, size_bytes_max: int) -> bytes | None:
        """Some bytes, none at the end, None where nothing has come."""
        flow = self._flow_in()
        if flow is not None and flow.delivered == flow.read:
            return None
        return b"" if flow is None else _taken(flow, min(size_bytes_max, flow.delivered - flow.read))

    async def recv(self, buflen: int, flags: int = 0, /) -> bytes:
        await checkpoint_if_cancelled()
        flow = await self._readable()
        return b"" if flow is None else _taken(flow, min(buflen, flow.delivered - flow.read))

    async def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        await checkpoint_if_cancelled()
        flow = await self._readable()
        return 0 if flow is None else _take_into(flow, memoryview(buffer), nbytes or len(buffer))

    async def _readable(self) -> Flow | None:
        """The flow when it has something to read; None at the end."""
        while True:
            flow = self._flow_in()
            if flow is None or flow.delivered > flow.read:
                return flow
            assert self.reader is None, "two tasks read from one socket"
            self.reader = current_task()
            self.reader_since = self.net.kernel.now

            def abort(_: object) -> Abort:
                self.reader = None
                return Abort.SUCCEEDED

            await wait_task_rescheduled(abort)

    def _flow_in(self) -> Flow | None:
        """The flow; None where nothing is left to read and nothing will come."""
        flow = self.incoming
        if self.closed:
            raise os_error(errno.EBADF)
        if flow is None:
            raise os_error(errno.ENOTCONN)
        if flow.delivered == flow.read:
            if self.error is not None:
                raise os_error(self.error)
            if self.ended:
                return None
        return flow

    # --- endings

    def shutdown(self, flag: int) -> None:
        flow = self._flow_out()
        if flag in (real.SHUT_WR, real.SHUT_RDWR):
            self._shut = True
            flow.finish()

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self.host.sockets.pop(self, None)
        if self._listening is not None:
            self._stop_listening(self._listening)
        flow = self.incoming
        if flow is not None and self.outgoing is not None and self.error is None:
            if flow.waiting_bytes or not self._lingers:
                self.reset_other()
            elif not self._shut:
                self.outgoing.finish()
        self.wake_reader()
        self.wake_writer()

    def abort(self) -> None:
        """The process that had it is no more: the other end gets a reset."""
        self.reset_other()
        self.close()

    def detach(self) -> int:
        self.close()
        return -1

    def _stop_listening(self, listening: Listening) -> None:
        if self.host.listening.get((self.ip, self.port)) is listening:
            del self.host.listening[self.ip, self.port]
        for waiting in listening.queue:
            waiting.reset_other()
        listening.queue.clear()
        if listening.acceptor is not None:
            task, listening.acceptor = listening.acceptor, None
            reschedule(task)

    def reset_other(self) -> None:
        """RST: what was under way is forgotten, and the other end gets ECONNRESET."""
        flow = self.outgoing
        if flow is None or flow.dead:
            return
        flow.dead = True
        if self.incoming is not None:
            self.incoming.dead = True
        if self.life == self.host.life and flow.can_send():
            self.net.kernel.after(flow.latency_s, self._rst_lands, flow)

    def _rst_lands(self, flow: Flow) -> None:
        if flow.dst.alive and flow.dst.life == flow.dst_life:
            self.net.kernel.trace(f"rst {flow.name}")
            flow.receiver.fail(errno.ECONNRESET)

    def fail(self, number: int) -> None:
        """The connection is broken: reading and writing raise this from now on."""
        if self.error is None:
            self.error = number
        for flow in (self.incoming, self.outgoing):
            if flow is not None:
                flow.dead = True
        self.wake_reader()
        self.wake_writer()

    def lose_power(self) -> None:
        """Our machine is off: who waits here hears an error, and the other end hears nothing."""
        self.error = errno.EIO
        self.wake_reader()
        self.wake_writer()

    def wake_reader(self) -> None:
        if self.reader is not None:
            task, self.reader = self.reader, None
            reschedule(task)

    def wake_writer(self) -> None:
        if self.writer is not None:
            task, self.writer = self.writer, None
            reschedule(task)

    def _flow_out(self) -> Flow:
        self._check_open()
        if self.error is not None:
            raise os_error(self.error if self.error == errno.ETIMEDOUT else errno.EPIPE)
        if self._shut:
            raise os_error(errno.EPIPE)
        if self.outgoing is None:
            raise os_error(errno.ENOTCONN)
        return self.outgoing

    def _check_open(self) -> None:
        if self.closed:
            raise os_error(errno.EBADF)


class Factory(trio.abc.SocketFactory):
    """What trio.socket.socket gives in a simulated world."""

    def __init__(self, net: Net) -> None:
        self._net = net

    def socket(self, family: int = 2, type: int = 1, proto: int = 0) -> SimSocket:
        return SimSocket(self._net, here(), int(family))


async def listen(ip: str, port: int) -> trio.SocketListener:
    """A listener on the host of the running task. ip: one of its own, or 0.0.0.0 for all of them."""
    listening = trio.socket.socket()
    await listening.bind((ip, port))
    listening.listen(BACKLOG_MAX)
    return trio.SocketListener(listening)


def _take_into(flow: Flow, view: memoryview, size_bytes_max: int) -> int:
    """The next bytes of what was delivered, as many as there are and fit."""
    buffer = flow.buffer
    size_bytes = min(size_bytes_max, flow.delivered - flow.read)
    at = 0
    while at < size_bytes:
        part = buffer[0]
        length = len(part)
        if at + length <= size_bytes:
            view[at : at + length] = part
            buffer.popleft()
            at += length
        else:
            length = size_bytes - at
            view[at:size_bytes] = part[:length]
            buffer[0] = memoryview(part)[length:]
            at = size_bytes
    flow.was_read(size_bytes)
    return size_bytes


def _taken(flow: Flow, size_bytes: int) -> bytes:
    """The next bytes of what was delivered."""
    buffer = flow.buffer
    first = buffer[0]
    if len(first) == size_bytes:
        buffer.popleft()
        flow.was_read(size_bytes)
        return bytes(first)
    parts: list[bytes | memoryview] = []
    missing = size_bytes
    while missing:
        part = buffer[0]
        if len(part) <= missing:
            buffer.popleft()
        else:
            buffer[0] = memoryview(part)[missing:]
            part = memoryview(part)[:missing]
        parts.append(part)
        missing -= len(part)
    flow.was_read(size_bytes)
    return b"".join(parts)
