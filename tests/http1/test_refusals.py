"""What is refused: one answer of the table, then the connection is closed. All over real sockets."""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import pairwise

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from p2pcdn.http1 import AllowedHosts, Limits, Request, Response, Violation
from p2pcdn.http1.parse import Reader
from p2pcdn.http1.refusals import TABLE, Face, Refusal

G = b"GET / HTTP/1.1\r\n"
P = b"POST /echo HTTP/1.1\r\nHost: h\r\n"
FOLLOWS = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"

SMUGGLING = [
    ("te-and-cl", 400, P + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("te-and-cl", 400, P + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"),
    ("two-lengths", 400, P + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde"),
    ("two-lengths", 400, P + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd"),
    ("length", 400, P + b"Content-Length: +4\r\n\r\nabcd"),
    ("length", 400, P + b"Content-Length: 4, 4\r\n\r\nabcd"),
    ("length", 400, P + b"Content-Length: 0x4\r\n\r\nabcd"),
    ("length", 400, P + b"Content-Length: 99999999999999999999999\r\n\r\nabcd"),
    ("te", 400, P + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("te", 400, P + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    ("te", 400, P + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ("te", 400, P + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("te", 400, b"POST /echo HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("malformed", 400, G + b"Host : h\r\n\r\n"),
    ("te", 400, P + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    ("obs-fold", 400, G + b"Host: h\r\nX: a\r\n b\r\n\r\n"),
    ("obs-fold", 400, G + b" Host: h\r\n\r\n"),
    ("bare-lf", 400, b"GET / HTTP/1.1\nHost: h\n\n"),
    ("bare-lf", 400, G + b"Host: h\nX: a\r\n\r\n"),
    ("bare-cr", 400, G + b"Host: h\r\nX: a\rY: b\r\n\r\n"),
    ("nul", 400, G + b"Host: h\r\nX: a\0b\r\n\r\n"),
    ("malformed", 400, G + b"Host: h\r\n: a\r\n\r\n"),
    ("malformed", 400, G + b"Host: h\r\nno colon\r\n\r\n"),
    ("body-malformed", 400, P + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n"),
    ("body-malformed", 400, P + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n"),
    ("body-malformed", 400, P + b"Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n"),
]

OTHERS = [
    ("host-missing", 400, G + b"\r\n"),
    ("two-hosts", 400, G + b"Host: h\r\nHost: h\r\n\r\n"),
    ("version", 505, b"GET / HTTP/2.0\r\nHost: h\r\n\r\n"),
    ("version", 505, b"GET / HTTP/1.2\r\nHost: h\r\n\r\n"),
    ("version", 505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("request-line", 400, b"GET /\r\n\r\n"),
    ("request-line", 400, b"GET / HTTX/1.1\r\nHost: h\r\n\r\n"),
    ("request-line", 400, b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("request-line", 400, b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("nul", 400, b"\x16\x03\x01\x02\x00\x01\r\n\r\n"),
    ("method-syntax", 400, b"get / HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("target", 400, b"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("target", 400, b"GET /a\tb HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("target", 400, b"GET /\xc3\xa4 HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("target-form", 400, b"GET simple/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("method", 405, b"DELETE / HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("method", 405, b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("method", 405, b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("expect", 417, G + b"Host: h\r\nExpect: miracles\r\n\r\n"),
    ("head-size", 400, G + b"Host: h\r\nX: " + b"a" * 20_000 + b"\r\n\r\n"),
    ("head-size", 400, b"GET /" + b"a" * 100_000),
    ("headers-count", 400, G + b"Host: h\r\n" + b"X: a\r\n" * 101 + b"\r\n"),
    ("cross-site", 403, G + b"Host: h\r\nOrigin: http://evil.example\r\n\r\n"),
    ("cross-site", 403, G + b"Host: h\r\nOrigin: null\r\n\r\n"),
    ("cross-site", 403, G + b"Host: h\r\nSec-Fetch-Site: cross-site\r\n\r\n"),
    ("cross-site", 403, G + b"Host: h\r\nSec-Fetch-Site: same-site\r\n\r\n"),
    ("body-size", 413, P + b"Content-Length: 1001\r\n\r\n"),
    ("body-size", 413, P + b"Transfer-Encoding: chunked\r\n\r\n" + b"100\r\n" + b"a" * 256 + b"\r\n" * 4000),
    ("body-cut", 400, P + b"Content-Length: 100\r\n\r\nabc"),
]


@pytest.mark.parametrize(("rule", "status", "raw"), SMUGGLING + OTHERS)
async def test_a_violation_gets_one_answer_and_the_end(rule, status, raw, face, served, read_all):
    async with served(face, bodies=True, limits=Limits(body_size_bytes_max=1000)) as connect:
        stream = await connect()
        await stream.send_all(raw if rule == "body-cut" else raw + FOLLOWS)
        await stream.send_eof()
        answer = await read_all(stream)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert len(re.findall(rb"HTTP/1\.1 \d", answer)) == 1
    assert b'"title": "%b"' % rule.encode() in answer
    assert b"application/problem+json" in answer
    assert b"connection: close" in answer
    assert "/smuggled" not in [request.path for request in face.requests]
    if status == 405:
        assert b"allow: GET, HEAD, POST" in answer


@pytest.mark.parametrize(
    "head", [b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]
)
async def test_a_body_is_refused_where_the_face_takes_none(head, face, served, read_all):
    async with served(face) as connect:
        stream = await connect()
        await stream.send_all(P + head + FOLLOWS)
        answer = await read_all(stream)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert len(re.findall(rb"HTTP/1\.1 \d", answer)) == 1
    assert face.requests == []


HOSTS = [
    ("localhost:7272", 200),
    ("LOCALHOST:7272", 200),
    ("localhost", 200),
    ("127.0.0.1:7272", 200),
    ("[::1]:7272", 200),
    ("localhost:80", 421),
    ("localhost.:7272", 421),
    ("evil.example", 421),
    ("evil.example:7272", 421),
    ("127.0.0.1@evil.example", 421),
    ("127.0.0.1.evil.example:7272", 421),
    ("127.1:7272", 421),
    ("0.0.0.0:7272", 421),
    ("2130706433:7272", 421),
    ("[::ffff:127.0.0.1]:7272", 421),
    ("::1:7272", 421),
    ("", 421),
    ("localhost:7272, evil.example", 421),
]


@pytest.mark.parametrize(("host", "status"), HOSTS)
async def test_only_the_hosts_of_the_list_are_answered(host, status, face, served, read_all):
    async with served(face) as connect:
        stream = await connect()
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % host.encode())
        assert (await read_all(stream)).startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET http://h/simple/ HTTP/1.1\r\nHost: h\r\n", 200),
        (b"GET http://h?q HTTP/1.1\r\nHost: h\r\n", 200),
        (b"GET http://evil.example/ HTTP/1.1\r\nHost: h\r\n", 421),
        (b"GET http://h/ HTTP/1.1\r\nHost: evil.example\r\n", 421),
        (b"GET http://h@evil.example/ HTTP/1.1\r\nHost: h\r\n", 421),
        (b"GET https://h/ HTTP/1.1\r\nHost: h\r\n", 400),
        (b"GET / HTTP/1.0\r\n", 421),
        (b"GET / HTTP/1.0\r\nHost: h\r\n", 200),
    ],
)
async def test_an_absolute_target_and_an_old_client_get_no_way_around_the_list(raw, status, face, served, read_all):
    async with served(face) as connect:
        stream = await connect()
        await stream.send_all(raw + b"Connection: close\r\n\r\n")
        assert (await read_all(stream)).startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize(("host", "status"), [("any.example:99", 200), ("a b", 400), ("a/b", 400), ("", 400)])
async def test_a_face_without_a_list_still_wants_a_host(host, status, face, served, read_all):
    async with served(face, allowed_hosts=None) as connect:
        stream = await connect()
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % host.encode())
        assert (await read_all(stream)).startswith(b"HTTP/1.1 %d " % status)


async def test_our_own_pages_may_ask(face, served, read_all):
    async with served(face) as connect:
        stream = await connect()
        await stream.send_all(
            G + b"Host: h:7272\r\nOrigin: http://h:7272\r\nSec-Fetch-Site: same-origin\r\nConnection: close\r\n\r\n"
        )
        assert (await read_all(stream)).startswith(b"HTTP/1.1 200 ")


def test_the_table_names_each_rule_once():
    assert len({row.rule for row in TABLE}) == len(TABLE)
    assert all(row.status >= 400 and row.sentence.endswith(".") for row in TABLE)


FACE = Face(frozenset({"GET", "HEAD", "POST"}), AllowedHosts.of(["h"], []), True, False, Limits())
GOOD = [
    b"GET /a HTTP/1.1\r\nHost: h\r\nX: 1\r\nX: 2\r\n\r\n",
    b"\r\nHEAD /b?c=d HTTP/1.0\r\nHost: h\r\nConnection: Keep-Alive\r\n\r\n",
    b"POST /c HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /d HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: t\r\n\r\n",
]
# fmt: off
TOKENS = st.sampled_from([
    b"GET ", b"POST ", b"/", b"http://h", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\n", b"\r", b" ", b": ", b"\0",
    b"\xff", b"Host: h\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n",
    b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"Expect: 100-continue\r\n", b"\r\n\r\n", b"0\r\n\r\n", b"3\r\nabc\r\n",
    *GOOD,
])
# fmt: on
GARBAGE = st.lists(st.one_of(TOKENS, st.binary(max_size=8)), max_size=20).map(b"".join)


def read(raw: bytes, cuts: list[int]) -> list[object]:
    """What a reader makes of it, cut at these places."""
    reader = Reader(FACE)
    seen: list[object] = []
    places = [0, *sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
    for start, end in pairwise(places):
        reader.receive(raw[start:end])
        while True:
            if not reader.body_done:
                seen[-1][-1] += b"".join(reader.take_body())  # type: ignore[index]
                if not reader.body_done:
                    break
                if not seen[-1][2]:  # type: ignore[index]
                    return seen
            step = reader.next_request()
            if step is None:
                break
            if not isinstance(step, Request):
                return [*seen, step]
            seen.append([step.path, dict(step.headers), step.keep_alive, b""])
    return seen


@given(st.lists(st.sampled_from(GOOD), max_size=4), st.lists(st.integers(0, 1000), max_size=12))
@settings(deadline=None)
def test_the_cuts_of_the_network_change_nothing(requests, cuts):
    raw = b"".join(requests)
    assert read(raw, cuts) == read(raw, [])


@given(GARBAGE)
@settings(max_examples=300, deadline=None)
def test_no_bytes_make_the_reader_raise_anything_but_a_violation(raw):
    with suppress(Violation):
        for step in read(raw, [5, 50]):
            assert isinstance(step, list | Refusal | tuple)


@given(raw=GARBAGE)
@example(raw=b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" * 2)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_is_answered_after_a_refusal(raw, in_memory, read_all):
    async def main() -> None:
        def face(request: Request) -> Response:
            return Response(200, (), b"fine")

        async with in_memory(face, bodies=True) as stream:
            await stream.send_all(raw)
            await stream.send_eof()
            answer = await read_all(stream)
        statuses = re.findall(rb"HTTP/1\.1 (\d+) ", answer)
        assert all(status in (b"200", b"100") for status in statuses[:-1])
        assert b"500" not in statuses

    trio.run(main)


@given(pieces=st.lists(GARBAGE, max_size=4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_socket_is_as_strict_as_a_stream_of_memory(pieces, served, in_memory, read_all):
    def face(request: Request) -> Response:
        return Response(200, (), request.path.encode())

    async def exchange(stream: trio.abc.HalfCloseableStream) -> list[bytes]:
        with suppress(trio.BrokenResourceError):
            for piece in pieces:
                await stream.send_all(piece)
                await trio.testing.wait_all_tasks_blocked()
            await stream.send_eof()
        answer = await read_all(stream)
        return [re.sub(rb"date: [^\r]*", b"", part) for part in answer.split(b"HTTP/1.1 ")]

    async def main() -> None:
        async with served(face, bodies=True) as connect, in_memory(face, bodies=True) as stream:
            assert await exchange(await connect()) == await exchange(stream)

    trio.run(main)
