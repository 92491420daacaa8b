"""Resident memory of a node, idle and after load of several kinds: python -m benchmarks.memory"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.anchors import ACCEPT_JSON, nginx_static
from benchmarks.compare import resident_bytes
from benchmarks.load import fetch_into_nowhere, requests_per_s
from tests.bench.node import RunningNode
from tests.bench.upstream import FaultyUpstream, Slow
from tests.bench.wheels import make_wheel

IDLE_GOAL_MB = 60
# A node that has just started still frees what starting needed.
SETTLE_TIME_S = 2.0
FILES = [make_wheel(f"project-{number}", f"1.{minor}") for number in range(200) for minor in range(10)]
LARGE = make_wheel("large-file", size_bytes=100_000_000)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--no-mdns", action="store_true", help="without looking for neighbours by multicast")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as ends:
        directory = Path(scratch)
        upstream = ends.enter_context(FaultyUpstream([*FILES, LARGE]))
        nginx = ends.enter_context(nginx_static(directory / "nginx", FILES[:10]))
        anchor_mb = resident_bytes(nginx.pid) / 1e6
        print(f"{'nginx, idle':<44} {anchor_mb:7.1f} MB")
        settings = {"mdns": not chosen.no_mdns}
        node = ends.enter_context(RunningNode(directory / "node", upstreams=[upstream], **settings))
        time.sleep(SETTLE_TIME_S)
        _say(node, anchor_mb, f"idle (goal: under {IDLE_GOAL_MB} MB)")
        requests_per_s(node.address, "/simple/project-0/", ACCEPT_JSON, connections=32, time_s=3)
        _say(node, anchor_mb, "after 3 s of one page on 32 connections")
        for project in range(200):
            assert node.get(f"/simple/project-{project}/", ACCEPT_JSON).status == 200
        _say(node, anchor_mb, "after 200 projects of 10 files")
        upstream.fault("*.whl", Slow(bytes_per_s=40_000_000))
        path = node.path_of("large-file", LARGE.filename)
        with ThreadPoolExecutor(20) as crowd:
            list(crowd.map(lambda _: fetch_into_nowhere(node.address, path), range(20)))
        _say(node, anchor_mb, "after 20 clients followed 100 MB as it came")
        print(f"{'the most it ever had':<44} {node.resident_bytes_max() / 1e6:7.1f} MB")


def _say(node: RunningNode, anchor_mb: float, when: str) -> None:
    own_mb = node.resident_bytes() / 1e6
    print(f"{'p2pcdn, ' + when:<44} {own_mb:7.1f} MB   x{own_mb / anchor_mb:.1f} of nginx", flush=True)


if __name__ == "__main__":
    main()
