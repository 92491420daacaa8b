"""The index face, request by request, on virtual time: pages, files, ranges, and what stands behind the token."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from inspect import isawaitable
from pathlib import Path
from typing import Any

import pytest
import trio
import zstandard

from p2pcdn.counters import Counters
from p2pcdn.errors import DigestMismatch, Unavailable
from p2pcdn.fetch import Delivery, Fetch, Metadata, OriginReader
from p2pcdn.http1 import FileSlice, Request, Response
from p2pcdn.index import Pages
from p2pcdn.store import Store, StoreLimits
from p2pcdn.web.files import FileDesk
from p2pcdn.web.index_face import IndexFace
from p2pcdn.web.pages import PageDesk
from p2pcdn.world import Index
from tests.worlds import (
    INDEX,
    LIMITS,
    SECOND,
    Answer,
    InlineThreads,
    Script,
    ScriptedUpstream,
    VirtualClock,
    lonely_swarm,
    open_store,
)

TOKEN = "Zm91bmRlcnMtb25seQ"
JSON_TYPE = "application/vnd.pypi.simple.v1+json"
WHEEL = random.Random(11).randbytes(700_000)
NAME = "demo-1.0-py3-none-any.whl"
PATH = f"/packages/aa/bb/{NAME}"


def page(**more: Any) -> bytes:
    file = {
        "filename": NAME,
        "url": f"https://files.example{PATH}",
        "hashes": {"sha256": sha256(WHEEL).hexdigest()},
        "size": len(WHEEL),
        "yanked": "broken",
        "requires-python": ">=3.8",
        "x-unknown": {"kept": True},
        **more,
    }
    return json.dumps({"meta": {"api-version": "1.4"}, "name": "demo", "versions": ["1.0"], "files": [file]}).encode()


def upstream(url: str, headers: Mapping[str, str]) -> Answer:
    if url.endswith("/demo/"):
        return Answer(page(), headers={"content-type": JSON_TYPE, "cache-control": "max-age=600", "etag": '"u1"'})
    if url.endswith(NAME):
        return Answer(WHEEL, pause_s=0.01)
    return Answer(status=404)


class Face:
    """An index face with real rooms behind it; `ask` gives status, headers and the body as a client would get them."""

    def __init__(self, store: Store, nursery: trio.Nursery, indexes: tuple[Index, ...], script: Script) -> None:
        self.store = store
        self.script = script
        self.upstream = ScriptedUpstream(lambda url, headers: self.script(url, headers))
        self.counters = Counters()
        clock = VirtualClock()
        self.pages = Pages(
            indexes,
            store=store,
            upstream=self.upstream,
            threads=InlineThreads(),
            clock=clock,
            counters=self.counters,
            nursery=nursery,
            offline=False,
        )
        desk = PageDesk(store, InlineThreads(), nursery, private_prefix=f"/t/{TOKEN}")
        origin = OriginReader(self.upstream, self.counters, random.Random(1))
        swarm = lonely_swarm(store, self.counters)
        metadata = Metadata(
            store=store,
            swarm=swarm,
            origin=origin,
            nursery=nursery,
            offline=False,
            whole=lambda wanted: fetch.whole(wanted),
            on_change=desk.forget,
        )
        fetch = Fetch(
            store=store,
            swarm=swarm,
            origin=origin,
            counters=self.counters,
            nursery=nursery,
            offline=False,
            on_kept=metadata.note_kept,
        )
        self.face = IndexFace(
            pages=self.pages,
            page_desk=desk,
            file_desk=FileDesk(fetch, metadata, Delivery(origin, nursery), self.counters),
            upstream=self.upstream,
            counters=self.counters,
            clock=clock,
            private_prefix=f"/t/{TOKEN}",
            status=lambda: {
                "store": {"blobs": 0, "size_bytes": 0, "limit_bytes": 1, "partials": 0, "evicted_bytes": 0},
                "uptime_s": 1.5,
                "peers": [],
                "health": "ok",
            },
        )

    async def ask(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        path, _, query = path.partition("?")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.face(Request("GET", path.encode(), path, query, named))
        response = await answer if isawaitable(answer) else answer
        return response.status, headers_of(response), await body_of(response)


def headers_of(response: Response) -> dict[str, str]:
    lines = response.head_lines.decode("latin-1").splitlines()
    pairs = [*response.headers, *(tuple(line.split(": ", 1)) for line in lines)]
    return {name.lower(): value for name, value in pairs}


async def body_of(response: Response) -> bytes:
    body = response.body
    try:
        if isinstance(body, bytes):
            return body
        if isinstance(body, FileSlice):
            return await body.file.pread(body.size_bytes, body.offset)
        content = bytearray()
        async for part in body:
            content += part if isinstance(part, bytes) else await part.file.pread(part.size_bytes, part.offset)
        if response.size_bytes is not None:
            assert len(content) == response.size_bytes
        return bytes(content)
    finally:
        if response.release is not None:
            response.release()


@asynccontextmanager
async def face(
    directory: Path,
    script: Script = upstream,
    indexes: tuple[Index, ...] = (INDEX,),
    limits: StoreLimits = LIMITS,
) -> AsyncIterator[Face]:
    async with open_store(directory, limits) as store, trio.open_nursery() as nursery:
        yield Face(store, nursery, indexes, script)
        nursery.cancel_scope.cancel()


# -- pages ------------------------------------------------------------------------------------------------------------


async def test_upstream_json_passes_untouched_but_for_the_files_urls(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with face(tmp_path) as node:
        status, headers, body = await node.ask("/simple/demo/", accept=JSON_TYPE)
        assert status == 200
        assert headers["content-type"] == JSON_TYPE
        expected = json.loads(page())
        expected["files"][0]["url"] = PATH
        assert json.loads(body) == expected


@pytest.mark.parametrize("path", ["/simple/demo", "/simple/Demo/", "/simple/DEMO", "/simple/de%6Do/"])
async def test_any_spelling_of_the_name_is_answered_without_a_redirect(
    tmp_path: Path, autojump_clock: trio.abc.Clock, path: str
) -> None:
    async with face(tmp_path) as node:
        assert (await node.ask(path))[0] == 200


async def test_every_representation_has_a_strong_etag_of_its_own_and_a_304_repeats_it(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    etags = set()
    async with face(tmp_path, lambda url, headers: _long(url)) as node:
        for accept in (JSON_TYPE, "text/html"):
            for coding in ("identity", "gzip", "gzip, zstd"):
                status, headers, body = await node.ask("/simple/demo/", accept=accept, accept_encoding=coding)
                assert status == 200
                assert headers["vary"] == "Accept, Accept-Encoding"
                assert not headers["etag"].startswith("W/")
                etags.add(headers["etag"])
                assert b"demo" in _unpacked(body, headers.get("content-encoding"))
                again, headers_again, empty = await node.ask(
                    "/simple/demo/", accept=accept, accept_encoding=coding, if_none_match=headers["etag"]
                )
                assert (again, empty) == (304, b"")
                assert headers_again["etag"] == headers["etag"]
                assert "max-age=" in headers_again["cache-control"]
    assert len(etags) == 6


def _long(url: str) -> Answer:
    files = [
        {
            "filename": f"demo-{number}.tar.gz",
            "url": f"https://files.example/packages/demo-{number}.tar.gz",
            "hashes": {},
        }
        for number in range(60)
    ]
    body = json.dumps({"meta": {"api-version": "1.0"}, "name": "demo", "files": files}).encode()
    return Answer(body, headers={"content-type": JSON_TYPE}) if url.endswith("/demo/") else Answer(status=404)


def _unpacked(body: bytes, coding: str | None) -> bytes:
    if coding == "gzip":
        return gzip.decompress(body)
    if coding == "zstd":
        return zstandard.ZstdDecompressor().decompressobj().decompress(body)
    assert coding is None
    return body


async def test_what_is_left_of_the_upstreams_freshness_is_what_a_client_gets(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with face(tmp_path) as node:
        await node.ask("/simple/demo/")
        await trio.sleep(100)
        _, headers, _ = await node.ask("/simple/demo/")
        assert headers["cache-control"] == "max-age=500, public"
        assert headers["cache-status"] == "p2pcdn; hit; ttl=500"
        node.script = lambda url, headers: Answer(error=Unavailable("no route"))
        await trio.sleep(600)
        _, headers, _ = await node.ask("/simple/demo/")
        assert headers["cache-control"] == "max-age=0, public"
        assert "stale" in headers["cache-status"]


async def test_no_cache_asks_the_upstream_and_pips_max_age_0_does_not(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with face(tmp_path) as node:
        await node.ask("/simple/demo/")
        await trio.sleep(60)
        await node.ask("/simple/demo/", cache_control="max-age=0")
        assert node.counters.upstream_page_requests == 1
        await node.ask("/simple/demo/", cache_control="no-cache")
        assert node.counters.upstream_page_requests == 2
        await node.ask("/simple/demo/", cache_control="no-cache")
        assert node.counters.upstream_page_requests == 2, "it was checked a moment ago"


async def test_an_unknown_media_type_is_406_and_the_format_parameter_wins(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with face(tmp_path) as node:
        status, headers, body = await node.ask("/simple/demo/", accept="image/png")
        assert (status, headers["content-type"]) == (406, "application/problem+json")
        assert json.loads(body)["status"] == 406
        _, headers, _ = await node.ask(f"/simple/demo/?format={JSON_TYPE.replace('+', '%2B')}", accept="text/html")
        assert headers["content-type"] == JSON_TYPE
        await node.ask("/simple/demo/")
        assert (await node.ask("/simple/demo/", accept="image/png"))[0] == 406, "also once the page is in memory"


async def test_an_upstream_that_is_down_is_503_with_retry_after_and_a_sentence(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with face(tmp_path, lambda url, headers: Answer(status=503, headers={"retry-after": "7"})) as node:
        status, headers, body = await node.ask("/simple/demo/")
        assert (status, headers["retry-after"]) == (503, "7")
        assert "try again in 7 s" in json.loads(body)["detail"]


@pytest.mark.parametrize(("theirs", "ours"), [(404, 404), (410, 404), (401, 403), (403, 403), (429, 503), (500, 503)])
async def test_no_upstream_status_is_handed_on_that_would_mislead_a_client(
    tmp_path: Path, autojump_clock: trio.abc.Clock, theirs: int, ours: int
) -> None:
    async with face(tmp_path, lambda url, headers: Answer(status=theirs)) as node:
        assert (await node.ask("/simple/demo/"))[0] == ours


async def test_garbage_is_502_and_never_an_empty_page(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    async with face(
        tmp_path, lambda url, headers: Answer(b"\x00garbage", headers={"content-type": "text/html"})
    ) as node:
        assert (await node.ask("/simple/demo/"))[0] == 502


@pytest.mark.parametrize("path", ["/", "/health", "/metrics"])
async def test_what_a_person_or_a_monitor_asks_is_answered(
    tmp_path: Path, autojump_clock: trio.abc.Clock, path: str
) -> None:
    async with face(tmp_path) as node:
        assert (await node.ask(path))[0] == 200


@pytest.mark.parametrize(
    "path", ["/nothing", "/simple/../etc/passwd", "/simple/%2e%2e/", "/packages/", "/packages/x", "/t/"]
)
async def test_what_is_nowhere_is_a_problem_and_opens_no_file(
    tmp_path: Path, autojump_clock: trio.abc.Clock, path: str
) -> None:
    async with face(tmp_path) as node:
        status, headers, _ = await node.ask(path)
        assert (status, headers["content-type"]) == (404, "application/problem+json")


async def test_the_list_of_projects_and_the_json_api_are_passed_on_and_not_kept(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    def script(url: str, headers: Mapping[str, str]) -> Answer:
        if url.endswith("/demo/"):
            return upstream(url, headers)
        return Answer(f"passed on from {url}".encode(), headers={"content-type": "application/json"})

    async with face(tmp_path, script) as node:
        assert (await node.ask("/simple/"))[2] == f"passed on from {INDEX.url}".encode()
        assert (await node.ask("/pypi/demo/json"))[2] == b"passed on from https://index.example/pypi/demo/json"
        assert (await node.ask("/pypi/demo/1.0/json"))[2].endswith(b"/pypi/demo/1.0/json")


# -- files ------------------------------------------------------------------------------------------------------------


async def test_a_file_arrives_whole_with_its_length_before_it_is_here(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with face(tmp_path) as node:
        status, headers, body = await node.ask(PATH)
        assert (status, body) == (200, WHEEL)
        assert "immutable" in headers["cache-control"]
        await trio.sleep(1)
        status, headers, body = await node.ask(PATH)
        assert (status, body) == (200, WHEEL)
        assert headers["cache-status"] == "p2pcdn; hit"
        assert node.counters.upstream_file_requests == 1


@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.parametrize(
    ("wished", "start", "end"),
    [("bytes=0-99", 0, 100), ("bytes=600000-", 600_000, 700_000), ("bytes=-100", 699_900, 700_000)],
)
async def test_ranges_are_served_from_whole_and_from_growing_files(
    tmp_path: Path, autojump_clock: trio.abc.Clock, warm: bool, wished: str, start: int, end: int
) -> None:
    async with face(tmp_path) as node:
        if warm:
            await node.ask(PATH)
            await trio.sleep(1)
        status, headers, body = await node.ask(PATH, range=wished)
        assert (status, body) == (206, WHEEL[start:end])
        assert headers["content-range"] == f"bytes {start}-{end - 1}/{len(WHEEL)}"
        assert (await node.ask(PATH, range="bytes=700000-"))[0] == 416


async def test_a_client_that_was_cut_off_goes_on_and_one_whose_attempt_was_wrong_starts_over(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with face(tmp_path) as node:
        _, headers, _ = await node.ask(PATH)
        await trio.sleep(1)
        status, _, body = await node.ask(PATH, range="bytes=1000-", if_range=headers["etag"])
        assert (status, body) == (206, WHEEL[1000:])
        status, _, body = await node.ask(PATH, range="bytes=1000-", if_range='"of-another-attempt"')
        assert (status, body) == (200, WHEEL)


async def test_a_mismatch_breaks_the_answer_off_and_changes_the_etag(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    wrong = WHEEL[:-1] + bytes([WHEEL[-1] ^ 1])

    def lying(url: str, headers: Mapping[str, str]) -> Answer:
        return Answer(wrong, pause_s=0.01) if url.endswith(NAME) else upstream(url, headers)

    async with face(tmp_path, lying) as node:
        answer = node.face(Request("GET", PATH.encode(), PATH, "", {}))
        assert isawaitable(answer)
        response = await answer
        etag = headers_of(response)["etag"]
        with pytest.raises(DigestMismatch):
            await body_of(response)
        node.script = upstream
        status, headers, body = await node.ask(PATH, range="bytes=1000-", if_range=etag)
        assert (status, body) == (200, WHEEL)
        assert headers["etag"] != etag


async def test_where_nothing_can_be_kept_files_pass_through_checked(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    full = replace(LIMITS, reserve_bytes=1 << 60)
    async with face(tmp_path, limits=full) as node:
        status, headers, body = await node.ask(PATH)
        assert (status, body) == (200, WHEEL)
        assert "store-stopped" in headers["cache-status"]
        node.script = lambda url, headers: Answer(WHEEL[::-1]) if url.endswith(NAME) else upstream(url, headers)
        with pytest.raises(DigestMismatch):
            await node.ask(PATH)


# -- several indexes --------------------------------------------------------------------------------------------------

PRIVATE = replace(INDEX, private=True, share="never")


async def test_an_index_with_credentials_is_served_behind_the_token_only(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with face(tmp_path, indexes=(PRIVATE, SECOND)) as node:
        for _ in range(2):
            status, _, body = await node.ask("/simple/demo/")
            assert status == 403
            assert "credentials" in json.loads(body)["detail"]
            assert (await node.ask(PATH))[0] == 403
        status, headers, body = await node.ask(f"/t/{TOKEN}/simple/demo/", accept=JSON_TYPE)
        assert status == 200
        assert "private" in headers["cache-control"]
        link = json.loads(body)["files"][0]["url"]
        assert link == f"/t/{TOKEN}{PATH}"
        assert (await node.ask(link))[2] == WHEEL
        assert (await node.ask(f"/t/{TOKEN[:-1]}x/simple/demo/"))[0] == 404
        counted = (await node.ask("/metrics"))[2].decode()
        assert f'index="{PRIVATE.key}"' in counted
        assert PRIVATE.url not in counted


async def test_the_same_name_at_a_later_index_is_no_way_around_a_private_owner(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with face(tmp_path, indexes=(PRIVATE, SECOND)) as node:
        status, _, _ = await node.ask("/simple/demo/")
        assert status == 403
        assert all(not url.startswith(SECOND.url) for url, _ in node.upstream.asked)


async def test_a_look_at_a_file_starts_no_download(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    async with face(tmp_path) as node:
        answer = node.face(Request("HEAD", PATH.encode(), PATH, "", {}))
        assert isawaitable(answer)
        response = await answer
        assert (response.status, response.size_bytes) == (200, len(WHEEL))
        assert node.counters.upstream_file_requests == 0


async def test_no_log_line_can_show_the_secret_of_the_private_prefix(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with face(tmp_path, indexes=(PRIVATE,)) as node:
        path = f"/t/{TOKEN}{PATH}"
        request = Request("GET", path.encode(), path, "", {})
        answer = node.face(request)
        assert isawaitable(answer)
        assert (await answer).status == 200
        assert request.path == PATH


async def test_cache_status_tells_an_answer_from_memory_from_one_that_was_asked_for(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with face(tmp_path) as node:
        assert (await node.ask("/simple/demo/"))[1]["cache-status"].startswith("p2pcdn; fwd=miss")
        assert (await node.ask("/simple/demo/"))[1]["cache-status"].startswith("p2pcdn; hit")
        assert (node.counters.page_misses, node.counters.page_hits) == (1, 1)
