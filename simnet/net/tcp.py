"""TCP sockets as trio knows them, on simulated hosts: listening, connecting, bytes, and all ways in which one ends."""

from __future__ import annotations

import builtins
import errno
import socket as real
import struct
from collections import deque
from types import TracebackType
from typing import Any

import trio
from trio import lowlevel
from trio.lowlevel import Abort, Task, checkpoint_if_cancelled, current_task

from simnet.marks import sometimes
from simnet.net.flow import Flow
from simnet.net.host import PROCESS, Host, here
from simnet.net.network import SYN_AGAIN_FIRST_S, SYN_TRIES_MAX, UNSENT_BYTES, Net, os_error

EVERYWHERE = ("0.0.0.0", "::")
BACKLOG_MAX = 4096


class Listening:
    """A listening port: connections that wait to be accepted."""

    __slots__ = ("acceptor", "backlog", "queue")

    def __init__(self, backlog: int) -> None:
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
        self._listening = Listening(min(backlog, BACKLOG_MAX))
        self.host.listening[self.ip, self.port] = self
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

            await lowlevel.wait_task_rescheduled(abort)
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
        listener = next(
            (target.listening[at, port] for at in (ip, *EVERYWHERE) if (at, port) in target.listening), None
        )
        door = listener._listening if isinstance(listener, SimSocket) else None
        if listener is None or door is None:
            return "refused"
        if len(door.queue) >= door.backlog:
            sometimes("a listener's queue was full")
            return ""
        net.flows += 1
        other = SimSocket(net, target)
        other.ip, other.port = ip if target is not host else "127.0.0.1", port
        other.peer = (self.ip, self.port)
        other.process = listener.process
        host.sockets[self] = target.sockets[other] = None
        name = f"{net.flows}"
        self.outgoing = other.incoming = Flow(net, self, other, port, f"{name}>")
        self.incoming = other.outgoing = Flow(net, other, self, port, f"{name}<")
        door.queue.append(other)
        if door.acceptor is not None:
            task, door.acceptor = door.acceptor, None
            lowlevel.reschedule(task)
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

            await lowlevel.wait_task_rescheduled(abort)
            self._flow_out()

    def _take_back(self, flow: Flow) -> None:
        """Of a send that was cancelled, the socket has what its buffer takes, and no more."""
        sometimes("a send was cancelled")
        flow.take_back(UNSENT_BYTES // self.net.scale)

    async def wait_writable(self) -> None:
        await checkpoint_if_cancelled()
        await self._wait_writable(self._flow_out())

    def receive_now(self, size_bytes_max: int) -> bytes | None:
        """Some bytes, none at the end, None where nothing has come."""
        flow = self._flow_in()
        if flow is not None and flow.delivered == flow.read:
            return None
        return b"" if flow is None else flow.take(min(size_bytes_max, flow.delivered - flow.read))

    async def recv(self, buflen: int, flags: int = 0, /) -> bytes:
        await checkpoint_if_cancelled()
        flow = await self._readable()
        return b"" if flow is None else flow.take(min(buflen, flow.delivered - flow.read))

    async def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        await checkpoint_if_cancelled()
        flow = await self._readable()
        return 0 if flow is None else flow.take_into(memoryview(buffer), nbytes or len(buffer))

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

            await lowlevel.wait_task_rescheduled(abort)

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
        if self.host.listening.get((self.ip, self.port)) is self:
            del self.host.listening[self.ip, self.port]
        for waiting in listening.queue:
            waiting.reset_other()
        listening.queue.clear()
        if listening.acceptor is not None:
            task, listening.acceptor = listening.acceptor, None
            lowlevel.reschedule(task)

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
            lowlevel.reschedule(task)

    def wake_writer(self) -> None:
        if self.writer is not None:
            task, self.writer = self.writer, None
            lowlevel.reschedule(task)

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
