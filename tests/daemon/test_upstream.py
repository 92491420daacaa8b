"""The real upstream over loopback: redirects and where they may lead, cut and silent servers, proxies, certificates.

Every target here is on loopback, so it stands in for "inside": what is reachable is configured, all else is refused.
"""

from __future__ import annotations

import gzip
import logging
import os
import shutil
import subprocess
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from p2pcdn.errors import P2pcdnError, Refused, Unavailable
from p2pcdn.http1 import Limits
from p2pcdn.world import Index, UpstreamResponse
from p2pcdn_daemon.upstream import gunzip
from p2pcdn_daemon.upstream.credentials import Credentials, Netrc
from p2pcdn_daemon.upstream.dial import CONNECTIONS_MAX
from p2pcdn_daemon.upstream.index_url import make_index
from p2pcdn_daemon.upstream.outages import PATIENCE, Patience
from p2pcdn_daemon.upstream.upstream import REDIRECTS_MAX, HttpxUpstream, UpstreamSettings, open_upstream
from tests.contract.upstream import check_upstream
from tests.daemon.servers import (
    Asked,
    Server,
    answer,
    make_authority,
    proxying,
    redirect,
    send_and_hang,
    serving,
)

WHEEL = bytes(range(256)) * 40
# Three of uv's jobs on one node; two descriptors each.
FILES_AT_ONCE = 150
IMPATIENT = Patience(connect_s=0.2, silence_s=0.2, head_s=0.6)


def index_at(url: str, position: int = 0) -> Index:
    return make_index(url, position, environment={}, netrc=Netrc())[0]


@asynccontextmanager
async def upstream_of(
    index: Index,
    *,
    environment: dict[str, str] | None = None,
    file_hosts: tuple[str, ...] = (),
    netrc: Netrc | None = None,
    patience: Patience = PATIENCE,
    **settings: object,
) -> AsyncIterator[HttpxUpstream]:
    setting = UpstreamSettings(index, **settings)  # type: ignore[arg-type]
    upstream = HttpxUpstream(
        [setting], file_hosts=file_hosts, environment=environment or {}, netrc=netrc or Netrc(), patience=patience
    )
    try:
        yield upstream
    finally:
        await upstream.aclose()


async def read(response: UpstreamResponse) -> bytes:
    return b"".join([part async for part in response.body])


async def whole(upstream: HttpxUpstream, index: Index, url: str, **headers: str) -> tuple[int, bytes]:
    asked = {name.replace("_", "-"): value for name, value in headers.items()}
    async with upstream.get(index, url, asked) as response:
        return response.status, await read(response)


async def refusal(upstream: HttpxUpstream, index: Index, url: str, kind: type[P2pcdnError]) -> str:
    with pytest.raises(kind) as caught:
        await whole(upstream, index, url)
    return str(caught.value)


async def give_wheel(stream: trio.abc.Stream, asked: Asked) -> None:
    fields = asked.fields
    etag = '"one"'
    if fields.get("if-none-match") == etag:
        await stream.send_all(b'HTTP/1.1 304 X\r\nETag: "one"\r\n\r\n')
    elif "range" in fields and fields.get("if-range", etag) == etag:
        first, _, last = fields["range"].removeprefix("bytes=").partition("-")
        part = WHEEL[int(first) : int(last) + 1 if last else None]
        span = f"bytes {first}-{int(first) + len(part) - 1}/{len(WHEEL)}"
        await stream.send_all(answer(206, part, content_range=span, etag=etag))
    else:
        await stream.send_all(answer(200, WHEEL, etag=etag))


async def test_the_real_upstream_keeps_the_contract() -> None:
    async with serving({"/simple/demo/demo-1.0-py3-none-any.whl": give_wheel}) as server:
        index = index_at(server.url("/simple/"))
        async with open_upstream([UpstreamSettings(index)], environment={"NETRC": os.devnull}) as upstream:
            await check_upstream(upstream, index, "demo/demo-1.0-py3-none-any.whl", WHEEL)


