"""A node's life as a process: killed, restarted, told to go, started twice, badly configured."""

from __future__ import annotations

import http.client
import json
import random
import socket
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.bench.clients import Tool
from tests.bench.node import COMMAND, Answer, RunningNode
from tests.bench.patience import until
from tests.bench.upstream import FaultyUpstream, Slow
from tests.bench.wheels import Distribution, make_wheel
from tests.end_to_end.conftest import StartNode, StartUpstream
from tests.end_to_end.files import BIG, INSTALLED
from tests.end_to_end.test_installers import NewPlace

STOP_TIME_S_MAX = 5.0


def test_a_node_killed_in_the_middle_of_a_download_goes_on_with_it(node: RunningNode, upstream: FaultyUpstream) -> None:
    path = node.path_of("demo-big", BIG.filename)
    upstream.fault("*.whl", Slow(bytes_per_s=3_000_000))
    answers: list[Answer] = []
    client = threading.Thread(target=lambda: answers.append(node.get(path)))
    client.start()
    until(lambda: node.status()["bytes"]["from_upstream"] > 5_000_000, "five megabytes came")
    node.kill9()
    client.join()
    assert not answers[0].whole
    upstream.heal()
    upstream.forget()
    node.start()
    assert node.status()["store"]["blobs"] == 0
    answer = node.get(path)
    assert answer.whole
    assert answer.body == BIG.content
    gets = upstream.file_gets()
    assert len(gets) == 1
    assert gets[0].range, "it goes on by Range"
    assert gets[0].body_bytes < len(BIG.content) - 2_000_000


def test_what_was_kept_is_there_after_kill_9(
    pip_new: Tool, node: RunningNode, upstream: FaultyUpstream, new_place: NewPlace
) -> None:
    assert new_place().pip(pip_new, node.index_url, "demo-top").returncode == 0
    before = node.status()["store"]
    node.kill9()
    upstream.stop()
    node.start()
    after = node.status()["store"]
    assert after["blobs"] >= before["blobs"]
    place = new_place()
    done = place.pip(pip_new, node.index_url, "demo-top")
    assert done.returncode == 0, done.stdout + done.stderr
    assert place.installed() == INSTALLED


@pytest.mark.slow
def test_a_storm_of_kills_leaves_no_wrong_byte_and_nothing_half(
    start_upstream: StartUpstream, start_node: StartNode
) -> None:
    """Twelve SIGKILLs at the moments of one seed, under eight readers; then every file is right, the upstream gone."""
    dice = random.Random(20261120)
    files = [make_wheel(f"storm-{number}", size_bytes=dice.choice([500, 90_000, 3_000_000])) for number in range(24)]
    upstream = start_upstream(files)
    node = start_node(upstream)
    paths = {one.filename: node.path_of(one.project, one.filename) for one in files}
    wrong: list[str] = []
    over = threading.Event()
    upstream.fault("*.whl", Slow(bytes_per_s=4_000_000))
    readers = [threading.Thread(target=_read_on, args=(node, paths, files, seed, wrong, over)) for seed in range(8)]
    for reader in readers:
        reader.start()
    for _ in range(12):
        over.wait(dice.uniform(0.05, 0.5))
        node.kill9()
        node.start()
    over.set()
    for reader in readers:
        reader.join()
    assert not wrong
    upstream.heal()
    for one in files:
        assert node.get(paths[one.filename]).body == one.content
    assert '"rotten": []' in node.control("POST", "/v1/verify")[1].decode().splitlines()[-1]
    upstream.stop()
    assert all(node.get(paths[one.filename]).body == one.content for one in files)


def test_a_rotten_blob_is_found_dropped_and_fetched_again(node: RunningNode) -> None:
    path = node.path_of("demo-big", BIG.filename)
    assert node.get(path).body == BIG.content
    blob = max((one for one in node.store.rglob("*") if one.is_file()), key=lambda one: one.stat().st_size)
    with blob.open("r+b") as file:
        file.seek(4_000_000)
        file.write(b"rot")
    done = node.run("verify")
    assert BIG.filename in done.stdout + done.stderr
    assert not blob.exists()
    assert node.get(path).body == BIG.content


