"""Two nodes: the second takes every file from the first, and a neighbour that dies costs nobody an install."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from tests.bench.clients import Tool
from tests.bench.node import Answer, RunningNode
from tests.bench.patience import until
from tests.bench.upstream import FaultyUpstream, Hang
from tests.bench.wheels import RealWheels
from tests.bench.wire import Wire
from tests.end_to_end.conftest import StartNode, StartUpstream
from tests.end_to_end.files import BIG, INSTALLED
from tests.end_to_end.test_installers import NewPlace
from tests.end_to_end.test_zephyr import Project

# Public files of a loopback upstream belong to the group by default; these nodes share them with the whole room.
SHARING = ("--share", "lan")


def test_the_second_node_takes_every_file_from_the_first(
    uv: Tool, real: RealWheels, start_upstream: StartUpstream, start_node: StartNode, new_place: NewPlace
) -> None:
    upstream = start_upstream(real.files)
    first = start_node(upstream, arguments=SHARING)
    assert new_place().uv(uv, first.index_url, *real.top).returncode == 0
    upstream.forget()
    second = start_node(upstream, peers=[first.peer_address], arguments=SHARING)
    wait_for_neighbour(second)
    place = new_place()
    done = place.uv(uv, second.index_url, *real.top)
    assert done.returncode == 0, done.stderr
    assert len(place.installed()) == len(real.files)
    assert upstream.seen(host="files") == []
    counted = second.status()["bytes"]
    assert counted["from_peers"] >= sum(len(one.content) for one in real.files)
    assert second.status()["upstream_file_requests"] == 0


def test_the_history_of_an_environment_says_which_neighbour_gave_the_bytes(
    upstream: FaultyUpstream, start_node: StartNode, tmp_path: Path
) -> None:
    first = start_node(upstream, arguments=SHARING)
    assert first.get(first.path_of("demo-big", BIG.filename)).body == BIG.content
    second = start_node(upstream, peers=[first.peer_address], arguments=SHARING)
    wait_for_neighbour(second)
    project = Project(tmp_path / "project", second)
    project.write(["demo-big"])
    project.zephyr("sync")
    entry = json.loads(project.zephyr("history", "--json"))[-1]
    (came,) = [one["from"] for one in entry["added"] if one["file"] == BIG.filename]
    assert came.startswith(f"fetched from peer {first.peer_address}")
    project.zephyr("sync", "--venv", "other")
    assert f"store, once from peer {first.peer_address}" in project.zephyr("history", "-v", "--venv", "other")


def test_pip_on_the_second_machine_installs_what_only_the_first_can_give(
    pip: Tool, upstream: FaultyUpstream, start_node: StartNode, new_place: NewPlace
) -> None:
    first = start_node(upstream, arguments=SHARING)
    assert new_place().pip(pip, first.index_url, "demo-top").returncode == 0
    upstream.fault("*", Hang(), host="files")
    second = start_node(upstream, peers=[first.peer_address], arguments=SHARING)
    wait_for_neighbour(second)
    place = new_place()
    done = place.pip(pip, second.index_url, "demo-top")
    assert done.returncode == 0, done.stdout + done.stderr
    assert place.installed() == INSTALLED


def test_a_neighbour_that_is_killed_in_the_middle_costs_nobody_the_file(
    upstream: FaultyUpstream, start_node: StartNode, wire: Wire
) -> None:
    first = start_node(upstream, arguments=SHARING)
    assert first.get(first.path_of("demo-big", BIG.filename)).body == BIG.content
    host, _, port = first.peer_address.rpartition(":")
    wire.lead_to((host, int(port)))
    wire.slow_down(bytes_per_s=2_000_000)
    upstream.forget()
    second = start_node(upstream, peers=[wire.host], arguments=SHARING)
    wait_for_neighbour(second)
    path = second.path_of("demo-big", BIG.filename)
    answers: list[Answer] = []
    client = threading.Thread(target=lambda: answers.append(second.get(path)))
    client.start()
    until(lambda: wire.carried_bytes > 2_000_000, "two megabytes came from the neighbour")
    first.kill9()
    wire.cut_now()
    client.join(timeout=60)
    assert answers[0].whole
    assert answers[0].body == BIG.content
    assert upstream.seen("*.whl", method="GET"), "the rest came from the upstream"


def test_a_neighbour_that_falls_silent_is_left_within_seconds(
    upstream: FaultyUpstream, start_node: StartNode, wire: Wire
) -> None:
    first = start_node(upstream, arguments=SHARING)
    assert first.get(first.path_of("demo-big", BIG.filename)).body == BIG.content
    host, _, port = first.peer_address.rpartition(":")
    wire.lead_to((host, int(port)))
    second = start_node(upstream, peers=[wire.host], arguments=SHARING)
    wait_for_neighbour(second)
    wire.slow_down(bytes_per_s=1_000)
    answer = second.get(second.path_of("demo-big", BIG.filename), timeout_s=15)
    assert answer.body == BIG.content


def test_a_neighbour_is_not_given_what_is_not_to_be_shared(upstream: FaultyUpstream, start_node: StartNode) -> None:
    first = start_node(upstream, arguments=["--share", "never"])
    assert first.get(first.path_of("demo-big", BIG.filename)).body == BIG.content
    upstream.forget()
    second = start_node(upstream, peers=[first.peer_address], arguments=SHARING)
    wait_for_neighbour(second)
    assert second.get(second.path_of("demo-big", BIG.filename)).body == BIG.content
    assert len(upstream.file_gets()) == 1
    assert second.status()["bytes"]["from_peers"] == 0


def test_a_peer_that_is_not_there_delays_nothing(upstream: FaultyUpstream, start_node: StartNode) -> None:
    node = start_node(upstream, peers=["127.0.0.1:9"])
    answer = node.get(node.path_of("demo-big", BIG.filename), timeout_s=15)
    assert answer.body == BIG.content
    assert answer.first_byte_s < 3.0


def wait_for_neighbour(node: RunningNode) -> None:
    """A configured peer is in the list at once; it counts when it has answered."""
    until(lambda: any(peer["last_seen_s"] is not None for peer in node.status()["peers"]), "a neighbour has answered")
