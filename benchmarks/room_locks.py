"""A resolution that a neighbour has, against solving it oneself: python -m benchmarks.room_locks

Two nodes of one group on this machine, both with all pages and metadata in their stores, the first with a solver that
runs already. Each round asks a question that neither was asked before (one more constraint, on a project that nobody
has): the first node solves it, then the second has it from the first. The time is that of the whole request on the
control socket; the CPU time, of all rounds by their number, is that of each node with its solver.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from packaging.markers import default_environment
from packaging.tags import sys_tags

from benchmarks.compare import Figures, report, tree_cpu_s
from benchmarks.resolve_once import SETS
from p2pcdn.group import GroupKey
from p2pcdn_daemon.clients.client_config import pypi
from tests.bench.node import RunningNode
from tests.bench.patience import until

KEY = {"P2PCDN_GROUP_KEY": GroupKey.from_seed(b"b" * 32).line}
GOAL = "at most 50 ms"
# boto3's first round asks an index without core metadata for some three thousand versions; see docs/performance.md.
ANSWER_TIME_S_MAX = 600.0
# For the lock of a whole matrix.
REQUIRES_PYTHON = ">=3.11"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--only", default="", help="only the sets whose name contains this")
    options.add_argument("--index", default="", help="the URL of an index, else PyPI's")
    chosen = options.parse_args()
    index = chosen.index or pypi().url
    with tempfile.TemporaryDirectory() as scratch:
        first_place, second_place = Path(scratch) / "first", Path(scratch) / "second"
        with (
            RunningNode(first_place, upstreams=[index], environment=KEY) as first,
            RunningNode(second_place, upstreams=[index], peers=[first.peer_address], environment=KEY) as second,
        ):
            until(lambda: (second.status()["room"] or {}).get("members") == 1, "the two know each other")
            for name, requirements in SETS.items():
                if chosen.only in name:
                    for path in ("/v1/resolve", "/v1/lock"):
                        _compare(f"{name}, {path}", Questions(path, requirements), first, second, chosen.rounds)


class Questions:
    """The same requirements, each time in a question of its own."""

    def __init__(self, path: str, requirements: Sequence[str]) -> None:
        self.path = path
        self._requirements = list(requirements)
        self._numbers = itertools.count()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            constraints = [f"nobody-has-{next(self._numbers)}<1"]
            question: dict[str, Any] = {"requirements": self._requirements, "constraints": constraints}
            if self.path == "/v1/lock":
                question["requires_python"] = REQUIRES_PYTHON
            markers = {name: str(value) for name, value in default_environment().items()}
            yield json.dumps({"question": question, "markers": markers, "tags": [*map(str, sys_tags())]}).encode()


def _compare(title: str, questions: Questions, first: RunningNode, second: RunningNode, rounds: int) -> None:
    nodes = {"solved": first, "of the room": second}
    took_ms: dict[str, list[float]] = {name: [] for name in nodes}
    before, taken = {}, 0
    for number, question in zip(range(rounds + 1), questions, strict=False):
        if number == 1:  # the round before fetched pages and metadata
            before = {name: tree_cpu_s(node.pid) for name, node in nodes.items()}
        for name, node in nodes.items():
            took_s, answer = _timed(node, questions.path, question)
            if number:
                took_ms[name].append(took_s * 1000)
                taken += answer["from_room"]
    figures = {name: Figures(tuple(each)) for name, each in took_ms.items()}
    cpu_ms = {name: Figures(((tree_cpu_s(node.pid) - before[name]) * 1000 / rounds,)) for name, node in nodes.items()}
    report(f"{title}: {taken} of {rounds} taken, {answer['packages']} packages", "ms", figures, "solved", GOAL)
    report(f"{title}, CPU of a round", "CPU ms", cpu_ms, "solved")


def _timed(node: RunningNode, path: str, question: bytes) -> tuple[float, dict[str, Any]]:
    began = time.perf_counter()
    status, body = node.control("POST", path, question, timeout_s=ANSWER_TIME_S_MAX)
    took_s = time.perf_counter() - began
    if status != 200:
        raise SystemExit(f"{path}: {status} {body.decode()}")
    return took_s, json.loads(body)


if __name__ == "__main__":
    main()
