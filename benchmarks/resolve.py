"""Resolutions of real projects without a network, against uv --offline and pip: python -m benchmarks.resolve

What the sets need of the configured index (tables, and METADATA of every version that the resolver asks for) is fetched
once and kept, decoded, as a node's catalog would keep it. A measured run is a process: it starts Python, reads the
catalog and resolves. uv runs with its own cache, filled before, and --offline; pip with its own HTTP cache, warm.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from packaging.markers import default_environment
from packaging.tags import sys_tags

from benchmarks.compare import alternate, report
from benchmarks.resolve_fetch import Fetcher
from benchmarks.resolve_once import SETS, resolve
from benchmarks.resolve_shelf import Shelf
from p2pcdn.resolve import NoSolution, Target, Wanted
from tests.bench.clients import NoTool, tool
from tests.bench.wheels import kept_directory

# What pip cannot end in this time is not waited for.
PIP_TIME_S_MAX = 150.0
GOALS = "at most x3 of uv; pip at least x10 of ours"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--only", default="", help="only the sets whose name contains this")
    options.add_argument("--pip", action="store_true", help="pip, too: minutes, and it needs the network")
    chosen = options.parse_args()
    shelf = Shelf(kept_directory() / "resolve")
    shelf.keep_target(Target.of(default_environment(), tuple(map(str, sys_tags()))))
    with tempfile.TemporaryDirectory() as scratch:
        for name, requirements in SETS.items():
            if chosen.only in name:
                _fill(name, requirements, shelf)
                _compare(name, requirements, Path(scratch), chosen.rounds, with_pip=chosen.pip)


def _fill(name: str, requirements: tuple[str, ...], shelf: Shelf) -> None:
    before = time.perf_counter()
    try:
        solution, steps = resolve(Wanted(requirements), shelf, Fetcher(shelf).fetch)
        print(f"\n{name}: {len(solution.pins)} pins, {steps} steps, {time.perf_counter() - before:.2f} s to fill")
    except NoSolution as none:
        print(f"\n{name}: {none}")


def _compare(name: str, requirements: tuple[str, ...], scratch: Path, rounds: int, *, with_pip: bool) -> None:
    asked = scratch / f"{name}.in"
    asked.write_text("\n".join(requirements) + "\n")
    said: dict[str, object] = {}

    def ours() -> float:
        before = time.perf_counter()
        done = _run(sys.executable, "-m", "benchmarks.resolve_once", name, kept_directory() / "resolve")
        said.update(json.loads(done))
        return time.perf_counter() - before

    contestants: dict[str, Callable[[], float]] = {"ours": ours}
    contestants.update(_others(asked, with_pip=with_pip))
    report(name, "s", alternate(contestants, rounds), "uv" if "uv" in contestants else "ours", GOALS)
    pins = said.pop("pins")
    assert isinstance(pins, dict)
    print("  ours, the process itself:", {key: round(float(str(value)), 3) for key, value in said.items()})
    if "uv" in contestants:
        theirs = dict(_pins(_run(tool("uv").command, "pip", "compile", "-q", "--offline", "--no-header", asked)))
        same = sum(theirs.get(project) == version for project, version in pins.items())
        print(f"  {same} of {len(pins)} pins are uv's {len(theirs)}")


def _others(asked: Path, *, with_pip: bool) -> Iterator[tuple[str, Callable[[], float]]]:
    try:
        uv = tool("uv").command
        _run(uv, "pip", "compile", "-q", asked)
        yield "uv", lambda: _timed(uv, "pip", "compile", "-q", "--offline", asked)
    except (NoTool, subprocess.CalledProcessError) as reason:
        print(f"without uv: {reason}")
    if with_pip:
        pip = tool("pip-new").command
        yield "pip", lambda: _timed(pip, "install", "-q", "--dry-run", "--ignore-installed", "-r", asked)


def _timed(*command: str | Path) -> float:
    before = time.perf_counter()
    try:
        _run(*command)
    except subprocess.TimeoutExpired:
        return PIP_TIME_S_MAX
    return time.perf_counter() - before


def _run(*command: str | Path) -> str:
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=PIP_TIME_S_MAX).stdout


def _pins(compiled: str) -> Iterator[tuple[str, str]]:
    for line in compiled.splitlines():
        project, equals, version = line.partition("==")
        if equals and not line.startswith((" ", "#")):
            yield project, version.split()[0]


if __name__ == "__main__":
    main()
