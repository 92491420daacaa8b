"""How long zephyr takes to begin, above a bare interpreter: `--version`, and an environment beside uv's.

Run as `python -m benchmarks.startup`. The interpreter is the one that runs this, and pairs alternate. uv is the one on
the PATH; without it, its row is left out. Goals: `--version` at most 40 ms above bare python; an environment at most 30
ms above uv's.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from benchmarks.compare import alternate, report

ROOT = Path(__file__).parent.parent
VERSION_GOAL_MS = 40.0
ENVIRONMENT_GOAL_MS = 30.0
# What a console script does, without the regular expression of older pips' ones.
ZEPHYR = "from p2pcdn_shim.zephyr.cli import main; main()"


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
        bare = _timed([sys.executable, "-c", "pass"], environ)
        for words, goal_ms in ((["--version"], VERSION_GOAL_MS), (["config"], None)):
            name = f"zephyr {words[0]}"
            _above(name, {"bare python": bare, name: _timed([*zephyr, *words], environ)}, rounds, goal_ms)
        numbers = count()
        ours = _timed_fresh([*zephyr, "venv", "create", "-q"], environ, room / "zephyr", numbers)
        uv = shutil.which("uv")
        if uv is None:
            _above("a new environment", {"bare python": bare, "zephyr": ours}, rounds, None)
            return
        theirs = _timed_fresh([uv, "venv", "-q", "--offline", "-p", sys.executable], environ, room / "uv", numbers)
        _above("a new environment", {"uv": theirs, "zephyr": ours}, rounds, ENVIRONMENT_GOAL_MS)


def _above(title: str, contestants: dict[str, Callable[[], float]], rounds: int, goal_ms: float | None) -> None:
    figures = alternate(contestants, rounds)
    anchor, ours = contestants
    goal = "" if goal_ms is None else f"at most {goal_ms:.0f} ms above {anchor}"
    report(title, "ms", figures, anchor, goal)
    above = figures[ours].median - figures[anchor].median
    least = min(figures[ours].rounds) - min(figures[anchor].rounds)
    print(f"  {ours} is {above:.1f} ms above {anchor} (medians; {least:.1f} ms between the fastest of each)")


def _timed(command: list[str], environ: dict[str, str]) -> Callable[[], float]:
    def run() -> float:
        began_s = time.perf_counter()
        subprocess.run(command, env=environ, cwd=environ["HOME"], stdout=subprocess.DEVNULL, check=True)
        return (time.perf_counter() - began_s) * 1e3

    return run


def _timed_fresh(command: list[str], environ: dict[str, str], room: Path, numbers: count[int]) -> Callable[[], float]:
    """The command with a new directory as its last word each time; nothing is removed in the timed part."""
    room.mkdir()

    def run() -> float:
        return _timed([*command, str(room / str(next(numbers)))], environ)()

    return run


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
