"""An upstream that lies, cuts, hangs, refuses or is away: what the client gets, and that nothing wrong is kept."""

from __future__ import annotations

import contextlib
import http.client
import json

import pytest

from tests.bench.clients import Tool, Workplace
from tests.bench.node import RunningNode
from tests.bench.patience import until
from tests.bench.upstream import (
    Cut,
    Endless,
    Fault,
    FaultyUpstream,
    Garbage,
    GzipBomb,
    Hang,
    Redirect,
    ShortBody,
    Status,
    Style,
    WrongBytes,
)
from tests.end_to_end.conftest import StartNode, StartUpstream
from tests.end_to_end.files import BASE, BIG, TOP

# What a node needs beside what it holds; a page of 1 GB or a bomb of 2 GB in memory would go far beyond.
RESIDENT_BYTES_MAX = 400_000_000
STALE_AT_ONCE = Style(cache_control="max-age=0")
# pip gives up after 15 s of silence; what a node answers by itself has to come before.
CLIENT_PATIENCE_S = 15.0


@pytest.mark.parametrize("lie", [WrongBytes(), ShortBody(1000)], ids=["a byte turned over", "too short"])
@pytest.mark.parametrize("wheel", [TOP, BIG], ids=["small", "big"])
def test_a_lie_reaches_no_client_and_no_store_and_the_truth_later_does(
    node: RunningNode, upstream: FaultyUpstream, lie: Fault, wheel: object
) -> None:
    assert wheel in (TOP, BIG)
    project, filename, content = (
        ("demo-top", TOP.filename, TOP.content) if wheel is TOP else ("demo-big", BIG.filename, BIG.content)
    )
    path = node.path_of(project, filename)
    upstream.fault("*.whl", lie)
    lied = node.get(path)
    assert lied.status >= 500 or not lied.whole, lied
    assert len(lied.body) < len(content)
    status = node.status()
    assert status["store"]["blobs"] == 0
    if isinstance(lie, WrongBytes):
        log = until(lambda: node.log() if "expected" in node.log() else "", "a line of the log with both hashes")
        assert filename in log
    upstream.heal()
    right = node.get(path)
    assert (right.status, right.whole) == (200, True)
    assert right.body == content


def test_pip_fails_on_a_lying_upstream_and_installs_once_it_is_honest(
    pip: Tool, node: RunningNode, upstream: FaultyUpstream, place: Workplace
) -> None:
    upstream.fault("*demo_base*.whl", WrongBytes())
    done = place.pip(pip, node.index_url, "--retries", "1", "demo-base")
    assert done.returncode != 0
    assert place.installed() == {}
    upstream.heal()
    done = place.pip(pip, node.index_url, "demo-base")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_cut_upstream_is_gone_on_with_by_range(node: RunningNode, upstream: FaultyUpstream) -> None:
    path = node.path_of("demo-big", BIG.filename)
    upstream.fault("*.whl", Cut(at_bytes=3_000_000), times=1)
    upstream.fault("*.whl", Cut(at_bytes=1_000_000, reset=True), times=1)
    answer = node.get(path)
    assert answer.whole
    assert answer.body == BIG.content
    gets = upstream.file_gets()
    assert len(gets) == 3
    assert all(one.range for one in gets[1:])
    assert sum(one.body_bytes for one in gets) <= len(BIG.content) + 3 * 1024 * 1024


def test_a_cut_upstream_without_ranges_is_begun_again(start_upstream: StartUpstream, start_node: StartNode) -> None:
    upstream = start_upstream(style=Style(ranges=False))
    node = start_node(upstream)
    path = node.path_of("demo-big", BIG.filename)
    upstream.fault("*.whl", Cut(at_bytes=3_000_000), times=1)
    answer = node.get(path)
    assert answer.whole
    assert answer.body == BIG.content