def test_sigterm_ends_an_idle_node_with_0(node: RunningNode) -> None:
    assert node.stop() < STOP_TIME_S_MAX
    assert node.exit_code == 0


def test_sigterm_ends_a_busy_node_with_0_and_its_download_is_gone_on_with(
    node: RunningNode, upstream: FaultyUpstream
) -> None:
    path = node.path_of("demo-big", BIG.filename)
    upstream.fault("*.whl", Slow(bytes_per_s=500_000))
    client = threading.Thread(target=lambda: node.get(path))
    client.start()
    until(lambda: node.status()["bytes"]["from_upstream"] > 1_500_000, "a first part came")
    assert node.stop() < STOP_TIME_S_MAX
    assert node.exit_code == 0
    client.join()
    upstream.heal()
    node.start()
    assert node.get(path).body == BIG.content


def test_sigterm_does_not_wait_for_a_client_that_keeps_its_connection(node: RunningNode) -> None:
    connection = http.client.HTTPConnection(*node.address, timeout=30)
    connection.request("GET", "/simple/demo-top/")
    assert connection.getresponse().read()
    assert node.stop() < STOP_TIME_S_MAX
    assert node.exit_code == 0
    connection.close()


def test_the_second_daemon_of_a_store_says_who_holds_it(node: RunningNode, upstream: FaultyUpstream) -> None:
    done = _serve(node, "--store", str(node.store), "--upstream", upstream.url)
    assert done.returncode == 2
    assert str(node.pid) in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_port_in_use_is_one_sentence_and_2(node: RunningNode, upstream: FaultyUpstream, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = _serve(node, "--store", str(tmp_path / "other"), "--upstream", upstream.url, "--port", port)
    assert done.returncode == 2
    assert port in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_upstream_that_is_no_url_is_one_sentence_and_2(node: RunningNode, tmp_path: Path) -> None:
    done = _serve(node, "--store", str(tmp_path / "other"), "--upstream", "not a url")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_store_that_is_a_file_is_one_sentence_and_2(
    node: RunningNode, upstream: FaultyUpstream, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    done = _serve(node, "--store", str(tmp_path / "file"), "--upstream", upstream.url)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "key",
    [
        "version",
        "node_id",
        "uptime_s",
        "index_url",
        "peer_address",
        "peers",
        "store",
        "bytes",
        "requests",
        "upstream_file_requests",
        "refused_pieces",
        "health",
    ],
)
def test_status_names_what_others_rely_on(node: RunningNode, key: str) -> None:
    assert key in node.status()


def test_the_status_command_says_it_in_json_and_in_few_lines(start_node: StartNode, upstream: FaultyUpstream) -> None:

    node = start_node(upstream)
    done = node.run("status", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["index_url"] == node.index_url
    done = node.run("status")
    assert done.returncode == 0, done.stderr
    assert 1 <= len(done.stdout.strip().splitlines()) <= 8
    node.stop()
    assert node.run("status").returncode != 0


def _read_on(
    node: RunningNode,
    paths: dict[str, str],
    files: Sequence[Distribution],
    seed: int,
    wrong: list[str],
    over: threading.Event,
) -> None:
    """One reader of the storm: a whole answer with other bytes than the file's is what must not be."""
    dice = random.Random(seed)
    while not over.is_set():
        one = dice.choice(files)
        try:
            answer = node.get(paths[one.filename])
        except (OSError, http.client.HTTPException):
            over.wait(0.02)
            continue
        if answer.status == 200 and answer.whole and answer.body != one.content:
            wrong.append(one.filename)


def _serve(node: RunningNode, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`p2pcdn serve` to its end, which must come at once; free ports unless told otherwise, no mDNS."""
    usual = ["--port", "0", "--peer-port", "0", "--no-mdns", "--control-socket", f"{node.control_socket}2"]
    return subprocess.run(
        [*COMMAND, "serve", *usual, *arguments],
        capture_output=True,
        text=True,
        env=node.variables(),
        timeout=30,
        check=False,
    )
