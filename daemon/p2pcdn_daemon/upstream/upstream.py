"""The upstream indexes of a real node: HTTP by httpx, followed hop by hop, and directories of this machine."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path

import httpx
import trio

from p2pcdn import __version__
from p2pcdn.errors import Refused, Unavailable
from p2pcdn.world import Index, Upstream, UpstreamResponse
from p2pcdn_daemon.upstream.addresses import Origin, refuse_literal_inside
from p2pcdn_daemon.upstream.credentials import Credentials, Netrc, from_keyring
from p2pcdn_daemon.upstream.dial import Transport
from p2pcdn_daemon.upstream.directory import DirectoryUpstream
from p2pcdn_daemon.upstream.gunzip import unpacked
from p2pcdn_daemon.upstream.index_url import NAMED_POSITION, make_heap, make_index, plain
from p2pcdn_daemon.upstream.outages import FOREIGN, PATIENCE, Patience, ours
from p2pcdn_daemon.upstream.routes import Proxies, ca_file_of, check_proxy, trust, with_scheme

log = logging.getLogger(__name__)

# An index, its file host, a storage provider's front and its region are four; twice that is a loop.
REDIRECTS_MAX = 8
REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})

# Fields that go to the index's own origin and nowhere else, whoever set them.
SECRET_FIELDS = ("authorization", "cookie", "proxy-authorization")


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """An index and the way to it. proxy None: as the environment says. ca_file None: likewise, else the system's."""

    index: Index
    proxy: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    credentials: Credentials | None = None


