"""Listeners and connections over real sockets."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

import pytest
import trio

from p2pcdn_daemon.doors.network import (
    CannotListen,
    TcpNetwork,
    adopted_listeners,
    open_control_listener,
    open_listeners,
    port_of,
)
from p2pcdn_daemon.serve.faces import HOSTS
from tests.contract.network import check_network

LOOPBACK = ("127.0.0.1", "::1")


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")


async def echo(stream: trio.SocketStream) -> None:
    async for part in stream:
        await stream.send_all(part)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_the_real_network_keeps_the_contract() -> None:
    (listener,) = await open_listeners(["127.0.0.1"], 0, "--port")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, echo, [listener])
        for host in ("127.0.0.1", "localhost"):
            await check_network(TcpNetwork(), host, port_of(listener), free_port())
        stream = await TcpNetwork().connect("127.0.0.1", port_of(listener))
        assert isinstance(stream, trio.SocketStream)
        assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await stream.aclose()
        nursery.cancel_scope.cancel()


@needs_ipv6
async def test_the_index_listens_on_both_loopbacks_with_one_port() -> None:
    listeners = await open_listeners(LOOPBACK, 0, "--port")
    assert len({port_of(listener) for listener in listeners}) == 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, echo, listeners)
        for host in LOOPBACK:
            await check_network(TcpNetwork(), host, port_of(listeners[0]), free_port())
        nursery.cancel_scope.cancel()


class BusyPorts(trio.abc.SocketFactory):
    """Somebody takes the port on ::1 just before us, a few times."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.blockers: list[socket.socket] = []
        self.last: trio.socket.SocketType | None = None

    def socket(self, family: int = -1, type: int = -1, proto: int = -1) -> trio.socket.SocketType:
        if family == socket.AF_INET6 and len(self.blockers) < self.times:
            assert self.last is not None
            self.blockers.append(listening(socket.AF_INET6, ("::1", self.last.getsockname()[1])))
        self.last = trio.socket.from_stdlib_socket(socket.socket(family, type, proto))
        return self.last


class WithoutIpv6(trio.abc.SocketFactory):
    def socket(self, family: int = -1, type: int = -1, proto: int = -1) -> trio.socket.SocketType:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return trio.socket.from_stdlib_socket(socket.socket(family, type, proto))


@needs_ipv6
async def test_a_port_that_is_free_for_one_family_only_is_not_taken() -> None:
    world = BusyPorts(times=3)
    trio.socket.set_custom_socket_factory(world)
    listeners = await open_listeners(LOOPBACK, 0, "--port")
    assert len(world.blockers) == 3
    assert port_of(listeners[0]) == port_of(listeners[1])
    for listener in listeners:
        await listener.aclose()
    for blocker in world.blockers:
        blocker.close()


async def test_every_address_means_both_families_on_one_port() -> None:
    listeners = await open_listeners(HOSTS["all"], 0, "--peer-port")
    port = port_of(listeners[0])
    for host in LOOPBACK[: len(listeners)]:
        await (await trio.open_tcp_stream(host, port)).aclose()
    for listener in listeners:
        await listener.aclose()