async def test_it_says_who_it_is_and_asks_for_the_bytes_as_they_are() -> None:
    async with serving({"/a": answer(200, b"x", X_Odd="1", x_odd="2")}) as server:
        index = index_at(server.url())
        async with upstream_of(index) as upstream, upstream.get(index, server.url("/a")) as response:
            assert response.headers["x-odd"] == "1, 2"
        (asked,) = server.asked
        assert asked.fields["user-agent"].startswith("p2pcdn/")
        assert asked.fields["accept-encoding"] == "identity"
        assert asked.fields["host"] == f"127.0.0.1:{server.port}"


async def test_one_connection_serves_many_requests() -> None:
    async with serving({"/a": answer(200, b"x")}) as server:
        index = index_at(server.url())
        async with upstream_of(index) as upstream:
            for _ in range(5):
                assert await whole(upstream, index, server.url("/a")) == (200, b"x")
        assert (server.accepted, len(server.asked)) == (1, 5)


async def test_a_redirect_is_followed_and_the_answer_bears_the_last_url() -> None:
    async with serving() as server:
        server.answers = {
            "/a": redirect("/b?x=%2F"),
            "/b?x=%2F": redirect("../c%2Bd+e", 308),
            "/c%2Bd+e": redirect(server.url("/e"), 301),
            "/e": answer(200, b"end"),
        }
        index = index_at(server.url())
        async with upstream_of(index) as upstream, upstream.get(index, server.url("/a")) as response:
            assert (response.url, await read(response)) == (server.url("/e"), b"end")


async def test_redirects_without_end_end() -> None:
    async with serving({"/a": redirect("/a")}) as server:
        index = index_at(server.url())
        async with upstream_of(index) as upstream:
            assert "redirected more than" in await refusal(upstream, index, server.url("/a"), Unavailable)
        assert len(server.asked) == REDIRECTS_MAX + 1


async def test_a_redirect_without_a_location_is_an_answer() -> None:
    async with serving({"/a": answer(302, b"?"), "/b": redirect("http://[::1/")}) as server:
        index = index_at(server.url())
        async with upstream_of(index) as upstream:
            assert await whole(upstream, index, server.url("/a")) == (302, b"?")
            assert "not a URL" in await refusal(upstream, index, server.url("/b"), Unavailable)


# `{port}` is that of a server which must see no connection at all.
INSIDE = [
    "http://127.0.0.1:{port}/",
    "http://127.1:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f.0.0.1:{port}/",
    "http://0:{port}/",
    "http://localhost:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[64:ff9b::127.0.0.1]:{port}/",
    "http://user:pw@127.0.0.1:{port}/",
    "http://127.0.0.1.:{port}/",
    "http://127。0。0。1:{port}/",
    "//127.0.0.1:{port}/",
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://[fd00::1]/",
    "http://[fe80::1]/",
    "https://127.0.0.1:{port}/",
    "file:///etc/passwd",
    "ftp://127.0.0.1:{port}/",
    "gopher://127.0.0.1:{port}/",
]


@pytest.mark.parametrize("target", INSIDE)
@pytest.mark.parametrize("way", ["redirect", "link"])
async def test_a_server_cannot_lead_us_inside(target: str, way: str) -> None:
    async with serving() as inside, serving() as server:
        location = target.format(port=inside.port)
        server.answers["/a"] = redirect(location)
        index = index_at(server.url())
        url = server.url("/a") if way == "redirect" else location
        async with upstream_of(index) as upstream:
            assert "pw" not in await refusal(upstream, index, url, Refused)
        assert inside.accepted == 0


