"""Connections for httpx that go to the very address that was checked: resolve, check, connect, in one step.

The rule stands beneath the HTTP client, where a name has become an address for good: a name that resolves otherwise the
second time (DNS rebinding) finds no second time. TLS and the Host field still see the name.
"""

from __future__ import annotations

import ipaddress
import math
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import httpcore
import httpx
import trio

from p2pcdn_daemon.upstream.addresses import Address, refuse_inside

# Until the next address of a host is tried as well (RFC 8305, section 5).
NEXT_ADDRESS_S = 0.25

# What all upstreams are asked at once. Each of the 512 connections of the index face may wait for one file, for as long
# as a slow upstream takes; a page must not stand in line behind them, for who gives no page counts as down.
CONNECTIONS_MAX = 640
# With so many open, used or not, httpcore closes each as soon as it is idle: a lock asks over 24, and fetches over 16.
CONNECTIONS_IDLE_MAX = 48

# Shorter than the idle time of usual servers and balancers (60 s and more), so that we hang up first.
IDLE_TIME_S = 30.0

# For so long an idle connection counts as open after it was found so. Whoever is given one that was closed meanwhile
# finds that out before he asks, and is given another.
HANGS_UP_UNSEEN_S = 0.1


class Transport(httpx.AsyncBaseTransport):
    """httpx over a pool of httpcore's, whose connections are dialled by us. Raises httpcore's errors, and Refused."""

    def __init__(
        self, context: Callable[[], ssl.SSLContext], proxy: str | None, is_configured: Callable[[str, int], bool]
    ) -> None:
        # A proxy is the user's own choice, and the only thing that this pool ever connects to.
        dial = Dial(is_configured if proxy is None else lambda host, port: True)
        ssl_context = context()
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context,
            proxy=None if proxy is None else _proxy(proxy, ssl_context),
            max_connections=CONNECTIONS_MAX,
            max_keepalive_connections=CONNECTIONS_IDLE_MAX,
            keepalive_expiry=IDLE_TIME_S,
            network_backend=dial,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        answer = await self._pool.handle_async_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Stream(answer.stream),
            extensions=answer.extensions,
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


class Dial(httpcore.AsyncNetworkBackend):
    """is_configured(host, port): whether the user named that place, which may then be anywhere."""

    def __init__(self, is_configured: Callable[[str, int], bool]) -> None:
        self._is_configured = is_configured
        self._trio = httpcore.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Raises Refused where all addresses of the host are inside; httpcore.ConnectError, ConnectTimeout."""
        try:
            with trio.fail_after(float("inf") if timeout is None else timeout):
                addresses = await _resolve(host, port)
                if not self._is_configured(host, port):
                    addresses = refuse_inside(host, addresses)
                return _Wire(await self._first(_alternating(addresses), port))
        except trio.TooSlowError as error:
            raise httpcore.ConnectTimeout(f"no connection within {timeout} s") from error

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def _first(self, addresses: list[Address], port: int) -> httpcore.AsyncNetworkStream:
        streams: list[httpcore.AsyncNetworkStream] = []
        failures: list[httpcore.ConnectError] = []

        async def attempt(address: Address, failed: trio.Event) -> None:
            try:
                streams.append(await self._trio.connect_tcp(str(address), port))
            except httpcore.ConnectError as error:
                failures.append(error)
                failed.set()
            else:
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for address in addresses:
                failed = trio.Event()
                nursery.start_soon(attempt, address, failed)
                with trio.move_on_after(NEXT_ADDRESS_S):
                    await failed.wait()
        if not streams:
            raise failures[0]
        for late in streams[1:]:
            await late.aclose()
        return streams[0]


class _Wire(httpcore.AsyncNetworkStream):
    """A connection, asked only so often whether its other end has hung up, and before each request after the first.

    The pool asks that of all its idle ones, by a system call each, whenever a request begins or ends: ten thousand
    times for the 92 packages of a web application.
    """

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._readable = False
        self._asked_s = -math.inf
        self._answered = False  # since the last word of ours

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._answered = True
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Raises ConnectionNotAvailable where the other end hung up behind its last answer: the pool takes another."""
        if self._answered and self._stream.get_extra_info("is_readable"):
            raise httpcore.ConnectionNotAvailable
        self._answered = False
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        return _Wire(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        if info != "is_readable":
            return self._stream.get_extra_info(info)
        now_s = trio.current_time()
        if now_s - self._asked_s > HANGS_UP_UNSEEN_S:
            self._readable, self._asked_s = bool(self._stream.get_extra_info(info)), now_s
        return self._readable


async def _resolve(host: str, port: int) -> list[Address]:
    try:
        found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
        # A literal with a zone ("fe80::1%eth0") loses it: what it names was never meant to be reached by a URL.
        return list(dict.fromkeys(ipaddress.ip_address(str(place[4][0]).partition("%")[0]) for place in found))
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"{host} cannot be resolved: {error}") from error


def _alternating(addresses: list[Address]) -> list[Address]:
    """The first address of the other family comes second: a host whose IPv6 leads nowhere costs one short wait."""
    other = next((address for address in addresses if address.version != addresses[0].version), None)
    if other is None:
        return addresses
    return [addresses[0], other, *(address for address in addresses[1:] if address != other)]


def _proxy(url: str, context: ssl.SSLContext) -> httpcore.Proxy:
    parsed = httpx.URL(url)
    return httpcore.Proxy(
        url=httpcore.URL(scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=b"/"),
        auth=(parsed.username, parsed.password) if parsed.userinfo else None,
        ssl_context=context if parsed.scheme == "https" else None,
    )


class _Stream(httpx.AsyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()
