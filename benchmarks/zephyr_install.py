"""Warm `zephyr sync` of some 100 wheels through a node, against uv from its cache: python -m benchmarks.zephyr_install

Each run is a whole process that fills a fresh environment, made before and not measured; nothing is removed while
anything is timed. Both get their pins from a file and every wheel from their own store. `--pip`: pip, from its cache.
"""

from __future__ import annotations

import argparse
import itertools
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.compare import Figures, Run, alternate, report, with_cpu
from benchmarks.install_plan import WANTED, wanted_wheels
from tests.bench.clients import Workplace, tool
from tests.bench.node import RunningNode
from tests.bench.upstream import FaultyUpstream
from tests.bench.wheels import Distribution, kept_directory, read_wheel

# Environments lie in several directories in turn: one that was filled and emptied often is slower for a while.
DIRECTORIES = 4
PIP_ROUNDS_MAX = 3
# A user comes back later; what was touched just now could change again within its stamp (decision 25).
SETTLES_AFTER_S = 1.5
PHASE = re.compile(r"(\w+) (\d+) ms")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--only", default="", help="only the cases whose name contains this")
    options.add_argument("--pip", action="store_true", help="pip, too, in three rounds at most")
    chosen = options.parse_args()
    kept = kept_directory()
    wheels = [read_wheel(path) for path in wanted_wheels(kept)]
    with tempfile.TemporaryDirectory(dir=kept) as scratch:
        directory = Path(scratch)
        with (
            FaultyUpstream(wheels) as upstream,
            RunningNode(directory / "node", upstreams=[upstream]) as node,
        ):
            race = Race(directory, node, upstream, wheels)
            race.warm_up()
            print(
                f"{len(wheels)} wheels, {sum(len(one.content) for one in wheels) / 1e6:.0f} MB; {chosen.rounds} rounds"
            )
            race.run_cases(chosen.only, chosen.rounds)
            if chosen.pip:
                race.run_pip(min(chosen.rounds, PIP_ROUNDS_MAX))