def test_pages_known_are_served_while_the_upstream_is_away_and_others_are_no_404(
    start_upstream: StartUpstream, start_node: StartNode
) -> None:
    upstream = start_upstream(style=STALE_AT_ONCE)
    node = start_node(upstream)
    fresh = node.page("demo-top")
    upstream.stop()
    assert [row["filename"] for row in node.page("demo-top")["files"]] == [row["filename"] for row in fresh["files"]]
    unknown = node.get("/simple/demo-base/")
    assert unknown.status == 503
    assert int(unknown.headers["retry-after"]) >= 1
    assert unknown.headers["content-type"].startswith("application/problem+json")
    assert json.loads(unknown.body)["detail"]
    node.restart()
    assert node.page("demo-top")["files"]
    upstream.start()
    assert until(lambda: node.get("/simple/demo-base/").status == 200, "the upstream is asked again")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Status(404), {404}),
        (Status(410), {404, 410}),
        (Status(401), {403}),
        (Status(403), {403}),
        (Status(429, retry_after_s=7), {503}),
        (Status(500), {502, 503}),
        (Status(502), {502, 503}),
        (Status(503, retry_after_s=7), {503}),
        (Garbage(content=b"\x00\xff\x13 no page", content_type="application/vnd.pypi.simple.v1+json"), {502, 503}),
        (Garbage(content=b"%PDF-1.4", content_type="application/pdf"), {502, 503}),
        (Endless(content_type="text/html"), {403, 502, 503}),
        (Endless(claimed_bytes=1_000_000_000, content_type="text/html"), {403, 502, 503}),
        (GzipBomb(), {403, 502, 503}),
        (Redirect("file:///etc/hostname"), {403, 502, 503}),
        (Redirect("http://169.254.169.254/latest{path}"), {403, 502, 503}),
        (Redirect("{path}"), {403, 502, 503}),
    ],
    ids=lambda value: "" if isinstance(value, set) else str(value)[:60],
)
def test_a_page_that_goes_wrong_becomes_the_right_status(
    node: RunningNode, upstream: FaultyUpstream, fault: Fault, expected: set[int]
) -> None:
    upstream.fault("/simple/demo-top/", fault)
    answer = node.get("/simple/demo-top/")
    assert answer.status in expected, answer
    assert answer.headers["content-type"].startswith("application/problem+json")
    if isinstance(fault, Status) and fault.retry_after_s:
        assert answer.headers["retry-after"] == "7"
    assert node.resident_bytes_max() < RESIDENT_BYTES_MAX
    assert node.get("/simple/demo-base/").status == 200


@pytest.mark.parametrize("fault", [Status(500), Hang(), Garbage(), Status(429)], ids=lambda fault: str(fault)[:30])
def test_a_page_that_goes_wrong_later_leaves_the_one_we_have(
    start_upstream: StartUpstream, start_node: StartNode, fault: Fault
) -> None:
    upstream = start_upstream(style=STALE_AT_ONCE)
    node = start_node(upstream)
    before = node.page("demo-top")
    upstream.fault("/simple/demo-top/", fault)
    after = node.get(
        "/simple/demo-top/", {"Accept": "application/vnd.pypi.simple.v1+json"}, timeout_s=CLIENT_PATIENCE_S
    )
    assert after.status == 200
    assert [row["filename"] for row in json.loads(after.body)["files"]] == [row["filename"] for row in before["files"]]


def test_a_file_without_end_is_cut_and_not_kept(node: RunningNode, upstream: FaultyUpstream) -> None:
    path = node.path_of("demo-big", BIG.filename)
    upstream.fault("*.whl", Endless())
    answer = node.get(path)
    assert answer.status >= 500 or not answer.whole
    assert len(answer.body) < len(BIG.content)
    assert node.status()["store"]["blobs"] == 0
    assert node.resident_bytes_max() < RESIDENT_BYTES_MAX


def test_a_redirect_within_the_upstream_is_followed(node: RunningNode, upstream: FaultyUpstream) -> None:
    path = node.path_of("demo-base", BASE.filename)
    upstream.fault("*.whl", Redirect("{path}?signed=1"), times=1)
    assert node.get(path).body == BASE.content


@pytest.mark.parametrize("target", ["file:///etc/hostname", "http://169.254.169.254/x"])
def test_a_file_is_not_fetched_from_where_a_redirect_must_not_lead(
    node: RunningNode, upstream: FaultyUpstream, target: str
) -> None:
    path = node.path_of("demo-base", BASE.filename)
    upstream.fault("*.whl", Redirect(target))
    assert node.get(path).status in (403, 502, 503)


def test_a_page_leads_to_no_inside_host_that_nobody_allowed(upstream: FaultyUpstream, start_node: StartNode) -> None:
    node = start_node(upstream.url)
    assert node.get(node.path_of("demo-base", BASE.filename)).status == 403
    assert upstream.seen(host="files") == []


def test_a_withdrawn_file_is_gone_from_the_page_and_from_its_url(
    start_upstream: StartUpstream, start_node: StartNode
) -> None:
    upstream = start_upstream(style=STALE_AT_ONCE)
    node = start_node(upstream)
    path = node.path_of("demo-base", BASE.filename)
    assert node.get(path).status == 200
    upstream.remove(BASE.filename)
    assert BASE.filename not in [row["filename"] for row in node.page("demo-base")["files"]]
    assert node.get(path).status == 404
    node.kill9()
    node.start()
    assert node.get(path).status == 404


def test_uv_prints_our_sentence_when_nobody_can_answer(
    uv: Tool, node: RunningNode, upstream: FaultyUpstream, place: Workplace
) -> None:
    upstream.stop()
    done = place.run(*place.uv_command(uv, node.index_url, "demo-top"), settings={"UV_HTTP_RETRIES": "0"})
    assert done.returncode != 0
    assert "503" in done.stderr


@pytest.mark.slow
def test_a_client_hears_something_before_its_patience_ends(node: RunningNode, upstream: FaultyUpstream) -> None:
    path = node.path_of("demo-big", BIG.filename)
    upstream.fault("*.whl", Hang())
    connection = http.client.HTTPConnection(*node.address, timeout=CLIENT_PATIENCE_S)
    with contextlib.closing(connection):
        connection.request("GET", path)
        assert connection.getresponse().status in (200, 503)
