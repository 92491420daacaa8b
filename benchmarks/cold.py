"""Cold resolutions and installs over a line of 20 ms, beside uv and pip: python -m benchmarks.cold

A node that has seen everything before stands in for the index, and nginx before it says the same again: real pages with
all their versions, each answer 20 ms late (`latency.py`). Everybody runs once before, which fills both and needs the
network. Every run of ours begins with a node that has an empty store, started before and not measured; uv and pip
begin without a cache. Byte code is left out by all but one: pip compiles it while its user waits, unless it is told not
to. So it stands here twice, as it is by default and with --no-compile; zephyr's node compiles behind the user's back,
which is in none of these figures.

Run it with TMPDIR=/dev/shm: on ext4 a file takes a millisecond to create after the runs before (probably because it
passes over the inodes that were freed in the last minutes), which is far more than anybody does with it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.anchors import free_port, nginx_memory
from benchmarks.compare import Figures, alternate, children_cpu_s, report, tree_cpu_s
from benchmarks.latency import far_away
from p2pcdn_daemon.clients.client_config import pypi
from tests.bench.clients import Workplace, tool
from tests.bench.node import RunningNode
from tests.bench.wheels import kept_directory

LATENCY_S = 0.02
RUN_TIME_S_MAX = 900.0
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
FRAMEWORKS = ("django", "fastapi")
WEB = (
    "django", "djangorestframework", "fastapi[standard]", "celery", "redis", "sqlalchemy", "alembic", "httpx",
    "psycopg[binary]", "gunicorn", "sentry-sdk", "structlog", "boto3", "pydantic-settings", "pillow", "cryptography",
)  # fmt: skip
NOTEBOOKS = (*WEB, "jupyter==1.0.0")
BACKTRACKING = ("boto3", "urllib3<1.25.4")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--only", default="", help="only the cases whose name contains this")
    options.add_argument("--without", default="", help="without these contestants: the beginning of a name")
    chosen = options.parse_args()
    kept = kept_directory() / "cold-index"
    wire = f"127.0.0.1:{free_port()}"
    with (
        tempfile.TemporaryDirectory() as scratch,
        RunningNode(kept, upstreams=[pypi().url], arguments=["--allow-host", wire]) as index,
        nginx_memory(Path(scratch) / "nginx", index.address) as memory,
        far_away(int(wire.rpartition(":")[2]), memory.address, LATENCY_S),
    ):
        race = Race(Path(scratch), wire)
        for title, (requirements, installs, goal) in CASES.items():
            if chosen.only in title:
                runs = race.contestants(requirements, installs=installs, without=chosen.without)
                for run in runs.values():  # fills the stand-in
                    run()
                race.cpu_s.clear()
                figures = alternate(runs, chosen.rounds, warm_up=False)
                report(f"{title}, {race.packages} packages", "s", figures, "zephyr", goal)
                cpu = {name: Figures(tuple(race.cpu_s[name])) for name in runs}
                report("CPU of the same rounds", "CPU s", cpu, "zephyr")


# Title: what is asked for, whether it is installed too, the goal.
CASES: dict[str, tuple[Sequence[str], bool, str]] = {
    "django and fastapi, resolved": (FRAMEWORKS, False, "under 5 s"),
    "a web application, resolved and installed": (WEB, True, "under 30 s"),
    "a web application and notebooks, resolved and installed": (NOTEBOOKS, True, "pip at least x10"),
    "boto3 with an old urllib3, resolved": (BACKTRACKING, False, ""),
}


class Race:
    """Every run is a user without anything; each gives seconds."""

    def __init__(self, directory: Path, wire: str) -> None:
        """wire: HOST:PORT of the index, far away."""
        self._directory = directory
        self._wire = wire
        self._url = f"http://{wire}/simple/"
        self._numbers = itertools.count()
        self._place = Workplace(directory / "user")
        self.packages = 0
        # Of each run by contestant: the command's, and that of our node and its processes while the command ran.
        self.cpu_s: dict[str, list[float]] = {}

    def contestants(self, requirements: Sequence[str], *, installs: bool, without: str):  # type: ignore[no-untyped-def]
        runs = {
            "zephyr": lambda: self.zephyr(requirements, installs=installs),
            "uv": lambda: self.uv(requirements, installs=installs),
            "pip": lambda: self.pip(requirements, installs=installs),
        }
        if installs:
            runs["pip, its default"] = lambda: self.pip(requirements, installs=True, compiles=True)
        return {name: run for name, run in runs.items() if not without or not name.startswith(without)}

    def zephyr(self, requirements: Sequence[str], *, installs: bool) -> float:
        project = self._fresh("project")
        (project / "pyproject.toml").write_text(
            f'[project]\nname = "demo"\nversion = "1"\nrequires-python = "=={PYTHON}.*"\n'
            f"dependencies = {json.dumps(list(requirements))}\n[tool.zephyr]\n"
            "environments = [\"sys_platform == 'linux' and platform_machine == 'x86_64'\"]\n"
        )
        words = ["sync", "--no-compile-bytecode"] if installs else ["lock"]
        with RunningNode(project / "node", upstreams=[self._url]) as node:
            settings = node.variables() | {
                "P2PCDN_CONTROL_SOCKET": str(node.control_socket),
                "ZEPHYR_CACHE_DIR": str(self._directory / "zephyr"),
                "ZEPHYR_PYTHON": sys.executable,
            }
            before_s = tree_cpu_s(node.pid)
            spent_s = self._timed("zephyr", [sys.executable, "-m", "p2pcdn_shim.zephyr", *words], project, settings)
            self.cpu_s["zephyr"][-1] += tree_cpu_s(node.pid) - before_s
        self.packages = (project / "pylock.toml").read_text().count("[[packages]]")
        shutil.rmtree(project)
        return spent_s

    def uv(self, requirements: Sequence[str], *, installs: bool) -> float:
        place = self._fresh("uv")
        verb = ["install", "--target", place / "target"] if installs else ["compile", "-q", "-"]
        command = [tool("uv").command, "pip", verb[0], "--no-cache", *verb[1:]]
        return self._asked("uv", place, command, requirements, installs=installs)

    def pip(self, requirements: Sequence[str], *, installs: bool, compiles: bool = False) -> float:
        """compiles: with byte code, as it is by default."""
        place = self._fresh("pip")
        verb = ["--target", place / "target"] if installs else ["--dry-run", "--ignore-installed"]
        command = [tool("pip-new").command, "install", "-q", "--no-cache-dir", *verb]
        if compiles:
            return self._asked("pip, its default", place, command, requirements, installs=True)
        return self._asked("pip", place, [*command, "--no-compile"], requirements, installs=True)

    def _asked(
        self, who: str, place: Path, command: list[str | Path], requirements: Sequence[str], *, installs: bool
    ) -> float:
        words = [*command, "--index-url", self._url, *(requirements if installs else ())]
        spent_s = self._timed(who, words, self._directory, self._place.variables(), "\n".join(requirements))
        shutil.rmtree(place)
        return spent_s

    def _fresh(self, whose: str) -> Path:
        place = self._directory / f"{whose}{next(self._numbers)}"
        place.mkdir()
        return place

    def _timed(
        self, who: str, command: Sequence[str | Path], place: Path, settings: dict[str, str], given: str = ""
    ) -> float:
        words = [str(word) for word in command]
        began_s, before_s = time.perf_counter(), children_cpu_s()
        try:
            done = subprocess.run(
                words,
                cwd=place,
                env=settings,
                input=given,
                capture_output=True,
                text=True,
                timeout=RUN_TIME_S_MAX,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return RUN_TIME_S_MAX
        finally:
            self.cpu_s.setdefault(who, []).append(children_cpu_s() - before_s)
        spent_s = time.perf_counter() - began_s
        if done.returncode:
            raise SystemExit(done.stderr)
        return spent_s


if __name__ == "__main__":
    main()