class Names(trio.abc.HostnameResolver):
    """Names as a test wants them; each look-up takes the next of the name's answers, the last one for ever."""

    def __init__(self, answers: dict[str, list[list[str]]]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # type: ignore[no-untyped-def]
        name = host.decode() if isinstance(host, bytes) else host
        self.asked.append(name)
        rounds = self.answers[name]
        addresses = rounds.pop(0) if len(rounds) > 1 else rounds[0]
        return [
            (trio.socket.AF_INET6 if ":" in address else trio.socket.AF_INET, type, 6, "", (address, port))
            for address in addresses
        ]

    async def getnameinfo(self, sockaddr, flags):  # type: ignore[no-untyped-def]
        raise NotImplementedError


async def test_a_name_that_resolves_inside_is_refused_before_a_connection() -> None:
    trio.socket.set_custom_hostname_resolver(Names({"evil.example": [["127.0.0.1", "::1"]]}))
    async with serving() as inside, serving() as server:
        server.answers["/a"] = redirect(f"http://evil.example:{inside.port}/")
        index = index_at(server.url())
        async with upstream_of(index) as upstream:
            message = await refusal(upstream, index, server.url("/a"), Refused)
        assert "evil.example" in message
        assert "--file-host" in message
        assert inside.accepted == 0


async def test_a_name_that_resolves_otherwise_the_second_time_finds_no_second_time() -> None:
    names = Names({"evil.example": [["203.0.113.7"], ["127.0.0.1"]]})
    trio.socket.set_custom_hostname_resolver(names)
    async with serving({"/": answer(200, b"secret")}) as inside:
        index = index_at("http://127.0.0.1:1/")
        async with upstream_of(index, patience=IMPATIENT) as upstream:
            url = f"http://evil.example:{inside.port}/"
            await refusal(upstream, index, url, Unavailable)
            assert names.asked == ["evil.example"], "one look-up for one connection"
            await refusal(upstream, index, url, Refused)
        assert inside.accepted == 0


async def test_a_configured_host_may_be_inside_on_its_port_only() -> None:
    async with serving({"/w": answer(200, b"w")}) as files, serving() as other, serving() as server:
        index = index_at(server.url())
        async with upstream_of(index, file_hosts=(f"127.0.0.1:{files.port}",)) as upstream:
            assert await whole(upstream, index, files.url("/w")) == (200, b"w")
            await refusal(upstream, index, other.url("/w"), Refused)
            # The same place under another name was not configured.
            await refusal(upstream, index, files.url("/w", host="localhost"), Refused)
        assert other.accepted == 0


async def test_a_file_host_is_a_host_or_a_host_and_a_port() -> None:
    index = index_at("https://index.example/")
    hosts = ("files.example", "[::1]:81", "fd00::1", "10.0.0.1:8080")
    async with upstream_of(index, file_hosts=hosts, patience=IMPATIENT) as upstream:
        with pytest.raises(Unavailable):
            await whole(upstream, index, "http://[::1]:81/")
        for other in ("http://[::1]:82/", "http://[fd00::1]:81/", "http://10.0.0.1/"):
            await refusal(upstream, index, other, Refused)


async def test_the_host_of_any_configured_index_may_be_led_to() -> None:
    async with serving({"/w": answer(200, b"w")}) as second, serving() as first:
        settings = [UpstreamSettings(index_at(server.url(), place)) for place, server in enumerate((first, second))]
        first.answers["/a"] = redirect(second.url("/w"))
        upstream = HttpxUpstream(settings, environment={}, netrc=Netrc())
        assert await whole(upstream, settings[0].index, first.url("/a")) == (200, b"w")
        await upstream.aclose()


async def test_credentials_go_to_the_indexs_origin_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine third.example login n password np\ndefault login d password dp\n")
    netrc = Netrc.read({"NETRC": str(tmp_path / "netrc")})
    async with serving({"/w": answer(200, b"w")}) as files, serving() as server:
        server.answers = {
            "/a": redirect(f"http://u:pw@127.0.0.1:{files.port}/w"),
            "/b": redirect("/c"),
            "/c": answer(200),
        }
        index = index_at(server.url("/simple/"))
        hosts = (f"127.0.0.1:{files.port}", f"third.example:{files.port}")
        credentials = Credentials("me", "secret")
        trio.socket.set_custom_hostname_resolver(Names({"third.example": [["127.0.0.1"]]}))
        async with upstream_of(index, credentials=credentials, file_hosts=hosts, netrc=netrc) as upstream:
            for path in ("/a", "/b"):
                await whole(upstream, index, server.url(path))
            await whole(upstream, index, files.url("/w"), authorization="Bearer x", cookie="a=b", x_kept="1")
            await whole(upstream, index, files.url("/w", host="third.example"))
        own = {asked.target: asked.fields.get("authorization") for asked in server.asked}
        assert own == dict.fromkeys(("/a", "/b", "/c"), credentials.authorization())
        redirected, linked, in_netrc = files.asked
        assert "authorization" not in redirected.fields
        assert not {"authorization", "cookie"} & linked.fields.keys()
        assert linked.fields["x-kept"] == "1"
        assert in_netrc.fields["authorization"] == Credentials("n", "np").authorization()


async def test_cookies_are_not_kept() -> None:
    async with serving({"/a": answer(200, set_cookie="a=b; Path=/"), "/b": answer(200)}) as server:
        index = index_at(server.url())
        async with upstream_of(index) as upstream:
            for path in ("/a", "/b"):
                await whole(upstream, index, server.url(path))
        assert "cookie" not in server.asked[1].fields


async def test_a_body_that_is_cut_is_unavailable_not_short() -> None:
    async def cut(stream: trio.abc.Stream, asked: Asked) -> None:
        await stream.send_all(b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\nhalf")

    async def cut_chunk(stream: trio.abc.Stream, asked: Asked) -> None:
        await stream.send_all(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")

    async with serving({"/a": cut, "/b": cut_chunk}) as server:
        index = index_at(server.url())
        async with upstream_of(index) as upstream:
            for path in ("/a", "/b"):
                received = b""
                with pytest.raises(Unavailable, match="127"):  # noqa: PT012
                    async with upstream.get(index, server.url(path)) as response:
                        async for part in response.body:
                            received += part
                assert received == b"half"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200",
        b"SSH-2.0-OpenSSH_9\r\n\r\n",
        b"HTTP/1.1 200 X\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_unavailable(said: bytes) -> None:
    async def say(stream: trio.abc.Stream, asked: Asked) -> None:
        await stream.send_all(said)

    async with serving({"/a": say}) as server:
        index = index_at(server.url())
        async with upstream_of(index) as upstream:
            assert "127.0.0.1" in await refusal(upstream, index, server.url("/a"), Unavailable)


async def test_a_silent_server_is_given_up() -> None:
    async def silent(stream: trio.abc.Stream, asked: Asked) -> None:
        await send_and_hang(stream, b"")

    async def stalls(stream: trio.abc.Stream, asked: Asked) -> None:
        await send_and_hang(stream, b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\nhalf")

    async with serving({"/a": silent, "/b": stalls}) as server:
        index = index_at(server.url())
        async with upstream_of(index, patience=IMPATIENT) as upstream:
            for path in ("/a", "/b"):
                assert "sent nothing" in await refusal(upstream, index, server.url(path), Unavailable)


async def test_a_page_does_not_stand_in_line_behind_files() -> None:
    waiting = 0
    all_wait = trio.Event()

    async def slow(stream: trio.abc.Stream, asked: Asked) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == FILES_AT_ONCE:
            all_wait.set()
        await send_and_hang(stream, b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\nhalf")

    assert Limits().connections_max < CONNECTIONS_MAX, "as many as clients of the index face may wait for files"
    async with serving({"/file": slow, "/page": answer(200, b"page")}) as server:
        index = index_at(server.url())
        async with (
            upstream_of(index, patience=Patience(silence_s=10.0)) as upstream,
            trio.open_nursery() as nursery,
        ):
            for _ in range(FILES_AT_ONCE):
                nursery.start_soon(whole, upstream, index, server.url("/file"))
            with trio.move_on_after(5):
                await all_wait.wait()
            assert await whole(upstream, index, server.url("/page")) == (200, b"page")
            nursery.cancel_scope.cancel()


async def test_a_head_that_drips_for_ever_is_given_up() -> None:
    async def drip(stream: trio.abc.Stream, asked: Asked) -> None:
        await stream.send_all(b"HTTP/1.1 200 X\r\nX-Long: ")
        while True:
            await stream.send_all(b"x")
            await trio.sleep(0.02)

    async with serving({"/a": drip}) as server:
        index = index_at(server.url())
        async with upstream_of(index, patience=IMPATIENT) as upstream:
            assert "no answer within" in await refusal(upstream, index, server.url("/a"), Unavailable)


async def test_nobody_listening_and_no_such_name_are_unavailable() -> None:
    async with serving() as server:
        pass
    index = index_at(server.url())
    async with upstream_of(index) as upstream:
        assert "cannot be reached: Connection refused." in await refusal(upstream, index, server.url("/"), Unavailable)
        assert "name.invalid" in await refusal(upstream, index, "http://name.invalid/", Unavailable)
        await refusal(upstream, index, f"http://{'a' * 70}.example/", Unavailable)


async def test_of_two_addresses_the_one_that_answers_is_taken() -> None:
    trio.socket.set_custom_hostname_resolver(Names({"two.example": [["::1", "127.0.0.2", "127.0.0.1"]]}))
    async with serving({"/": answer(200, b"x")}) as server:
        url = server.url(host="two.example")
        index = index_at(url)
        async with upstream_of(index) as upstream:
            assert await whole(upstream, index, url) == (200, b"x")
        assert server.asked[0].fields["host"] == f"two.example:{server.port}"


async def test_a_caller_that_is_cancelled_leaves_nothing_behind() -> None:
    async def stalls(stream: trio.abc.Stream, asked: Asked) -> None:
        await send_and_hang(stream, b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\nhalf")

    async with serving({"/a": stalls, "/b": answer(200, b"b")}) as server:
        index = index_at(server.url())
        async with upstream_of(index) as upstream:
            with trio.CancelScope() as scope:
                async with upstream.get(index, server.url("/a")) as response:
                    async for _ in response.body:
                        scope.cancel()
            assert scope.cancelled_caught
            assert await whole(upstream, index, server.url("/b")) == (200, b"b")
        assert server.accepted == 2


async def test_a_page_may_come_packed_and_a_file_stays_as_it_is() -> None:
    page = b"<html>" * 200_000
    packed = answer(200, gzip.compress(page[:1000]) + gzip.compress(page[1000:]), content_encoding="gzip", etag='"p"')
    async with serving({"/a": packed}) as server:
        index = index_at(server.url())
        async with upstream_of(index) as upstream:
            async with upstream.get(index, server.url("/a"), {"Accept-Encoding": "gzip"}) as response:
                assert not {"content-encoding", "content-length"} & response.headers.keys()
                parts = [part async for part in response.body]
                assert b"".join(parts) == page
                assert max(map(len, parts)) <= gunzip.STEP_SIZE_BYTES
            async with upstream.get(index, server.url("/a")) as response:
                assert response.headers["content-encoding"] == "gzip"
                assert (await read(response))[:2] == b"\x1f\x8b"


async def test_a_bomb_goes_off_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    size_bytes = gunzip.UNPACKED_SIZE_BYTES_MAX + 1
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(size_bytes // (1 << 20) + 1)) + packer.flush()
    async with serving({"/a": answer(200, bomb, content_encoding="gzip")}) as server:
        index = index_at(server.url())
        async with upstream_of(index) as upstream:
            received = 0
            with pytest.raises(Refused, match="unpacks to more than"):  # noqa: PT012
                async with upstream.get(index, server.url("/a"), {"accept-encoding": "gzip"}) as response:
                    async for part in response.body:
                        received += len(part)
                        assert len(part) <= gunzip.STEP_SIZE_BYTES
            assert received <= gunzip.UNPACKED_SIZE_BYTES_MAX


async def test_a_broken_coding_is_unavailable() -> None:
    whole_gzip = gzip.compress(b"page" * 1000)
    async with serving() as server:
        server.answers = {
            "/cut": answer(200, whole_gzip[:-9], content_encoding="gzip"),
            "/garbage": answer(200, b"garbage", content_encoding="gzip"),
            "/trailing": answer(200, whole_gzip + b"xx", content_encoding="gzip"),
            "/other": answer(200, b"x", content_encoding="br"),
            "/empty": answer(200, b"", content_encoding="gzip"),
            "/plain": answer(200, b"plain"),
        }
        index = index_at(server.url())
        async with upstream_of(index) as upstream:
            for path in ("/cut", "/garbage", "/trailing", "/other"):
                with pytest.raises(Unavailable):
                    await whole(upstream, index, server.url(path), accept_encoding="gzip")
            assert await whole(upstream, index, server.url("/empty"), accept_encoding="gzip") == (200, b"")
            assert await whole(upstream, index, server.url("/plain"), accept_encoding="gzip") == (200, b"plain")


async def test_pages_unpack_whole_whatever_the_size_of_the_steps() -> None:
    for size_bytes in (0, 1, gunzip.STEP_SIZE_BYTES - 1, gunzip.STEP_SIZE_BYTES, gunzip.STEP_SIZE_BYTES * 2 + 1):
        for content in (bytes(size_bytes), os.urandom(size_bytes)):
            packed = gzip.compress(content)
            for step in (1000, 65536, len(packed)):

                async def parts(packed: bytes = packed, step: int = step) -> AsyncIterator[bytes]:
                    for start in range(0, len(packed), step):
                        yield packed[start : start + step]

                assert b"".join([part async for part in gunzip.unpacked(parts(), "h")]) == content


async def test_a_gzip_body_that_goes_on_for_ever_with_nothing_in_it_is_cut() -> None:
    async def parts() -> AsyncIterator[bytes]:
        while True:
            yield gzip.compress(b"") * 1000

    with pytest.raises(Refused, match="cut"):
        assert [part async for part in gunzip.unpacked(parts(), "h", size_bytes_max=100_000)] == []


async def test_a_proxy_of_the_environment_carries_what_is_public() -> None:
    async with serving({"/w": answer(200, b"w")}) as server, proxying(server.port) as proxy:
        index = index_at("http://index.example/simple/")
        environment = {"HTTP_PROXY": f"127.0.0.1:{proxy.port}", "NO_PROXY": "other.example"}
        async with upstream_of(index, environment=environment) as upstream:
            assert await whole(upstream, index, "http://index.example/w") == (200, b"w")
        assert proxy.asked[0].target == "http://index.example/w"


async def test_behind_a_proxy_what_is_written_inside_is_refused() -> None:
    async with serving({"/": answer(200, b"w")}) as server, proxying(server.port) as proxy:
        index = index_at("http://index.example/")
        async with upstream_of(index, proxy=proxy.url()) as upstream:
            for target in (*INSIDE, "http://localhost:{port}/"):
                if not target.startswith("//"):
                    await refusal(upstream, index, target.format(port=server.port), Refused)
            server.answers["/"] = redirect("//169.254.169.254/")
            await refusal(upstream, index, "http://index.example/", Refused)
        assert (proxy.accepted, server.accepted) == (1, 1)


async def test_https_goes_through_a_tunnel_with_the_names_own_certificate(tmp_path: Path) -> None:
    ca_file, tls = make_authority(tmp_path, "index.example")
    user = Credentials("p", "q")
    async with (
        serving({"/w": answer(200, b"w")}, tls) as server,
        proxying(server.port, user.authorization()) as proxy,
    ):
        index = index_at("https://index.example/")
        url = f"http://p:q@127.0.0.1:{proxy.port}"
        async with upstream_of(index, proxy=url, ca_file=ca_file, credentials=Credentials("me", "x")) as upstream:
            assert await whole(upstream, index, "https://index.example/w") == (200, b"w")
        assert (proxy.asked[0].method, proxy.asked[0].target) == ("CONNECT", "index.example:443")
        assert proxy.asked[0].fields.get("authorization") is None
        async with upstream_of(index, proxy=proxy.url(), ca_file=ca_file) as upstream:
            assert "proxy" in await refusal(upstream, index, "https://index.example/w", Unavailable)


async def test_no_proxy_is_honoured_and_loopback_needs_none() -> None:
    trio.socket.set_custom_hostname_resolver(Names({"files.corp.example": [["127.0.0.1"]]}))
    async with serving({"/w": answer(200, b"w")}) as server, proxying(1) as proxy:
        index = index_at(server.url(host="files.corp.example"))
        environment = {"ALL_PROXY": proxy.url(), "no_proxy": "x.example, .corp.example"}
        async with upstream_of(index, environment=environment) as upstream:
            assert await whole(upstream, index, server.url("/w", host="files.corp.example")) == (200, b"w")
        index = index_at(server.url())
        async with upstream_of(index, environment={"ALL_PROXY": proxy.url()}) as upstream:
            assert await whole(upstream, index, server.url("/w")) == (200, b"w")
        assert proxy.accepted == 0


def subject_hashes(ca_file: Path) -> list[str]:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl command to name a certificate for a directory of them")
    command = [openssl, "x509", "-in", str(ca_file), "-noout", "-subject_hash"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


async def test_an_unknown_certificate_is_said_and_a_named_authority_is_believed(tmp_path: Path) -> None:
    ca_file, tls = make_authority(tmp_path, "127.0.0.1")
    async with serving({"/w": answer(200, b"w")}, tls) as server:
        index = index_at(server.url())
        async with upstream_of(index) as upstream:
            message = await refusal(upstream, index, server.url("/w"), Unavailable)
            assert "certificate of 127.0.0.1 is not trusted" in message
            assert "ca-file" in message
        assert not server.asked
        # OpenSSL finds a directory's certificates by the hashes of their names; `openssl rehash` makes such links.
        (tmp_path / "rehashed").mkdir()
        for number in subject_hashes(ca_file):
            (tmp_path / "rehashed" / f"{number}.0").symlink_to(ca_file)
        directories = f"{tmp_path}:{tmp_path / 'rehashed'}"
        ways = ({"SSL_CERT_FILE": str(ca_file)}, {"PIP_CERT": str(ca_file)}, {"SSL_CERT_DIR": directories})
        for way in ({"ca_file": ca_file}, *({"environment": environment} for environment in ways)):
            async with upstream_of(index, **way) as upstream:  # type: ignore[arg-type]
                assert await whole(upstream, index, server.url("/w")) == (200, b"w")
        # The name must be the certificate's.
        index = index_at(server.url(host="localhost"))
        async with upstream_of(index, ca_file=ca_file) as upstream:
            message = await refusal(upstream, index, index.url, Unavailable)
            assert "not trusted" in message
            assert "Somebody else answers there" in message
            assert ".." not in message


@pytest.mark.parametrize("years", [(2019, 2020), (2098, 2099)])
async def test_a_certificate_of_another_time_asks_what_the_clock_says(tmp_path: Path, years: tuple[int, int]) -> None:
    ca_file, tls = make_authority(tmp_path, "127.0.0.1", years=years)
    async with serving({"/w": answer(200, b"w")}, tls) as server:
        index = index_at(server.url())
        async with upstream_of(index, ca_file=ca_file) as upstream:
            message = await refusal(upstream, index, server.url("/w"), Unavailable)
    assert "The clock of this machine says 2" in message
    assert "ca-file" not in message


async def test_a_server_without_tls_is_said() -> None:
    async def answer_anything(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer(400))

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, answer_anything, [listener])
        index = index_at(f"https://127.0.0.1:{listener.socket.getsockname()[1]}/")
        async with upstream_of(index) as upstream:
            assert "TLS" in await refusal(upstream, index, index.url, Unavailable)
        nursery.cancel_scope.cancel()


async def test_a_redirect_from_https_to_http_needs_a_configured_host(tmp_path: Path) -> None:
    ca_file, tls = make_authority(tmp_path, "127.0.0.1")
    async with serving({"/w": answer(200, b"w")}) as plain, serving(tls=tls) as server:
        server.answers = {"/a": redirect(plain.url("/w")), "/b": redirect("http://203.0.113.7/w")}
        index = index_at(server.url())
        async with upstream_of(index, ca_file=ca_file) as upstream:
            assert "without TLS" in await refusal(upstream, index, server.url("/b"), Refused)
            assert "without TLS" in await refusal(upstream, index, server.url("/a"), Refused)
        assert plain.accepted == 0
        async with upstream_of(index, ca_file=ca_file, file_hosts=(f"127.0.0.1:{plain.port}",)) as upstream:
            assert await whole(upstream, index, server.url("/a")) == (200, b"w")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"ca_file": Path("/nonexistent/ca.pem")}, "certificates in /nonexistent/ca.pem"),
        ({"environment": {"SSL_CERT_FILE": "/nonexistent/ca.pem"}}, "certificates in /nonexistent/ca.pem"),
        ({"proxy": "gopher://u:secret@h/"}, "cannot be used"),
        ({"file_hosts": ("http://h/",)}, "not a host"),
        ({"file_hosts": ("",)}, "not a host"),
    ],
)
async def test_what_cannot_be_used_is_said_at_the_start(fault: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        async with upstream_of(index_at("https://index.example/"), **fault):  # type: ignore[arg-type]
            pass
    assert "secret" not in str(caught.value)


async def test_secrets_stand_in_no_message_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "p2pcdn_daemon")
    async with serving() as server:
        server.answers["/a"] = redirect("http://u:hunter2@10.0.0.1/x?signature=hunter2")
        index = index_at(server.url())
        async with upstream_of(index, credentials=Credentials("me", "hunter2")) as upstream:
            messages = [
                await refusal(upstream, index, server.url("/a"), Refused),
                await refusal(upstream, index, "ftp://u:hunter2@h/?hunter2", Refused),
                await refusal(upstream, index, "http://u:hunter2@[::1/?hunter2", Refused),
            ]
    assert "hunter2" not in " ".join(messages) + caplog.text


def test_a_server_knows_its_own_url() -> None:
    assert Server(1).url("/x") == "http://127.0.0.1:1/x"


async def test_a_user_without_a_password_is_looked_up_once_and_else_is_a_token() -> None:
    async with serving({"/": answer(200)}) as server:
        index, credentials = make_index(server.url().replace("//", "//token@"), 0, environment={}, netrc=Netrc())
        async with upstream_of(index, credentials=credentials) as upstream, trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(whole, upstream, index, index.url)
        sent = {asked.fields["authorization"] for asked in server.asked}
        assert sent == {Credentials("token", None).authorization()}


async def test_who_names_another_user_is_not_answered_as_the_first() -> None:
    async with serving({"/": answer(200)}) as server, open_upstream([], environment={}) as upstream:
        for user in ("first", "second"):
            index = upstream.index(server.url(), user, None)
            async with upstream.get(index, index.url) as response:
                await read(response)
        sent = [asked.fields["authorization"] for asked in server.asked]
        assert sent == [Credentials(user, None).authorization() for user in ("first", "second")]


async def test_a_server_that_hangs_up_a_moment_after_its_answer_is_asked_over_new_connections() -> None:
    """It did not say so: the connection looks open when the answer has been read."""
    read_it = trio.Event()

    async def once(stream: trio.abc.Stream, asked: Asked) -> None:
        await stream.send_all(answer(200, WHEEL))
        await read_it.wait()

    async with serving({"/thing.whl": once}) as server:
        index = index_at(server.url("/simple/"))
        async with upstream_of(index) as upstream:
            for _ in range(3):
                assert await whole(upstream, index, server.url("/thing.whl")) == (200, WHEEL)
                read_it.set()
                await trio.testing.wait_all_tasks_blocked()
                read_it = trio.Event()
        assert server.accepted == 3
