"""Twenty clients at once on one cold file, against nginx as a proxy that keeps: python -m benchmarks.herd"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.anchors import nginx_proxy
from benchmarks.compare import Figures, alternate, report
from tests.bench.node import Answer, RunningNode, get
from tests.bench.upstream import FaultyUpstream, Slow
from tests.bench.wheels import make_wheel


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--clients", type=int, default=20)
    options.add_argument("--size-mb", type=int, default=30)
    options.add_argument("--uplink-mb-s", type=int, default=20, help="the rate of one connection to the upstream")
    chosen = options.parse_args()
    size_bytes = chosen.size_mb * 1_000_000
    # Every run needs a file that nobody has seen yet: one a round and contestant, one of each to warm up.
    files = [make_wheel("herd", f"1.{number}", size_bytes=size_bytes) for number in range(2 * chosen.rounds + 2)]
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        with (
            FaultyUpstream(files) as upstream,
            RunningNode(directory / "node", upstreams=[upstream]) as node,
            nginx_proxy(directory / "nginx", upstream) as nginx,
        ):
            upstream.fault("*.whl", Slow(bytes_per_s=chosen.uplink_mb_s * 1_000_000))
            cold = itertools.count()
            seen: dict[str, list[tuple[float, float, int]]] = {"nginx proxy_cache": [], "p2pcdn": []}

            def run(name: str, address: tuple[str, int], path_of: Callable[[str], str]) -> float:
                filename = files[next(cold)].filename
                answers, spent_s = _crowd(address, path_of(filename), chosen.clients)
                assert all(answer.whole and len(answer.body) > size_bytes for answer in answers), answers[:3]
                first_s = sorted(answer.first_byte_s for answer in answers)
                seen[name].append((statistics.median(first_s), first_s[-1], len(upstream.file_gets(f"*/{filename}"))))
                return spent_s

            paths = {one.filename: node.path_of("herd", one.filename) for one in files}
            runs = {
                "nginx proxy_cache": lambda: run("nginx proxy_cache", nginx.address, upstream.file_path),
                "p2pcdn": lambda: run("p2pcdn", node.address, paths.__getitem__),
            }
            totals = alternate(runs, chosen.rounds)
            title = f"{chosen.clients} clients, one cold file of {chosen.size_mb} MB, uplink {chosen.uplink_mb_s} MB/s"
            report(f"{title}: all have it after", "s", totals, "nginx proxy_cache")
            for place, what in enumerate(
                ("first byte, the median client", "first byte, the last client", "upstream GETs")
            ):
                figures = {name: Figures(tuple(row[place] for row in rows[1:])) for name, rows in seen.items()}
                report(what, "s" if place < 2 else "", figures, "nginx proxy_cache", "1 a file" if place == 2 else "")
            print(f"\nalone on the uplink one client needs {size_bytes / chosen.uplink_mb_s / 1e6:.2f} s")


def _crowd(address: tuple[str, int], path: str, clients: int) -> tuple[list[Answer], float]:
    began_s = time.perf_counter()
    with ThreadPoolExecutor(clients) as crowd:
        answers = list(crowd.map(lambda _: get(address, path, timeout_s=120), range(clients)))
    return answers, time.perf_counter() - began_s


if __name__ == "__main__":
    main()
