"""One 200 MB wheel out of a node's store, against nginx with sendfile: python -m benchmarks.large_file"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.anchors import nginx_static
from benchmarks.compare import Figures, alternate, cpu_s, report
from benchmarks.load import fetch_into_nowhere
from tests.bench.node import RunningNode
from tests.bench.upstream import FaultyUpstream
from tests.bench.wheels import make_wheel


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--size-mb", type=int, default=200)
    chosen = options.parse_args()
    wheel = make_wheel("large-file", size_bytes=chosen.size_mb * 1_000_000)
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        with (
            FaultyUpstream([wheel]) as upstream,
            RunningNode(directory / "node", upstreams=[upstream]) as node,
            nginx_static(directory / "nginx", [wheel]) as nginx,
        ):
            node_path = node.path_of("large-file", wheel.filename)
            places = {
                "nginx sendfile": (nginx.address, upstream.file_path(wheel.filename), nginx.pid),
                "p2pcdn": (node.address, node_path, node.pid),
            }
            cpu: dict[str, list[float]] = {name: [] for name in places}

            def fetch(name: str) -> float:
                address, path, pid = places[name]
                before_s = cpu_s(pid)
                spent_s, size_bytes = fetch_into_nowhere(address, path)
                cpu[name].append((cpu_s(pid) - before_s) / (size_bytes / 1e9))
                return size_bytes / 1e6 / spent_s

            runs = {name: (lambda name=name: fetch(name)) for name in places}
            rates = alternate(runs, chosen.rounds)
            report(f"one file of {chosen.size_mb} MB", "MB/s", rates, "nginx sendfile", "at least x1")
            report(
                "the server's CPU",
                "s/GB",
                {name: Figures(tuple(own[1:])) for name, own in cpu.items()},
                "nginx sendfile",
            )


if __name__ == "__main__":
    main()