async def test_a_machine_without_ipv6_serves_ipv4_alone(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    trio.socket.set_custom_socket_factory(WithoutIpv6())
    for hosts in (LOOPBACK, LOOPBACK[::-1]):
        for port in (0, free_port()):
            (listener,) = await open_listeners(hosts, port, "--port")
            await listener.aclose()
    assert "no address ::1" in caplog.text
    with pytest.raises(CannotListen, match="--host"):
        await open_listeners(["::1"], 0, "--port")


async def test_a_port_in_use_is_said_with_the_flag_that_helps() -> None:
    (listener,) = await open_listeners(["127.0.0.1"], 0, "--peer-port")
    port = port_of(listener)
    with pytest.raises(CannotListen, match=rf"^Port {port} on 127.0.0.1 is in use.*--peer-port\.$"):
        await open_listeners(["127.0.0.1"], port, "--peer-port")
    with pytest.raises(CannotListen, match=rf"^Port {port} on 127.0.0.1 is in use.*--port\.$"):
        await open_listeners(["127.0.0.1"], port, "--port")
    await listener.aclose()
    (again,) = await open_listeners(["127.0.0.1"], port, "--peer-port")
    await again.aclose()


async def test_an_address_that_is_not_ours_is_said() -> None:
    for host in ("203.0.113.7", "name.invalid"):
        with pytest.raises(CannotListen, match="--peer-host"):
            await open_listeners([host], 0, "--peer-port")


async def test_a_node_that_starts_anew_need_not_wait() -> None:
    (listener,) = await open_listeners(["127.0.0.1"], 0, "--peer-port")
    port = port_of(listener)
    client = await trio.open_tcp_stream("127.0.0.1", port)
    server = await listener.accept()
    await server.aclose()  # The side that closes first keeps the port in TIME_WAIT.
    await client.aclose()
    await listener.aclose()
    (again,) = await open_listeners(["127.0.0.1"], port, "--peer-port")
    await again.aclose()


async def test_the_control_socket_is_ours_alone(tmp_path: Path) -> None:
    path = tmp_path / "run" / "control.sock"
    old = os.umask(0)
    try:
        listener = await open_control_listener(path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, echo, [listener])
        async with await trio.open_unix_socket(str(path)) as stream:
            await stream.send_all(b"x")
            assert await stream.receive_some() == b"x"
        nursery.cancel_scope.cancel()


async def test_the_control_socket_of_a_dead_node_is_replaced_and_of_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    first = await open_control_listener(path)
    with pytest.raises(CannotListen, match=r"Another node answers on .*--control-socket\.$"):
        await open_control_listener(path)
    await first.aclose()
    assert path.exists(), "left behind, as by a kill"
    second = await open_control_listener(path)
    async with await trio.open_unix_socket(str(path)):
        pass
    await second.aclose()


async def test_a_control_path_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    for path, message in (
        (tmp_path / "file", "is not a socket"),
        (tmp_path / "file" / "control.sock", "cannot be made"),
        (tmp_path / ("x" * 120), "longer than 107 bytes"),
    ):
        with pytest.raises(CannotListen, match=message):
            await open_control_listener(path)
    assert (tmp_path / "file").read_text() == "precious"


def given(*sockets: socket.socket, names: str | None = None, pid: int | None = None) -> tuple[dict[str, str], int]:
    """Puts sockets at descriptors in a row, as systemd does, and says so."""
    # Above all that are open: another test of this process may have left many.
    base = max(int(one.name) for one in Path("/dev/fd").iterdir()) + 8
    for place, one in enumerate(sockets):
        os.dup2(one.fileno(), base + place, inheritable=True)
        one.close()
    environment = {"LISTEN_PID": str(os.getpid() if pid is None else pid), "LISTEN_FDS": str(len(sockets)), "KEPT": "1"}
    if names is not None:
        environment["LISTEN_FDNAMES"] = names
    return environment, base


def listening(family: int, address: object) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    made.bind(address)  # type: ignore[arg-type]
    made.listen()
    return made


async def test_systemds_sockets_are_told_apart_by_name_and_else_by_address(tmp_path: Path) -> None:
    for names in ("peer:index:control", "p2pcdn.socket:p2pcdn.socket:p2pcdn.socket", None):
        unix = tmp_path / f"control-{names and len(names)}"
        environment, base = given(
            listening(socket.AF_INET, ("0.0.0.0", 0)),
            listening(socket.AF_INET, ("127.0.0.1", 0)),
            listening(socket.AF_UNIX, str(unix)),
            names=names,
        )
        adopted = adopted_listeners(environment, first_descriptor=base)
        assert environment == {"KEPT": "1"}, "no child takes them for its own"
        ((peer,), (index,), (control,)) = adopted.peer, adopted.index, adopted.control
        assert peer.socket.getsockname()[0] == "0.0.0.0"
        assert index.socket.getsockname()[0] == "127.0.0.1"
        assert not os.get_inheritable(index.socket.fileno())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, echo, [index, control])
            await check_network(TcpNetwork(), "127.0.0.1", port_of(index), free_port())
            await (await trio.open_unix_socket(str(unix))).aclose()
            nursery.cancel_scope.cancel()
        await peer.aclose()


async def test_a_socket_in_a_container_is_for_the_index_if_its_name_says_so() -> None:
    environment, base = given(listening(socket.AF_INET, ("0.0.0.0", 0)), names="index")
    (index,) = adopted_listeners(environment, first_descriptor=base).index
    await index.aclose()


def test_sockets_for_another_are_left_alone() -> None:
    for environment in ({}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}):
        adopted = adopted_listeners(environment)
        assert [adopted.index, adopted.peer, adopted.control] == [[], [], []]


def test_what_is_no_listening_stream_socket_is_said(tmp_path: Path) -> None:
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    idle = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    for wrong in (datagrams, idle):
        environment, base = given(wrong, names="index")
        with pytest.raises(CannotListen, match="not a listening stream socket"):
            adopted_listeners(environment, first_descriptor=base)
        os.close(base)
    environment, base = given(listening(socket.AF_UNIX, str(tmp_path / "s")), names="index")
    with pytest.raises(CannotListen, match="wrong kind"):
        adopted_listeners(environment, first_descriptor=base)
    for descriptors in ("many", "1"):
        with pytest.raises(CannotListen):
            adopted_listeners({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": descriptors}, first_descriptor=900)