class Race:
    """zephyr, uv and pip, each with a fresh environment a run. Every run gives milliseconds of the whole process."""

    def __init__(
        self, directory: Path, node: RunningNode, upstream: FaultyUpstream, wheels: list[Distribution]
    ) -> None:
        self._place = Workplace(directory / "user")
        self._directory = directory
        self._node = node
        self._upstream = upstream
        self._numbers = itertools.count()
        self._pins = directory / "pins.txt"
        self._pins.write_text("".join(f"{one.project}=={one.version}\n" for one in wheels))
        self._project = directory / "project"
        # As a user has it: byte code of zephyr itself is kept.
        settings = {name: value for name, value in node.variables().items() if name != "PYTHONDONTWRITEBYTECODE"}
        self._zephyr_settings = settings | {
            "PYTHONPYCACHEPREFIX": str(directory / "bytecode"),
            "P2PCDN_CONTROL_SOCKET": str(node.control_socket),
            "ZEPHYR_CACHE_DIR": str(directory / "zephyr"),
            "ZEPHYR_PYTHON": sys.executable,
        }
        self.phases: dict[str, list[float]] = {}

    def warm_up(self) -> None:
        """Both get every wheel once, byte code too; the lock is made."""
        self._project.mkdir()
        pythons = "~={}.{}.{}".format(*sys.version_info)
        (self._project / "pyproject.toml").write_text(
            f'[project]\nname = "demo"\nversion = "1"\nrequires-python = "{pythons}"\ndependencies = ["{WANTED}"]\n'
            "[tool.zephyr]\nenvironments = [\"sys_platform == 'linux' and platform_machine == 'x86_64'\"]\n"
        )
        self._run_zephyr("lock")
        self.zephyr("--compile-bytecode")
        for mode in ("hardlink", "env"):
            self.zephyr("--link-mode", mode)
        self.uv(offline=False)

    def run_cases(self, only: str, rounds: int) -> None:
        full = {"uv": self.fresh("uv"), "zephyr": self.fresh("zephyr")}
        cases: dict[str, tuple[Run, Run, str]] = {
            "links": (self.uv, lambda: self.zephyr("--link-mode", "hardlink"), "at most x1.0"),
            "--link-mode env": (self.uv, lambda: self.zephyr("--link-mode", "env"), "at most x0.25"),
            "with byte code": (
                lambda: self.uv("--compile-bytecode"),
                lambda: self.zephyr("--compile-bytecode", "--link-mode", "hardlink"),
                "at most x0.1 of uv --compile-bytecode",
            ),
            "nothing to do": (
                lambda: self.uv(target=full["uv"]),
                lambda: self.zephyr(target=full["zephyr"]),
                "at most 30 ms above uv",
            ),
        }
        for title, (uv, zephyr, goal) in cases.items():
            if only in title:
                zephyr()
                if title == "nothing to do":
                    time.sleep(SETTLES_AFTER_S)
                    zephyr()
                self.phases.clear()
                self._compare(title, {"uv": uv, "zephyr": zephyr}, rounds, "uv", goal)
                self._print_phases()

    def run_pip(self, rounds: int) -> None:
        runs: dict[str, Run] = {"zephyr": lambda: self.zephyr("--link-mode", "hardlink")}
        # As it comes it compiles; zephyr links the byte code that its node has.
        runs |= {"pip, its default": self.pip, "pip --no-compile": lambda: self.pip("--no-compile")}
        self._compare("pip, warm", runs, rounds, "zephyr", "at least x20")

    def _compare(self, title: str, runs: Mapping[str, Run], rounds: int, anchor: str, goal: str) -> None:
        """By the clock, and by the CPU of the command and of our node: others may use the machine, too."""
        cpu: dict[str, list[float]] = {name: [] for name in runs}
        measured = {name: with_cpu(run, cpu[name], self._node.pid) for name, run in runs.items()}
        report(title, "ms", alternate(measured, rounds), anchor, goal)
        report(
            "  CPU of the same rounds", "CPU s", {name: Figures(tuple(one[1:])) for name, one in cpu.items()}, anchor
        )

    # -- one run each -------------------------------------------------------------------------------------------------

    def zephyr(self, *more: str, target: Path | None = None) -> float:
        place = target or self.fresh("zephyr")
        began_s = time.perf_counter()
        said = self._run_zephyr("sync", "-v", "--frozen", "--venv", str(place), *more)
        spent_s = time.perf_counter() - began_s
        for name, value in PHASE.findall(said):
            self.phases.setdefault(name, []).append(float(value))
        return spent_s * 1000

    def uv(self, *more: str, target: Path | None = None, offline: bool = True) -> float:
        place = target or self.fresh("uv")
        options = ["--default-index", self._upstream.url, "--link-mode", "hardlink", *more]
        options += ["--offline"] if offline else []
        python = place / "bin" / "python"
        return self._timed(tool("uv").command, "pip", "sync", "-q", "--python", python, *options, self._pins)

    def pip(self, *more: str) -> float:
        place = self.fresh("pip")
        options = ["-q", "--no-deps", "--index-url", self._upstream.url, *more]
        python = place / "bin" / "python"
        return self._timed(tool("pip-new").command, "--python", python, "install", *options, "-r", self._pins)

    def fresh(self, whose: str) -> Path:
        """A new environment without packages."""
        number = next(self._numbers)
        target = self._directory / f"{whose}{number % DIRECTORIES}" / str(number) / ".venv"
        target.parent.mkdir(parents=True)
        shutil.copytree(self._place.environment, target, symlinks=True)
        return target

    def _timed(self, *command: str | Path) -> float:
        began_s = time.perf_counter()
        done = self._place.run(*command, timeout_s=300)
        spent_s = time.perf_counter() - began_s
        if done.returncode:
            raise SystemExit(done.stderr)
        return spent_s * 1000

    def _run_zephyr(self, *words: str) -> str:
        command = [sys.executable, "-c", "from p2pcdn_shim.zephyr.cli import main; main()", *words]
        settings: Mapping[str, str] = self._zephyr_settings
        done = subprocess.run(
            command, cwd=self._project, env=settings, capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode:
            raise SystemExit(done.stderr)
        return done.stderr

    def _print_phases(self) -> None:
        middle = {name: sorted(values)[len(values) // 2] for name, values in self.phases.items()}
        if middle:
            print("  of it, median ms: " + ", ".join(f"{name} {value:.0f}" for name, value in middle.items()))


if __name__ == "__main__":
    main()
