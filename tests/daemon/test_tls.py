"""Private files over TLS: real sockets, real certificates; exactly one device is accepted."""

from __future__ import annotations

import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pcdn.errors import Unavailable
from p2pcdn.group import Device, GroupKey, Identity
from p2pcdn.http1 import Request, Response, serve
from p2pcdn.swarm.neighbours.exchange import Exchange, Patience
from p2pcdn.swarm.neighbours.meeting import Meeting, is_sealed, member_of
from p2pcdn.swarm.neighbours.peer import Address
from p2pcdn.swarm.wire.messages import AskHello
from p2pcdn_daemon.doors import tls
from p2pcdn_daemon.doors.network import TcpNetwork

GROUP = GroupKey.from_seed(bytes(32))
SERVER, CLIENT, OTHER = (Device.from_seed(bytes([n]) * 32) for n in (1, 2, 3))
CONTENT = random.Random(0).randbytes(3 * 1024 * 1024 + 7)
SHORT = Patience(1.0, 1.0)


def meeting(device: Device, group: GroupKey = GROUP) -> Meeting:
    return Meeting(Identity(device, group), random.Random(0))


@asynccontextmanager
async def node(certified: Device = SERVER, inside: Device = SERVER) -> AsyncIterator[tuple[Address, int, list[object]]]:
    """A member with both listeners. certified: whose certificate it shows. inside: who is met over TLS."""
    theirs = meeting(SERVER)
    asked: list[object] = []

    def face(request: Request) -> Response:
        asked.append((member_of(request), is_sealed(request)))
        return Response(200, (), CONTENT if is_sealed(request) else b"")

    plain = await trio.open_tcp_listeners(0, host="127.0.0.1")
    sealed = await trio.open_tcp_listeners(0, host="127.0.0.1")
    context = tls.server_context(certified)
    wrapped = [trio.SSLListener(listener, context, https_compatible=True) for listener in sealed]
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, plain, theirs.door.guard(face), cross_site=True))
        await nursery.start(partial(serve, wrapped, meeting(inside).sealed_door.guard(face), cross_site=True))
        with trio.fail_after(20):
            yield Address("127.0.0.1", _port(plain[0])), _port(sealed[0]), asked
        nursery.cancel_scope.cancel()


def _port(listener: trio.SocketListener) -> int:
    return int(listener.socket.getsockname()[1])


async def ask(exchange: Exchange, address: Address, sealed_port: int = 0) -> bytes:
    async with exchange.ask(address, AskHello(), len(CONTENT), sealed_port=sealed_port) as answer:
        assert answer.status == 200
        return bytes(answer.body)


async def test_a_private_file_goes_to_a_member_over_tls_only() -> None:
    async with node() as (address, sealed_port, asked):
        exchange = Exchange(TcpNetwork(), SHORT, meeting(CLIENT))
        assert await ask(exchange, address) == b""
        for _ in range(3):
            assert await ask(exchange, address, sealed_port) == CONTENT
        assert await ask(exchange, address) == b""
        await exchange.hang_up(address)
        assert await ask(exchange, address, sealed_port) == CONTENT
        assert set(asked) == {(CLIENT.public, False), (CLIENT.public, True)}
        await exchange.close()


async def test_who_was_not_met_in_plain_text_is_not_asked_over_tls() -> None:
    """There is no device yet that could be expected."""
    async with node() as (address, sealed_port, asked):
        with pytest.raises(Unavailable, match="has not been met"):
            await ask(Exchange(TcpNetwork(), SHORT, meeting(CLIENT)), address, sealed_port)
        assert asked == []


async def test_another_devices_certificate_is_not_taken() -> None:
    async with node(certified=OTHER) as (address, sealed_port, asked):
        exchange = Exchange(TcpNetwork(), SHORT, meeting(CLIENT))
        await ask(exchange, address)
        with pytest.raises(Unavailable, match="another device answers"):
            await ask(exchange, address, sealed_port)
        assert asked == [(CLIENT.public, False)]


async def test_who_is_met_inside_is_whose_certificate_it_is() -> None:
    """Another member that has got hold of the connection cannot answer in the certificate's name."""
    async with node(inside=OTHER) as (address, sealed_port, asked):
        exchange = Exchange(TcpNetwork(), SHORT, meeting(CLIENT))
        await ask(exchange, address)
        with pytest.raises(Unavailable, match="did not prove"):
            await ask(exchange, address, sealed_port)
        assert asked == [(CLIENT.public, False)]


async def test_the_plain_port_speaks_no_tls_and_a_silent_one_costs_its_time() -> None:
    async with node() as (address, _, _):
        exchange = Exchange(TcpNetwork(), SHORT, meeting(CLIENT))
        await ask(exchange, address)
        with pytest.raises(Unavailable, match="speaks no TLS"):
            await ask(exchange, address, address.port)
        silent = await trio.open_tcp_listeners(0, host="127.0.0.1")
        began = trio.current_time()
        with pytest.raises(Unavailable, match="no connection in time"):
            await ask(exchange, address, _port(silent[0]))
        assert trio.current_time() - began < 3


async def test_a_stranger_over_tls_is_told_nothing() -> None:
    async with node() as (_, sealed_port, asked):
        stream = await TcpNetwork().connect_sealed("127.0.0.1", sealed_port, SERVER.public)
        await stream.send_all(b"GET /v1/hello HTTP/1.1\r\nhost: x\r\n\r\n")
        assert bytes(await stream.receive_some(1000)).startswith(b"HTTP/1.1 403")
        await trio.aclose_forcefully(stream)
        assert asked == []


async def test_an_older_tls_is_refused() -> None:
    async with node() as (_, sealed_port, _):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        stream = trio.SSLStream(await trio.open_tcp_stream("127.0.0.1", sealed_port), context)
        with pytest.raises(trio.BrokenResourceError):
            await stream.do_handshake()
        await trio.aclose_forcefully(stream)


@pytest.mark.parametrize("content", [b"", b"\x30\x03", b"\x30\x82\xff\xff" + bytes(100), bytes(10)])
def test_what_is_no_certificate_has_no_key(content: bytes) -> None:
    assert tls._key_of(content) is None
    assert tls._key_of(None) is None


def test_the_certificate_carries_the_device_key() -> None:
    key = Ed25519PrivateKey.from_private_bytes(SERVER.seed).public_key()
    assert key.public_bytes_raw() == SERVER.public
