"""Fifty clients ask for one cold file at once: the upstream is asked once, and nobody waits for the last byte."""

from __future__ import annotations

import http.client
import json
from concurrent.futures import ThreadPoolExecutor

from tests.bench.clients import Tool
from tests.bench.node import RunningNode
from tests.bench.upstream import FaultyUpstream, Slow, WrongBytes
from tests.end_to_end.files import BIG
from tests.end_to_end.test_installers import NewPlace

CLIENTS = 50


def test_fifty_clients_of_one_cold_file_cost_one_upstream_get(node: RunningNode, upstream: FaultyUpstream) -> None:
    path = node.path_of("demo-big", BIG.filename)
    upstream.fault("*.whl", Slow(bytes_per_s=6_000_000))
    with ThreadPoolExecutor(CLIENTS) as crowd:
        answers = list(crowd.map(lambda _: node.get(path), range(CLIENTS)))
    assert all(answer.whole and answer.body == BIG.content for answer in answers)
    assert all(answer.headers["content-length"] == str(len(BIG.content)) for answer in answers)
    assert len(upstream.file_gets()) == 1
    total_s = len(BIG.content) / 6_000_000
    assert sorted(answer.first_byte_s for answer in answers)[CLIENTS // 2] < total_s * 0.8


def test_fifty_clients_of_one_cold_page_cost_one_upstream_get(node: RunningNode, upstream: FaultyUpstream) -> None:
    with ThreadPoolExecutor(CLIENTS) as crowd:
        answers = list(crowd.map(lambda _: node.get("/simple/demo-top/"), range(CLIENTS)))
    assert {answer.status for answer in answers} == {200}
    assert len(upstream.seen("/simple/demo-top/")) == 1


def test_a_crowd_that_asks_for_parts_gets_the_right_parts(node: RunningNode, upstream: FaultyUpstream) -> None:
    path = node.path_of("demo-big", BIG.filename)
    upstream.fault("*.whl", Slow(bytes_per_s=8_000_000))
    size = len(BIG.content)
    wanted = [(start, min(start + 700_000, size)) for start in range(0, size, 600_000)]
    with ThreadPoolExecutor(len(wanted)) as crowd:
        ranges = [{"Range": f"bytes={start}-{end - 1}"} for start, end in wanted]
        answers = list(crowd.map(lambda headers: node.get(path, headers), ranges))
    for answer, (start, end) in zip(answers, wanted, strict=True):
        assert (answer.status, answer.whole) == (206, True)
        assert answer.body == BIG.content[start:end]
    assert len(upstream.file_gets()) == 1


def test_one_who_leaves_stops_nobody(node: RunningNode, upstream: FaultyUpstream) -> None:
    path = node.path_of("demo-big", BIG.filename)
    upstream.fault("*.whl", Slow(bytes_per_s=4_000_000))
    with ThreadPoolExecutor(2) as crowd:
        impatient = crowd.submit(_first_bytes, node, path)
        patient = crowd.submit(node.get, path)
        assert impatient.result() == BIG.content[:1000]
        assert patient.result().body == BIG.content
    assert len(upstream.file_gets()) == 1


def test_the_whole_crowd_is_told_when_the_file_cannot_be_had(node: RunningNode, upstream: FaultyUpstream) -> None:
    path = node.path_of("demo-big", BIG.filename)
    upstream.fault("*.whl", WrongBytes())
    with ThreadPoolExecutor(10) as crowd:
        answers = list(crowd.map(lambda _: node.get(path), range(10)))
    assert not any(answer.status == 200 and answer.whole for answer in answers)
    upstream.heal()
    assert node.get(path).body == BIG.content


def test_six_pips_at_once_all_install(
    pip_new: Tool, node: RunningNode, upstream: FaultyUpstream, new_place: NewPlace
) -> None:
    places = [new_place() for _ in range(6)]
    running = [place.start(*place.pip_command(pip_new, node.index_url, "demo-top", "demo-big")) for place in places]
    said = [one.communicate(timeout=120)[0] for one in running]
    assert [one.returncode for one in running] == [0] * len(places), said
    paths = [one.path for one in upstream.file_gets()]
    assert len(paths) == len(set(paths)), json.dumps(paths)


def _first_bytes(node: RunningNode, path: str) -> bytes:
    connection = http.client.HTTPConnection(*node.address, timeout=30)
    connection.request("GET", path)
    try:
        return connection.getresponse().read(1000)
    finally:
        connection.close()
