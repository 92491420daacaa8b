"""Small project pages on 1 and 32 connections, against nginx, devpi-server and proxpi: python -m benchmarks.pages"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.anchors import ACCEPT_JSON, NotHere, devpi, nginx_static, proxpi
from benchmarks.compare import alternate, report
from benchmarks.load import requests_per_s, warn_without_wrk
from tests.bench.node import RunningNode, get
from tests.bench.upstream import FaultyUpstream
from tests.bench.wheels import make_wheel

# Twelve releases make a page of about 5 KB, what a middling project has.
FILES = [make_wheel("small-page", f"1.{minor}") for minor in range(12)]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--time-s", type=int, default=2)
    options.add_argument("--without-rivals", action="store_true", help="only nginx and the node")
    chosen = options.parse_args()
    warn_without_wrk()
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as ends:
        directory = Path(scratch)
        upstream = ends.enter_context(FaultyUpstream(FILES))
        node = ends.enter_context(RunningNode(directory / "node", upstreams=[upstream]))
        nginx = ends.enter_context(nginx_static(directory / "nginx", FILES))
        pages = {"nginx": (nginx.address, "/simple/small-page/"), "p2pcdn": (node.address, "/simple/small-page/")}
        for name, start in (("devpi-server", devpi), ("proxpi", proxpi)):
            if chosen.without_rivals:
                break
            try:
                rival = ends.enter_context(start(directory / name, upstream))
            except NotHere as why:
                print(f"without {name}: {why}")
                continue
            pages[name] = (rival.address, f"/{rival.url.split('/', 3)[3]}small-page/")
        for name, (address, path) in pages.items():
            answer = get(address, path, ACCEPT_JSON)
            print(f"{name}: {answer.status}, {len(answer.body)} bytes, {answer.headers.get('content-type')}")
        for connections in (1, 32):
            runs = {
                name: partial(requests_per_s, address, path, ACCEPT_JSON, connections, chosen.time_s)
                for name, (address, path) in pages.items()
            }
            goal = "at least x0.4 of nginx and x15 of devpi-server" if connections == 32 else ""
            figures = alternate(runs, chosen.rounds)
            report(f"a page, {connections} connections", "requests/s", figures, "nginx", goal)
            if "devpi-server" in figures:
                ratio = figures["p2pcdn"].median / figures["devpi-server"].median
                print(f"  p2pcdn is x{ratio:.1f} of devpi-server")


if __name__ == "__main__":
    main()
