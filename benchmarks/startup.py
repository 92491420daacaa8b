"""How long zephyr takes to begin, above a bare interpreter: `--version`, the node reached, an environment beside uv's.

Run as `python -m benchmarks.startup`. The interpreter is the one that runs this, and pairs alternate. uv is the one on
the PATH; without it, its row is left out. Goals: `--version`, and the first byte on the node's socket,
at most 40 ms above bare python; an environment at most 30 ms above uv's. Where others use the machine, trust the CPU.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from benchmarks.compare import alternate, report
from tests.bench.node import RunningNode

ROOT = Path(__file__).parent.parent
VERSION_GOAL_MS = 40.0
REACH_GOAL_MS = 40.0
ENVIRONMENT_GOAL_MS = 30.0
# What a console script does, without the regular expression of older pips' ones.
ZEPHYR = "from p2pcdn_shim.zephyr.cli import main; main()"
# As a command does, with the parser that every command has: a connection, and a question on it.
REACH = "import argparse, json; from p2pcdn_shim.client import dial, find; dial(find().path).sendall(b'GET ')"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25, help="How often each is run.")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="startup-") as directory:
        room = Path(directory)
        environ = _environment(room)
        zephyr = [sys.executable, "-c", ZEPHYR]
        # Compiled, and the interpreter asked, before anything is timed.
        for words in (["--version"], ["config"], ["venv", "create", "-q", str(room / "first")]):
            subprocess.run([*zephyr, *words], env=environ, cwd=room, stdout=subprocess.DEVNULL, check=True)
        bare = ("bare python", Timed([sys.executable, "-c", "pass"], environ))
        for words, goal_ms in ((["--version"], VERSION_GOAL_MS), (["config"], None)):
            name = f"zephyr {words[0]}"
            _above(name, bare, (name, Timed([*zephyr, *words], environ)), rounds, goal_ms)
        _reach_node(room / "node", environ, bare, rounds)
        ours = ("zephyr", Timed([*zephyr, "venv", "create", "-q"], environ, _directories(room / "zephyr")))
        uv = shutil.which("uv")
        if uv is None:
            _above("a new environment", bare, ours, rounds, None)
            return
        theirs = Timed([uv, "venv", "-q", "--offline", "-p", sys.executable], environ, _directories(room / "uv"))
        _above("a new environment", ("uv", theirs), ours, rounds, ENVIRONMENT_GOAL_MS)


def _reach_node(directory: Path, environ: dict[str, str], bare: tuple[str, Timed], rounds: int) -> None:
    """From nothing to the first byte on the node's socket."""
    (directory / "wheels").mkdir(parents=True)
    with RunningNode(directory, upstreams=[str(directory / "wheels")]) as node:
        asking = environ | {"P2PCDN_CONTROL_SOCKET": str(node.control_socket)}
        reach = Timed([sys.executable, "-c", REACH], asking)
        _above("the node is reached", bare, ("the client", reach), rounds, REACH_GOAL_MS)


class Timed:
    """A command; calling it runs it once and returns the milliseconds that it took. cpu_ms: what each run used."""

    def __init__(self, command: list[str], environ: dict[str, str], fresh: Iterator[Path] | None = None) -> None:
        """fresh: new directories, of which each run gets one as its last word; none is removed in the timed part."""
        self._command = command
        self._environ = environ
        self._fresh = fresh
        self.cpu_ms: list[float] = []

    def __call__(self) -> float:
        command = self._command if self._fresh is None else [*self._command, str(next(self._fresh))]
        began_s = time.perf_counter()
        process = subprocess.Popen(command, env=self._environ, cwd=self._environ["HOME"], stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        took_ms = (time.perf_counter() - began_s) * 1e3
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, command
        self.cpu_ms.append((used.ru_utime + used.ru_stime) * 1e3)
        return took_ms


def _above(title: str, anchor: tuple[str, Timed], ours: tuple[str, Timed], rounds: int, goal_ms: float | None) -> None:
    for _, one in (anchor, ours):
        one.cpu_ms.clear()
    figures = alternate(dict([anchor, ours]), rounds)
    goal = "" if goal_ms is None else f"at most {goal_ms:.0f} ms above {anchor[0]}"
    report(title, "ms", figures, anchor[0], goal)
    above_ms = figures[ours[0]].median - figures[anchor[0]].median
    cpu_ms = statistics.median(ours[1].cpu_ms) - statistics.median(anchor[1].cpu_ms)
    print(f"  {ours[0]} is {above_ms:.1f} ms above {anchor[0]}; {cpu_ms:.1f} ms of CPU")


def _directories(room: Path) -> Iterator[Path]:
    room.mkdir()
    return (room / str(number) for number in count())


def _environment(room: Path) -> dict[str, str]:
    """As a user has it: bytecode is kept, and no configuration of this machine is met."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")}
    paths = os.pathsep.join(str(ROOT / folder) for folder in (".", "daemon", "shim"))
    return kept | {
        "PYTHONPATH": paths, "PYTHONPYCACHEPREFIX": str(room / "bytecode"), "HOME": str(room),
        "ZEPHYR_CACHE_DIR": str(room / "cache"), "ZEPHYR_PYTHON": sys.executable,
        "UV_CACHE_DIR": str(room / "uv-cache"), "UV_NO_CONFIG": "1",
    }  # fmt: skip


if __name__ == "__main__":
    main()
