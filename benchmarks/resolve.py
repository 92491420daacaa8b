"""Resolutions of real projects without a network, against uv --offline and pip: python -m benchmarks.resolve

What the sets need of the configured index (tables, and METADATA of every version that the resolver asks for) is fetched
once and kept, decoded, as a node's catalog would keep it. A measured run of ours reads that and resolves: in the worker
that a node keeps, and in a process that starts for it. uv runs with its own cache, filled before, and --offline; pip
with its own HTTP cache, warm.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from packaging.markers import default_environment
from packaging.tags import sys_tags

from benchmarks.compare import Figures, alternate, report, with_cpu
from benchmarks.resolve_fetch import Fetcher
from benchmarks.resolve_once import SETS, resolve
from benchmarks.resolve_shelf import Shelf
from p2pcdn.resolve import NoSolution, Target, Wanted
from tests.bench.clients import NoTool, tool
from tests.bench.wheels import kept_directory

# What pip cannot end in this time is not waited for.
PIP_TIME_S_MAX = 150.0
WORKER = (sys.executable, "-m", "benchmarks.resolve_once")
GOALS = "at most x3 of uv; pip at least x10 of ours"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--only", default="", help="only the sets whose name contains this")
    options.add_argument("--pip", action="store_true", help="pip, too: minutes, and it needs the network")
    chosen = options.parse_args()
    shelf = Shelf(shelf_directory())
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
    with _worker() as worker:
        said = _ask(worker, name)
        contestants: dict[str, Callable[[], float]] = {
            "ours, kept worker": lambda: _timed_call(lambda: _ask(worker, name)),
            "ours, new process": lambda: _timed_call(lambda: _run(*WORKER, shelf_directory(), given=name)),
        }
        contestants.update(_others(asked, with_pip=with_pip))
        anchor = "uv" if "uv" in contestants else "ours, kept worker"
        cpu: dict[str, list[float]] = {contestant: [] for contestant in contestants}
        runs = {contestant: with_cpu(run, cpu[contestant], worker.pid) for contestant, run in contestants.items()}
        report(name, "s", alternate(runs, rounds), anchor, GOALS)
        figures = {contestant: Figures(tuple(seconds[1:])) for contestant, seconds in cpu.items()}
        report(f"{name}, CPU of the same rounds", "CPU s", figures, anchor)
    pins = said.pop("pins")
    print("  a new process, after its imports:", {key: round(value, 3) for key, value in said.items()})
    if "uv" in contestants:
        theirs = dict(pins_of(_run(tool("uv").command, "pip", "compile", "-q", "--offline", "--no-header", asked)))
        same = sum(theirs.get(project) == version for project, version in pins.items())
        print(f"  {same} of {len(pins)} pins are uv's {len(theirs)}")


@contextmanager
def _worker() -> Iterator[subprocess.Popen[str]]:
    command = [*WORKER, str(shelf_directory())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        yield worker
        assert worker.stdin is not None
        worker.stdin.close()


def _ask(worker: subprocess.Popen[str], name: str) -> dict[str, Any]:
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(f"{name}\n")
    worker.stdin.flush()
    said: dict[str, Any] = json.loads(worker.stdout.readline())
    return said


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
    return _timed_call(lambda: _run(*command))


def _timed_call(call: Callable[[], object]) -> float:
    before = time.perf_counter()
    try:
        call()
    except subprocess.TimeoutExpired:
        return PIP_TIME_S_MAX
    return time.perf_counter() - before


def _run(*command: str | Path, given: str = "") -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, input=given, capture_output=True, text=True, check=True, timeout=PIP_TIME_S_MAX)
    return done.stdout


def shelf_directory() -> Path:
    return kept_directory() / "resolve"


def pins_of(compiled: str) -> Iterator[tuple[str, str]]:
    for line in compiled.splitlines():
        project, equals, version = line.partition("==")
        if equals and not line.startswith((" ", "#")):
            yield project, version.split()[0]


if __name__ == "__main__":
    main()