class RealUpstream:
    """The `p2pcdn.world.Upstream` of the real world: directories for `file:` URLs, HTTP for the others."""

    def __init__(self, http: HttpxUpstream, directory: Upstream) -> None:
        self._http = http
        self._directory = directory

    def get(
        self, index: Index, url: str, headers: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[UpstreamResponse]:
        """See `p2pcdn.world.Upstream.get`."""
        # An index asked over HTTP cannot send us into the file system: HttpxUpstream refuses its `file:` links.
        upstream = self._directory if url.startswith("file:") and index.url.startswith("file:") else self._http
        return upstream.get(index, url, headers)

    def index(self, url: str, username: str | None, password: str | None, *, flat: bool = False) -> Index:
        """See `p2pcdn.world.MoreIndexes.index`."""
        try:
            made, known = make_heap(url) if flat else make_index(url, NAMED_POSITION)
        except ValueError as error:
            raise Refused(str(error)) from error
        credentials = known if username is None else Credentials(username, password)
        if credentials is not None:
            made = replace(made, share="never", private=True)
        return self._http.add(UpstreamSettings(made, credentials=credentials))


@asynccontextmanager
async def open_upstream(
    settings: Sequence[UpstreamSettings],
    *,
    file_hosts: Sequence[str] = (),
    environment: Mapping[str, str] = os.environ,
    patience: Patience = PATIENCE,
) -> AsyncIterator[RealUpstream]:
    """The upstream of a node; its connections are closed at the end. Raises ValueError as HttpxUpstream does."""
    http = HttpxUpstream(settings, file_hosts=file_hosts, environment=environment, patience=patience)
    try:
        yield RealUpstream(http, DirectoryUpstream())
    finally:
        await http.aclose()


class HttpxUpstream:
    """The `p2pcdn.world.Upstream` over HTTP/1.1. One pool of connections for each pair of proxy and certificates.

    file_hosts: `host` or `host:port` that pages may lead to wherever they are, beside the indexes' own.
    Raises ValueError, one sentence, for certificates that cannot be read, a proxy or a file host that is none.
    """

    def __init__(
        self,
        settings: Sequence[UpstreamSettings],
        *,
        file_hosts: Sequence[str] = (),
        environment: Mapping[str, str] = os.environ,
        netrc: Netrc | None = None,
        patience: Patience = PATIENCE,
    ) -> None:
        self._settings = {setting.index.key: setting for setting in settings}
        self._proxies = Proxies.from_environment(environment)
        self._ca_file = ca_file_of(environment)
        self._netrc = netrc or Netrc.read(environment)
        self._patience = patience
        self._configured = frozenset(_configured(settings, file_hosts))
        self._trust: dict[Path | None, ssl.SSLContext] = {}
        self._clients: dict[tuple[str | None, Path | None], httpx.AsyncClient] = {}
        self._keyring: dict[tuple[str, str], Credentials] = {}  # by an index's key and the user's name
        self._keyring_lock = trio.Lock()
        for setting in settings:
            if setting.proxy is not None:
                check_proxy(setting.proxy)
            if ca_file := setting.ca_file or self._ca_file:
                self._context(ca_file)

    @asynccontextmanager
    async def get(
        self, index: Index, url: str, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[UpstreamResponse]:
        """See `p2pcdn.world.Upstream.get`.

        Without an Accept-Encoding of the caller's, `identity` is asked for and the body comes as it is. With `gzip`,
        what comes packed is unpacked here, up to a bound, and Content-Encoding and Content-Length are left out.
        """
        asked = {name.lower(): value for name, value in (headers or {}).items()}
        response, origin = await self._follow(index, url, asked)
        host = origin.host
        answered = {name.lower(): value for name, value in response.headers.items()}
        body = _received(response, origin, self._patience)
        source = body
        if asked.get("accept-encoding", "identity") != "identity":
            coding = answered.get("content-encoding", "identity").strip().lower()
            if coding in ("gzip", "x-gzip"):
                answered.pop("content-length", None)
                answered.pop("content-encoding", None)
                body = unpacked(source, host)
            elif coding not in ("identity", ""):
                await _close(response)
                raise Unavailable(f"{host} answered in the content coding {coding[:40]!r}, which nobody asked for.")
        try:
            yield UpstreamResponse(response.status_code, answered, str(response.request.url), body)
        finally:
            with trio.CancelScope(shield=True):
                for generator in (body, source):
                    await generator.aclose()
                await _close(response)

    def add(self, setting: UpstreamSettings) -> Index:
        """One more index; a configured one stays as it is. What was added before may get other credentials."""
        known = self._settings.get(setting.index.key)
        if known is not None and known.index.position != NAMED_POSITION:
            return known.index
        self._settings[setting.index.key] = setting
        self._configured |= frozenset(_configured([setting], ()))
        return setting.index

    async def aclose(self) -> None:
        """Closes all connections."""
        for client in self._clients.values():
            await client.aclose()

    async def _follow(self, index: Index, url: str, asked: Mapping[str, str]) -> tuple[httpx.Response, Origin]:
        """The answer that is no redirect, and who gave it."""
        origin = Origin.of(url)
        hop = plain(httpx.URL(url))
        for _ in range(REDIRECTS_MAX + 1):
            response = await self._ask(index, hop, origin, asked)
            location = response.headers.get("location")
            if response.status_code not in REDIRECT_STATUSES or not location:
                return response, origin
            await _close(response)
            before = origin
            try:
                hop = hop.join(location)
            except (httpx.InvalidURL, ValueError) as error:
                raise Unavailable(f"{origin.host} redirects to something that is not a URL.") from error
            origin = Origin.of(hop)
            hop = plain(hop)
            if (
                before.scheme == "https"
                and origin.scheme == "http"
                and not self._is_configured(origin.host, origin.port)
            ):
                raise Refused(
                    f"{before.host} redirects from https to {origin.host} without TLS; this is not followed. "
                    "If that host is meant to give files, name it by --file-host."
                )
        raise Unavailable(f"{origin.host} redirected more than {REDIRECTS_MAX} times; the index should be asked why.")

    async def _ask(self, index: Index, url: httpx.URL, origin: Origin, asked: Mapping[str, str]) -> httpx.Response:
        setting = self._settings.get(index.key, UpstreamSettings(index))
        proxy = with_scheme(setting.proxy) if setting.proxy else self._proxies.proxy_for(origin)
        if not self._is_configured(origin.host, origin.port):
            # All that can be judged where a proxy resolves; without one, what the name resolves to is judged as well.
            refuse_literal_inside(origin.host)
        client = self._client(proxy, setting.ca_file or self._ca_file)
        request = client.build_request("GET", url, headers=await self._fields(setting, origin, asked))
        try:
            with trio.fail_after(self._patience.head_s):
                return await client.send(request, stream=True, auth=None, follow_redirects=False)
        except trio.TooSlowError as error:
            raise Unavailable(f"{origin.host} gave no answer within {self._patience.head_s:g} s.") from error
        except FOREIGN as error:
            raise ours(error, origin, proxy, self._patience) from error

    async def _fields(self, setting: UpstreamSettings, origin: Origin, asked: Mapping[str, str]) -> dict[str, str]:
        fields = {name: value for name, value in asked.items() if name != "host"}
        own = None if setting.index.url.startswith("file:") else Origin.of(setting.index.url)
        if origin != own:
            fields = {name: value for name, value in fields.items() if name not in SECRET_FIELDS}
            # The user gave netrc's passwords to hosts by name; none of them goes out in the open because of a link.
            if origin.scheme == "https" or (own is not None and own.scheme == "http"):
                credentials = self._netrc.of(origin.host)
            else:
                credentials = None
        else:
            credentials = await self._own_credentials(setting, origin)
        if credentials is not None:
            fields.setdefault("authorization", credentials.authorization())
        return fields

    async def _own_credentials(self, setting: UpstreamSettings, origin: Origin) -> Credentials | None:
        credentials = setting.credentials
        if credentials is None or credentials.password is not None:
            return credentials
        key = setting.index.key, credentials.username
        async with self._keyring_lock:
            if key not in self._keyring:
                found = await from_keyring(setting.index.url, origin.host, credentials.username)
                # A token is often written as a user without a password.
                self._keyring[key] = found or credentials
        return self._keyring[key]

    def _is_configured(self, host: str, port: int) -> bool:
        return (host.lower(), port) in self._configured

    def _client(self, proxy: str | None, ca_file: Path | None) -> httpx.AsyncClient:
        key = (proxy, ca_file)
        if key not in self._clients:
            if proxy is not None:
                try:
                    check_proxy(proxy)
                except ValueError as error:
                    raise Unavailable(str(error)) from error
            self._clients[key] = httpx.AsyncClient(
                transport=Transport(lambda: self._context(ca_file), proxy, self._is_configured),
                timeout=httpx.Timeout(self._patience.silence_s, connect=self._patience.connect_s),
                headers={"user-agent": f"p2pcdn/{__version__}", "accept-encoding": "identity"},
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                trust_env=False,
            )
        return self._clients[key]

    def _context(self, ca_file: Path | None) -> ssl.SSLContext:
        if ca_file not in self._trust:
            self._trust[ca_file] = trust(ca_file)
        return self._trust[ca_file]


async def _received(response: httpx.Response, origin: Origin, patience: Patience) -> AsyncGenerator[bytes, None]:
    try:
        async for part in response.aiter_raw():
            yield part
    except FOREIGN as error:
        raise ours(error, origin, None, patience) from error


async def _close(response: httpx.Response) -> None:
    with trio.CancelScope(shield=True):
        await response.aclose()


def _configured(settings: Iterable[UpstreamSettings], file_hosts: Iterable[str]) -> Iterable[tuple[str, int]]:
    for setting in settings:
        if not setting.index.url.startswith("file:"):
            origin = Origin.of(setting.index.url)
            yield origin.host, origin.port
    for text in file_hosts:
        try:
            bare_ipv6 = text.count(":") > 1 and not text.startswith("[")
            parsed = httpx.URL(f"//[{text}]" if bare_ipv6 else f"//{text}")
            host = parsed.raw_host.decode("ascii").lower()
        except (httpx.InvalidURL, UnicodeError) as error:
            raise ValueError(f"The file host {text!r} is not a host or host:port.") from error
        if not host or parsed.raw_path != b"/" or parsed.userinfo:
            raise ValueError(f"The file host {text!r} is not a host or host:port.")
        yield from ((host, port) for port in ([parsed.port] if parsed.port else [80, 443]))
