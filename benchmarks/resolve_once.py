"""Resolutions without a network, in a process of its own: python -m benchmarks.resolve_once SHELF

Each line that it reads is the name of a set, and it answers with a line of JSON. Its first answer is that of a fresh
process, the later ones are those of a worker that a node keeps.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.resolve_shelf import Shelf
from p2pcdn.resolve import Need, Resolver, Solution, Wanted

# trio's docs-requirements, a notebook, two that hold each other back, and the one with two thousand versions.
SETS: dict[str, tuple[str, ...]] = {
    "trio": (
        "sphinx>=4.0,<6.2",
        "jinja2",
        "sphinx-rtd-theme",
        "sphinxcontrib-jquery",
        "sphinxcontrib-trio",
        "towncrier",
        "attrs>=19.2.0",
        "sortedcontainers",
        "idna",
        "outcome",
        "sniffio",
        "exceptiongroup>=1.0.0rc9",
        "immutables>=0.6",
        "pyopenssl",
    ),
    "jupyter": ("jupyter",),
    "fastapi": ("starlette<=0.36.0", "fastapi<=0.115.2"),
    "boto3": ("boto3", "urllib3<1.25.4"),
}


def resolve(wanted: Wanted, shelf: Shelf, fetch: Callable[[Need], None] | None = None) -> tuple[Solution, int]:
    """The solution, and after how many steps. fetch: puts on the shelf what is needed; None where it is there."""
    resolver = Resolver(wanted, shelf.target)
    steps = 1
    while isinstance(answer := resolver.step(), Need):
        steps += 1
        if fetch is not None:
            fetch(answer)
        resolver.learn(*shelf.held(answer))
    return answer, steps


def main(directory: str) -> None:
    shelf = Shelf(Path(directory))
    for line in sys.stdin:
        start, start_cpu = time.perf_counter(), time.process_time()
        solution, steps = resolve(Wanted(SETS[line.strip()]), shelf)
        seen = {
            "pins": {pin.project: pin.version for pin in solution.pins},
            "steps": steps,
            "wall_s": time.perf_counter() - start,
            "cpu_s": time.process_time() - start_cpu,
            "resident_mb_max": _resident_kib_max() / 1024,
        }
        print(json.dumps(seen), flush=True)


def _resident_kib_max() -> int:
    """The most that this process held. (ru_maxrss would tell that of the one which started it, too.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main(*sys.argv[1:])
