"""What odd paths, odd upstreams and clients that leave do to the index face."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from inspect import isawaitable
from pathlib import Path

import pytest
import trio
import trio.testing

from p2pcdn.counters import HOSTS_MAX, Counters
from p2pcdn.digest import Sha256
from p2pcdn.http1 import Request, serve_connection
from p2pcdn.store import UNKNOWN, Origin
from p2pcdn.web.metrics import metrics_response
from p2pcdn.world import UpstreamResponse
from tests.bench.wheels import make_wheel
from tests.web.test_index_face import JSON_TYPE, NAME, PATH, WHEEL, Face, body_of, face, page, upstream
from tests.worlds import INDEX, LIMITS, SECOND, Answer


async def raw(node: Face, request: bytes) -> bytes:
    """All that a client on a connection gets."""
    client, ours = trio.testing.memory_stream_pair()
    got = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_connection, ours, node.face)
        await client.send_all(request)
        async for part in client:
            got += part
    return bytes(got)


@pytest.mark.parametrize("project", ["..", "a b", "a%3Fb", "x%0D%0Ay", "Demo", "d" * 3000])
async def test_a_file_of_what_is_no_project_asks_no_upstream(
    tmp_path: Path, autojump_clock: trio.abc.Clock, project: str
) -> None:
    async with face(tmp_path, indexes=(INDEX, SECOND)) as node:
        status, _, _ = await node.ask(f"/files/{SECOND.key}/{project}/x-1.0.tar.gz")
        assert status == 404
        assert node.upstream.asked == []


async def test_an_offline_page_lists_what_is_held_now(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    async with face(tmp_path) as node:

        async def listed() -> int:
            return len(json.loads((await node.ask("/simple/demo/", accept=JSON_TYPE))[2])["files"])

        await node.ask("/simple/demo/")
        node.pages.offline = True
        status, headers, _ = await node.ask("/simple/unknown/")
        assert status == 503
        assert "retry-after" not in headers, "pip would wait five times for what nobody could change"
        assert await listed() == 0
        carried_in = await node.store.grow(Sha256.of(WHEEL), len(WHEEL), Origin(NAME, "demo", INDEX.key, "lan"))
        await carried_in.write(0, WHEEL)
        await carried_in.finish()
        assert await listed() == 1
        await node.store.drop(Sha256.of(WHEEL))
        assert await listed() == 0


async def test_a_look_at_what_is_passed_on_lets_go_of_the_upstream(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with face(tmp_path, lambda url, headers: Answer(b"<a>x</a>")) as node:
        open_now: list[str] = []
        get = node.upstream.get

        @asynccontextmanager
        async def counted(index: object, url: str, headers: dict[str, str]) -> AsyncIterator[UpstreamResponse]:
            open_now.append(url)
            try:
                async with get(INDEX, url, headers) as response:
                    yield response
            finally:
                open_now.remove(url)

        node.upstream.get = counted  # type: ignore[method-assign, assignment]
        answer = node.face(Request("HEAD", b"/simple/", "/simple/", "", {}))
        response = await answer if isawaitable(answer) else answer
        assert open_now
        assert not isinstance(response.body, bytes)
        await response.body.aclose()  # type: ignore[union-attr]
        assert not open_now


@pytest.mark.parametrize("value", ["text/html; x=€", "a\r\nb: c"])
async def test_a_field_that_cannot_be_sent_on_is_left_out(
    tmp_path: Path, autojump_clock: trio.abc.Clock, value: str
) -> None:
    async with face(tmp_path, lambda url, headers: Answer(b"<a>x</a>", headers={"etag": value})) as node:
        asking = b"GET /simple/ HTTP/1.1\r\nHost: x\r\nAccept: \xe9\r\nConnection: close\r\n\r\n"
        got = await raw(node, asking)
        assert got.startswith(b"HTTP/1.1 200")
        assert b"<a>x</a>" in got
        assert b"etag" not in got.lower()
        assert node.upstream.asked[-1][1]["accept"] == "text/html"


async def test_a_coding_that_nobody_asked_for_is_named(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    async with face(tmp_path, lambda url, headers: Answer(b"\x1f\x8b", headers={"content-encoding": "gzip"})) as node:
        assert (await node.ask("/simple/"))[1]["content-encoding"] == "gzip"


async def test_a_look_counts_no_byte_as_served(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    async with face(tmp_path) as node:
        await node.ask(PATH)
        await trio.sleep(5)
        before = node.counters.served_bytes, node.counters.file_hits
        answer = node.face(Request("HEAD", PATH.encode(), PATH, "", {}))
        response = await answer if isawaitable(answer) else answer
        await body_of(response)
        assert (node.counters.served_bytes, node.counters.file_hits) == before


async def test_a_client_that_takes_its_time_gets_a_file_that_became_whole_meanwhile(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with face(tmp_path) as node:
        answer = node.face(Request("GET", PATH.encode(), PATH, "", {}))
        response = await answer if isawaitable(answer) else answer
        await trio.sleep(60)
        assert await body_of(response) == WHEEL


async def test_an_upstreams_404_is_one_where_nothing_can_be_kept_too(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    def script(url: str, headers: Mapping[str, str]) -> Answer:
        return upstream(url, headers) if url.endswith("/demo/") else Answer(status=404)

    async with face(tmp_path, script, limits=replace(LIMITS, size_bytes=1000)) as node:
        assert (await node.ask(PATH))[0] == 404


async def test_a_file_whose_path_does_not_tell_its_project_is_found(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    link = "https://files.example/packages/ab/download"

    def script(url: str, headers: Mapping[str, str]) -> Answer:
        if url.endswith("/demo/"):
            return Answer(page(url=link), headers={"content-type": JSON_TYPE})
        return Answer(WHEEL) if url == link else Answer(status=404)

    async with face(tmp_path, script) as node:
        listed = json.loads((await node.ask("/simple/demo/", accept=JSON_TYPE))[2])["files"]
        status, _, body = await node.ask(listed[0]["url"])
        assert (status, body) == (200, WHEEL)


async def test_an_offline_page_lists_a_held_file_without_a_hash(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    def script(url: str, headers: Mapping[str, str]) -> Answer:
        unhashed = Answer(page(hashes={}), headers={"content-type": JSON_TYPE})
        return unhashed if url.endswith("/demo/") else Answer(WHEEL)

    async with face(tmp_path, script) as node:
        await node.ask(PATH)
        await trio.sleep(5)
        node.pages.offline = True
        _, _, body = await node.ask("/simple/demo/", accept=JSON_TYPE)
        assert [file["filename"] for file in json.loads(body)["files"]] == [NAME]


async def test_what_was_evicted_is_counted(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    status = {
        "store": {"blobs": 0, "size_bytes": 0, "limit_bytes": 1, "partials": 0, "evicted_bytes": 7},
        "uptime_s": 1.5,
        "peers": [],
        "health": "ok",
    }
    body = metrics_response(Counters(), status).body
    assert isinstance(body, bytes)
    assert b"\np2pcdn_evicted_bytes_total 7\n" in body


def test_a_host_with_many_addresses_fills_no_memory() -> None:
    counters = Counters()
    for number in range(HOSTS_MAX + 100):
        counters.given_to(f"fe80::{number:x}", 1)
    assert len(counters.given_bytes) == HOSTS_MAX + 1
    assert counters.given_bytes["others"] == 100


async def test_the_metadata_of_an_sdist_is_given_where_its_index_names_it(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """pip asks for what the page advertises, of an sdist too, and ends at a 404."""
    name, metadata = "demo-1.0.tar.gz", b"Metadata-Version: 2.2\nName: demo\nVersion: 1.0\n"
    named = page(filename=name, url=f"https://files.example/packages/{name}", **{"core-metadata": _sha256(metadata)})

    def script(url: str, headers: Mapping[str, str]) -> Answer:
        if url.endswith("/demo/"):
            return Answer(named, headers={"content-type": JSON_TYPE})
        return Answer(metadata) if url.endswith(f"/{name}.metadata") else Answer(status=404)

    async with face(tmp_path, script) as node:
        listed = json.loads((await node.ask("/simple/demo/", accept=JSON_TYPE))[2])["files"][0]
        assert listed["core-metadata"] == _sha256(metadata)
        status, _, body = await node.ask(f"{listed['url']}.metadata")
        assert (status, body) == (200, metadata)


def _sha256(content: bytes) -> dict[str, str]:
    return {"sha256": Sha256.of(content)}


async def test_a_look_knows_no_range(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """Of all methods only GET has ranges (RFC 9110, section 14.2)."""
    async with face(tmp_path) as node:
        await node.ask(PATH)
        asked = f"HEAD {PATH} HTTP/1.1\r\nHost: x\r\nRange: bytes=0-9\r\nConnection: close\r\n\r\n"
        answer = await raw(node, asked.encode())
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert f"content-length: {len(WHEEL)}\r\n".encode() in answer


async def test_what_one_index_says_of_metadata_answers_for_no_other(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    metadata = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"

    def script(url: str, headers: Mapping[str, str]) -> Answer:
        if url.endswith("/demo/"):
            right = url.startswith(INDEX.url)
            body = page(**{"core-metadata": _sha256(metadata if right else b"other")})
            return Answer(body, headers={"content-type": JSON_TYPE})
        return Answer(metadata, delay_s=1.0) if url.endswith(".metadata") else Answer(status=404)

    async with face(tmp_path, script, indexes=(INDEX, SECOND)) as node:
        await node.pages.of_index(SECOND, "demo")
        paths = [f"{PATH}.metadata", f"/files/{SECOND.key}/demo/{NAME}.metadata"]
        statuses = {}

        async def ask(path: str) -> None:
            statuses[path] = (await node.ask(path))[0]

        async with trio.open_nursery() as clients:
            for path in paths:
                clients.start_soon(ask, path)
        assert [statuses[path] for path in paths] == [200, 502]


async def test_a_wheels_own_metadata_is_never_given_under_the_hash_of_another(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """A lock may read it, for the whole wheel is right; who asks for what the page names gets that or none."""
    wheel = make_wheel("demo")

    def script(url: str, headers: Mapping[str, str]) -> Answer:
        if url.endswith("/demo/"):
            hashes = {"hashes": {"sha256": wheel.sha256}, "core-metadata": _sha256(b"other"), "size": None}
            return Answer(page(**hashes), headers={"content-type": JSON_TYPE})
        return Answer(status=404) if url.endswith(".metadata") else Answer(wheel.content)

    async with face(tmp_path, script) as node:
        for _ in range(2):
            assert (await node.ask(f"{PATH}.metadata"))[0] == 502
        assert node.store.holds(Sha256(wheel.sha256)), "it was looked into"


async def test_a_blob_whose_row_was_lost_is_named_by_the_page_that_lists_it(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """After the catalog was made anew; until then neighbours do not get it."""
    async with face(tmp_path) as node:
        lost = await node.store.grow(Sha256.of(WHEEL), len(WHEEL), UNKNOWN)
        await lost.write(0, WHEEL)
        await lost.finish()
        assert (await node.ask(PATH))[2] == WHEEL
        (row,) = node.store.rows()
        assert (row.origin.filename, row.origin.project, row.origin.share) == (NAME, "demo", INDEX.share)
        assert not any(url.endswith(NAME) for url, _ in node.upstream.asked)
