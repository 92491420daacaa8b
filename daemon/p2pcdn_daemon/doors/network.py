"""TCP and unix sockets of a real node: connections to peers, and the listeners of its three faces."""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import socket
import stat
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import trio

from p2pcdn.errors import P2pcdnError

log = logging.getLogger(__name__)

# A class of thirty starts uv at once, with fifty connections each; the kernel cuts this at net.core.somaxconn (4096).
BACKLOG = 2048

# How often another free port is tried for both families of loopback; one in a thousand is taken.
FREE_PORT_ATTEMPTS = 20

# The address of a unix socket is an array of 108 bytes with a zero at the end (unix(7)).
SOCKET_PATH_BYTES_MAX = 107

FIRST_ADOPTED_DESCRIPTOR = 3  # sd_listen_fds(3)

_FAMILY_MISSING = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)


class CannotListen(P2pcdnError):
    """A face cannot be opened; the message is one sentence with the flag that helps. The daemon exits with 2."""


class TcpNetwork:
    """The `p2pcdn.world.Network` of the real world."""

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        """A TCP connection with TCP_NODELAY; several addresses of a name are tried in turn. Raises OSError."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return await trio.open_tcp_stream(host, port)
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        connection = trio.socket.socket(family, socket.SOCK_STREAM)
        try:
            await connection.connect((host, port))
        except BaseException:
            connection.close()
            raise
        # SocketStream sets TCP_NODELAY.
        return trio.SocketStream(connection)

    async def connect_sealed(self, host: str, port: int, device: bytes) -> trio.abc.Stream:
        """TLS 1.3 whose certificate carries exactly this device key. Raises OSError."""
        from p2pcdn_daemon.doors import tls

        stream = await self.connect(host, port)
        assert isinstance(stream, trio.SocketStream)
        return await tls.seal(stream, device)


async def open_listeners(hosts: Sequence[str], port: int, flag: str) -> list[trio.SocketListener]:
    """A listener for each host, all on one port, which `flag` names; 0 picks one that is free for all of them.

    A host of a family that this machine has not (IPv6 is often off) is left out while another one remains.
    Raises CannotListen.
    """
    if port != 0:
        return await _listen_all(hosts, port, flag)
    for _ in range(FREE_PORT_ATTEMPTS):
        first = await _listen_all(hosts[:1], 0, flag, may_miss=len(hosts) > 1)
        if not first:
            return await open_listeners(hosts[1:], 0, flag)
        try:
            return first + await _listen_all(hosts[1:], port_of(first[0]), flag, may_miss=True)
        except CannotListen:
            await first[0].aclose()
    raise CannotListen(f"No port was found that is free for all addresses; name one by {flag}.")


async def open_control_listener(path: Path) -> trio.SocketListener:
    """The control face's unix socket, mode 0600, in a directory that is made with 0700 where it is missing.

    The socket of a node that died is replaced; that of one which lives is not. Raises CannotListen.
    """
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
        raise CannotListen(
            f"The path of the control socket is longer than {SOCKET_PATH_BYTES_MAX} bytes; "
            "name another one by --control-socket."
        )
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The kernel makes the file with the mode of the descriptor: it is not open to others for a moment.
        os.fchmod(control.fileno(), 0o600)
        with suppress(FileExistsError):
            os.makedirs(path.parent, 0o700)  # noqa: PTH103
        try:
            control.bind(os.fspath(path))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            _remove_dead(path)
            control.bind(os.fspath(path))
        control.listen(BACKLOG)
    except OSError as error:
        control.close()
        raise CannotListen(
            f"The control socket {path} cannot be made ({error.strerror}); name another one by --control-socket."
        ) from error
    except BaseException:
        control.close()
        raise
    return trio.SocketListener(trio.socket.from_stdlib_socket(control))


def port_of(listener: trio.SocketListener) -> int:
    """The port that a TCP listener has."""
    return int(listener.socket.getsockname()[1])


@dataclass(slots=True)
class Adopted:
    """The listeners that systemd gave us; a face without any opens its own."""

    index: list[trio.SocketListener] = field(default_factory=list)
    peer: list[trio.SocketListener] = field(default_factory=list)
    control: list[trio.SocketListener] = field(default_factory=list)


def adopted_listeners(
    environment: MutableMapping[str, str] = os.environ, *, first_descriptor: int = FIRST_ADOPTED_DESCRIPTOR
) -> Adopted:
    """Takes over the sockets of systemd's socket activation (sd_listen_fds(3)), if they are meant for this process.

    LISTEN_FDNAMES says which face each is for: index, peer, control. With any other name (one .socket unit has one name
    for all) the address says it: a unix socket is for control, loopback for the index, everything else for peers.
    The variables are removed, so that no child takes them for its own. Raises CannotListen.
    """
    variables = {name: environment.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")}
    adopted = Adopted()
    if variables["LISTEN_PID"] != str(os.getpid()):
        return adopted
    try:
        count = int(variables["LISTEN_FDS"])
    except ValueError as error:
        raise CannotListen("systemd's LISTEN_FDS is not a number.") from error
    names = variables["LISTEN_FDNAMES"].split(":") if variables["LISTEN_FDNAMES"] else []
    for place in range(count):
        name = names[place] if place < len(names) else ""
        given = _adopt(first_descriptor + place)
        face = name if name in ("index", "peer", "control") else _face_by_address(given)
        if (face == "control") != (given.family == socket.AF_UNIX):
            raise CannotListen(f"The socket that systemd gave for {face} is of the wrong kind; see p2pcdn.socket.")
        getattr(adopted, face).append(trio.SocketListener(trio.socket.from_stdlib_socket(given)))
    return adopted


async def _listen_all(
    hosts: Sequence[str], port: int, flag: str, *, may_miss: bool | None = None
) -> list[trio.SocketListener]:
    listeners: list[trio.SocketListener] = []
    missing: list[str] = []
    try:
        for host in hosts:
            try:
                listeners.append(await _listen(host, port))
            except OSError as error:
                if error.errno not in _FAMILY_MISSING:
                    raise CannotListen(_why(host, port, flag, error)) from error
                log.info("This machine has no address %s; nobody is answered there.", host)
                missing.append(host)
        if missing and not listeners and not may_miss:
            raise CannotListen(f"This machine has no address {missing[0]}; name another one by {_host_flag(flag)}.")
    except BaseException:
        for listener in listeners:
            await listener.aclose()
        raise
    return listeners


async def _listen(host: str, port: int) -> trio.SocketListener:
    found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    listening = trio.socket.socket(family, kind, protocol)
    try:
        # A node that starts anew must not wait for the old connections to be forgotten (TIME_WAIT).
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        await listening.bind(address)
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    return trio.SocketListener(listening)


def _why(host: str, port: int, flag: str, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is in use, perhaps by another node; stop that, or choose another by {flag}."
    if error.errno == errno.EACCES:
        return f"Port {port} on {host} is not allowed to this user; choose one above 1023 by {flag}."
    if isinstance(error, socket.gaierror):
        return f"{host!r} is no address of this machine; name another one by {_host_flag(flag)}."
    return f"Port {port} on {host} cannot be opened ({error.strerror}); choose another by {flag}."


def _host_flag(flag: str) -> str:
    return flag.replace("port", "host")


def _remove_dead(path: Path) -> None:
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise CannotListen(f"{path} is there and is not a socket; name another one by --control-socket.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # A living node accepts at once, or its queue is full (EAGAIN); a dead one's socket refuses.
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass
    raise CannotListen(f"Another node answers on {path}; stop it, or name another one by --control-socket.")


def _adopt(descriptor: int) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)
        given = socket.socket(fileno=descriptor)
        listens = given.type == socket.SOCK_STREAM and given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise CannotListen(f"What systemd gave as descriptor {descriptor} is not a socket.") from error
    if not listens or given.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        given.detach()
        raise CannotListen(f"What systemd gave as descriptor {descriptor} is not a listening stream socket.")
    given.setblocking(False)
    return given


def _face_by_address(given: socket.socket) -> str:
    if given.family == socket.AF_UNIX:
        return "control"
    return "index" if ipaddress.ip_address(given.getsockname()[0].partition("%")[0]).is_loopback else "peer"
