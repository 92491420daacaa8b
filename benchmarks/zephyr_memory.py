"""Memory of a project's lock and sync, zephyr's and its node's: python -m benchmarks.zephyr_memory

A fresh node and a fresh project; `zephyr add` of what a typical project has, from the configured index. Of each process
is told what it has for itself (private: written, or not shared with anybody), its share of all (PSS: what several
have is divided among them), and RSS. The store's catalog is mapped: its pages are in all three, and are the kernel's to
take back. Goals: zephyr under 40 MB, zephyr and the node's growth together under 100 MB.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.compare import tree_cpu_s
from p2pcdn_daemon.clients.client_config import pypi
from tests.bench.node import RunningNode

ZEPHYR_GOAL_MB, TOGETHER_GOAL_MB = 40, 100
# A node that has just started still frees what starting needed.
SETTLE_TIME_S = 2.0


@dataclass(frozen=True)
class Memory:
    """Of one process, in MB (10**6 bytes)."""

    private: float
    pss: float
    rss: float

    @classmethod
    def of(cls, pid: int) -> Memory:
        rows = {}
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, _, size = line.partition(":")
            rows[name] = int(size.split()[0]) * 1024 / 1e6
        return cls(rows["Private_Dirty"] + rows["Private_Clean"], rows["Pss"], rows["Rss"])

    def __sub__(self, other: Memory) -> Memory:
        return Memory(self.private - other.private, self.pss - other.pss, self.rss - other.rss)

    def __str__(self) -> str:
        return f"private {self.private:6.1f} MB   PSS {self.pss:6.1f} MB   RSS {self.rss:6.1f} MB"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("requirements", nargs="*", default=["jupyter"])
    options.add_argument("--index", default="", help="the URL of an index, else PyPI's")
    chosen = options.parse_args()
    with (
        tempfile.TemporaryDirectory() as scratch,
        RunningNode(Path(scratch) / "node", upstreams=[chosen.index or pypi().url]) as node,
    ):
        _measure(node, Path(scratch) / "project", chosen.requirements)


def _measure(node: RunningNode, project: Path, requirements: Sequence[str]) -> None:
    time.sleep(SETTLE_TIME_S)
    before = Memory.of(node.pid)
    print(f"{'node, idle':<34} {before}")
    project.mkdir()
    peaks = [_zephyr(node, project, *words) for words in (("init",), ("add", *requirements))]
    zephyr_mb = max(peaks)
    after = Memory.of(node.pid)
    helpers = [(name, Memory.of(pid)) for name, pid in _helpers(node.pid)]
    print(f"{'node, after the sync':<34} {after}")
    print(f"{'  its growth':<34} {after - before}")
    for name, one in helpers:
        print(f"{name:<34} {one}")
    print(f"{'zephyr, at most':<34} RSS {zephyr_mb:6.1f} MB   (goal: under {ZEPHYR_GOAL_MB})")
    for kind in ("private", "pss", "rss"):
        growth = getattr(after - before, kind) + sum(getattr(one, kind) for _, one in helpers)
        print(f"together, {kind:<24} {zephyr_mb + growth:6.1f} MB   (goal: under {TOGETHER_GOAL_MB})")
    print(f"{'the most that the node had':<34} RSS {node.resident_bytes_max() / 1e6:6.1f} MB")
    wall_s, cpu_s = _lock_after_restart(node, project)
    print(f"{'a lock after a restart':<34} {wall_s:.2f} s, {cpu_s:.2f} CPU s of the node and its solver")


def _zephyr(node: RunningNode, project: Path, *words: str) -> float:
    """Runs it; its largest RSS in MB."""
    environment = node.variables() | {
        "P2PCDN_CONTROL_SOCKET": str(node.control_socket),
        "ZEPHYR_CACHE_DIR": str(project.parent / "cache"),
        "ZEPHYR_PYTHON": sys.executable,
    }
    command = [sys.executable, "-m", "p2pcdn_shim.zephyr", *words]
    process = subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"zephyr {' '.join(words)}: {os.waitstatus_to_exitcode(status)}")
    return used.ru_maxrss * 1024 / 1e6


def _helpers(pid: int) -> list[tuple[str, int]]:
    """The node's processes that idle for a while. Byte code is compiled meanwhile, too, by processes that end then."""
    children = [child for one in Path(f"/proc/{pid}/task").glob("*/children") for child in one.read_text().split()]
    words = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    kinds = {"solver": b"lock.worker", "unpacker": b"envs.unpacker"}
    return [(name, child) for name, word in kinds.items() for child, said in words.items() if word in said]


def _lock_after_restart(node: RunningNode, project: Path) -> tuple[float, float]:
    """Seconds, and CPU seconds, of a question that is new to a node which has just started on the same store."""
    node.restart()
    time.sleep(SETTLE_TIME_S)
    file = project / "pyproject.toml"
    file.write_text(f'{file.read_text()}\n[tool.zephyr]\nconstraints = ["nobody-has-this<1"]\n')
    began, before_s = time.perf_counter(), tree_cpu_s(node.pid)
    _zephyr(node, project, "lock")
    return time.perf_counter() - began, tree_cpu_s(node.pid) - before_s


if __name__ == "__main__":
    main()
