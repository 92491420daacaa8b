"""A warm seed and the nodes of jobs: the seed's index is their upstream, and it is their neighbour (docs/deploy)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from p2pcdn.group import GroupKey
from tests.bench.clients import Tool
from tests.bench.node import COMMAND, Answer, RunningNode
from tests.bench.patience import until
from tests.bench.upstream import FaultyUpstream, Hang
from tests.end_to_end.conftest import StartNode
from tests.end_to_end.files import BIG, INSTALLED
from tests.end_to_end.test_installers import NewPlace
from tests.end_to_end.test_two_nodes import wait_for_neighbour

# A name of this machine that is none of loopback's usual ones, as a seed's is in a network.
SEED_HOST = "127.0.0.2"
SEED = ("--host", "all", "--allow-host", SEED_HOST)
# Files of an index on a private address are for the group: the recipes have its key, or say `lan`.
LAN = {"P2PCDN_SHARE": "lan"}
GROUP = {"P2PCDN_GROUP_KEY": GroupKey.from_seed(bytes(range(32))).line}
both_ways = pytest.mark.parametrize("shared", [LAN, GROUP], ids=["lan", "group"])

Variables = Mapping[str, str]


def index_of(seed: RunningNode) -> str:
    return f"http://{SEED_HOST}:{urlsplit(seed.index_url).port}/simple/"


def start_seed(start_node: StartNode, upstream: FaultyUpstream, shared: Variables = LAN) -> RunningNode:
    return start_node(upstream, arguments=SEED, environment=dict(shared))


def start_job(start_node: StartNode, seed: RunningNode, *peers: RunningNode, shared: Variables = LAN) -> RunningNode:
    addresses = [seed.peer_address, *(peer.peer_address for peer in peers)]
    job = start_node(index_of(seed), peers=addresses, environment=dict(shared))
    wait_for_neighbour(job)
    return job


@pytest.mark.slow
def test_jobs_behind_a_seed_install_and_the_upstream_is_asked_once(
    pip: Tool, upstream: FaultyUpstream, start_node: StartNode, new_place: NewPlace
) -> None:
    seed = start_seed(start_node, upstream)
    for _ in range(2):
        job = start_job(start_node, seed)
        place = new_place()
        done = place.pip(pip, job.index_url, "demo-top")
        assert done.returncode == 0, done.stdout + done.stderr + job.log() + seed.log()
        assert place.installed() == INSTALLED
    paths = [request.path for request in upstream.file_gets()]
    assert len(paths) == len(set(paths)), "each file once, although two jobs asked"
    assert seed.status()["health"] == "ok"


@both_ways
def test_a_cold_file_flows_through_the_chain_while_it_comes(
    upstream: FaultyUpstream, start_node: StartNode, shared: Variables
) -> None:
    seed = start_seed(start_node, upstream, shared)
    jobs = [start_job(start_node, seed, shared=shared) for _ in range(2)]
    answers: list[Answer] = []
    clients = [
        threading.Thread(target=lambda job=job: answers.append(job.get(job.path_of("demo-big", BIG.filename))))
        for job in jobs
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join(timeout=60)
    assert [answer.body == BIG.content for answer in answers] == [True, True]
    assert len(upstream.file_gets()) == 1


def test_a_seed_that_was_restarted_is_as_warm_as_it_was(upstream: FaultyUpstream, start_node: StartNode) -> None:
    seed = start_seed(start_node, upstream)
    first = start_job(start_node, seed)
    assert first.get(first.path_of("demo-big", BIG.filename)).body == BIG.content
    first.stop()
    seed.restart()
    upstream.fault("*", Hang(), host="files")
    second = start_job(start_node, seed)
    assert second.get(second.path_of("demo-big", BIG.filename), timeout_s=15).body == BIG.content
    # By pieces or through its index: it is the seed that gives.
    got = second.status()["bytes"]
    assert got["from_peers"] + got["from_upstream"] >= len(BIG.content)


def test_a_job_goes_on_with_its_neighbours_when_the_seed_dies(upstream: FaultyUpstream, start_node: StartNode) -> None:
    seed = start_seed(start_node, upstream)
    first = start_job(start_node, seed)
    second = start_job(start_node, seed, first)
    path = second.path_of("demo-big", BIG.filename)
    assert first.get(first.path_of("demo-big", BIG.filename)).body == BIG.content
    until(lambda: first.status()["store"]["blobs"] > 0, "the first job's node has kept it")
    seed.kill9()
    assert second.get(path, timeout_s=30).body == BIG.content
    assert len(upstream.file_gets()) == 1


@both_ways
def test_the_line_of_the_recipes_takes_a_warm_file_from_the_seed(
    upstream: FaultyUpstream, start_node: StartNode, tmp_path: Path, shared: Variables
) -> None:
    seed = start_seed(start_node, upstream, shared)
    assert seed.get(seed.path_of("demo-big", BIG.filename)).body == BIG.content
    upstream.forget()
    (tmp_path / "tmp").mkdir()
    variables = (
        seed.variables()
        | dict(shared)
        | {
            "P2PCDN_UPSTREAM": index_of(seed),
            "P2PCDN_PEER": seed.peer_address,
            "P2PCDN_PEER_HOST": "127.0.0.1",
            "TMPDIR": str(tmp_path / "tmp"),
            "PIP": f"{sys.executable} -m pip",
            "OURS": " ".join(f"'{word}'" for word in COMMAND),
        }
    )
    script = 'set -e; $PIP download --quiet --no-cache-dir --dest got demo-big; eval "$OURS status --json"'
    done = subprocess.run(
        [*COMMAND, "run", "--ephemeral", "--", "sh", "-c", script],
        env=variables,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "got" / BIG.filename).read_bytes() == BIG.content
    counted = json.loads(done.stdout)["bytes"]
    assert counted["from_peers"] + counted["from_upstream"] >= len(BIG.content)
    assert not upstream.seen("*.whl", method="GET"), "the seed is warm"
    assert list((tmp_path / "tmp" / f"p2pcdn-{os.geteuid()}").glob("job-*")) == []


def test_a_seed_is_not_reached_under_a_name_that_it_was_not_given(
    upstream: FaultyUpstream, start_node: StartNode
) -> None:
    seed = start_node(upstream, arguments=["--host", "all"])
    job = start_node(index_of(seed))
    answer = job.get("/simple/demo-top/")
    assert answer.status in (502, 503)
    assert "421" in job.log() or b"421" in answer.body, (answer, job.log())
