"""Warm installs of some 100 wheels from ready trees, against uv's from its cache: python -m benchmarks.install_plan"""

from __future__ import annotations

import argparse
import itertools
import json
import py_compile
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.compare import alternate, report
from p2pcdn.envs.install import Source, install_site
from p2pcdn.envs.listing import Listing
from p2pcdn.envs.plan import Plan
from p2pcdn.envs.planning import ReadyWheel, make_plan
from p2pcdn.envs.scheme import Scheme
from p2pcdn.envs.unpack import unpack
from tests.bench.clients import Workplace, tool
from tests.bench.upstream import FaultyUpstream
from tests.bench.wheels import kept_directory, read_wheel

WANTED = "jupyter==1.0.0"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
# What zephyr's process does when it has the plan: nothing but the hot half of the room, whole process timed.
OURS = """
import sys, time
began = time.perf_counter()
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/shim"]
import json
from p2pcdn.envs.generations import Environment
from p2pcdn.envs.install import Source
from p2pcdn.envs.plan import Plan
from p2pcdn_shim.zephyr.machine.side_by_side import side_by_side
imported = time.perf_counter()
root, job = sys.argv[2:4]
with open(job, "rb") as file:
    job = json.loads(file.read())
with open(job["plan"], "rb") as file:
    plan = Plan.decode(file.read())
decoded = time.perf_counter()
with Environment(root, command="benchmark", now_s=time.time()).locked(wait=print) as environment:
    sources = [Source(*one) for one in job["sources"]]
    done = environment.sync(
        plan,
        sources,
        python=root + "/bin/python",
        link_mode=job["mode"],
        site_tree=job["site_tree"],
        side_by_side=side_by_side,
    )
print(json.dumps({"import": imported - began, "decode": decoded - imported, **done.phases_s}))
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--only", default="", help="only the cases whose name contains this")
    chosen = options.parse_args()
    kept = kept_directory()
    trees = ready_trees(kept)
    with tempfile.TemporaryDirectory(dir=kept) as scratch:
        race = Race(Path(scratch), trees)
        files = sum(len(links.names) for links in race.plan.links)
        print(f"{len(trees)} wheels, {files} files, {len(race.plan.directories)} directories; {chosen.rounds} rounds")
        race.warm_up()
        for title, (uv, ours, goal) in race.cases().items():
            if chosen.only in title:
                race.phases.clear()
                report(title, "ms", alternate({"uv": uv, "zephyr's half": ours}, chosen.rounds), "uv", goal)
                race.print_phases()


@dataclass(frozen=True)
class Tree:
    """One wheel, unpacked and compiled. bytecode: paths below `code`."""

    wheel: ReadyWheel
    tree: Path
    code: Path
    bytecode: tuple[str, ...]


def wanted_wheels(kept: Path) -> list[Path]:
    """Some 100 wheels, downloaded once into a directory below the one that is kept."""
    wheels = kept / f"install-plan-{PYTHON}" / "wheels"
    if not (wheels / "done").exists():
        command = [sys.executable, "-m", "pip", "download", "-q", "--only-binary=:all:", "--dest", wheels, WANTED]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        (wheels / "done").touch()
    return sorted(wheels.glob("*.whl"))


def ready_trees(kept: Path) -> list[Tree]:
    """Downloads, unpacks and compiles what is not there yet; that takes a minute or two, once."""
    return [_ready(path, kept / f"install-plan-{PYTHON}") for path in wanted_wheels(kept)]


def _ready(path: Path, kept: Path) -> Tree:
    tree, code = kept / "trees" / path.stem, kept / "code" / path.stem
    listing_file = kept / "trees" / f"{path.stem}.listing"
    tree.parent.mkdir(exist_ok=True)
    if not listing_file.exists():
        listing = unpack(path, path.name, tree)
        for entry in listing.entries:
            if entry.path.endswith(".py") and entry.part == "root":
                _compile(tree, entry.path, code)
        listing_file.write_bytes(listing.encode())
    listing = Listing.decode(listing_file.read_bytes())
    bytecode = tuple(sorted(str(one.relative_to(code)) for one in code.rglob("*.pyc")))
    return Tree(ReadyWheel(listing, path.name, "0" * 64), tree, code, bytecode)


def _compile(tree: Path, path: str, code: Path) -> None:
    directory, _, name = path.rpartition("/")
    target = code / directory / "__pycache__" / f"{name.removesuffix('.py')}.{sys.implementation.cache_tag}.pyc"
    try:
        py_compile.compile(str(tree / path), cfile=str(target), dfile=path, doraise=True)
    except (py_compile.PyCompileError, ValueError):
        return  # templates, and tests of broken syntax


class Race:
    """Both contestants, each with a fresh environment a run. Every run gives milliseconds of the whole process."""

    def __init__(self, directory: Path, trees: Sequence[Tree]) -> None:
        self._place = Workplace(directory / "user")
        self._directory = directory
        self._trees = trees
        self._numbers = itertools.count()
        self._uv = tool("uv").command
        self.phases: dict[str, list[float]] = {}
        scheme = Scheme.of_venv(PYTHON)
        self.plan = make_plan([one.wheel for one in trees], scheme)
        compiled = make_plan([replace(one.wheel, bytecode=one.bytecode) for one in trees], scheme)
        sources = [Source(str(one.tree), str(one.code)) for one in trees]
        self._site = directory / "site"
        install_site(self.plan, sources, str(self._site))
        self._jobs = {
            "hardlink": self._job("hardlink", self.plan, "hardlink"),
            "env": self._job("env", self.plan, "env"),
            "bytecode": self._job("bytecode", compiled, "hardlink"),
        }

    def warm_up(self) -> None:
        """uv takes every wheel once from an index that is gone afterwards."""
        wheels = [
            read_wheel(path)
            for path in sorted({one.tree.parent.parent for one in self._trees}.pop().glob("wheels/*.whl"))
        ]
        pins = self._directory / "pins.txt"
        pins.write_text("".join(f"{one.project}=={one.version}\n" for one in wheels))
        with FaultyUpstream(wheels) as upstream:
            self._options = ["--default-index", upstream.url, "--link-mode", "hardlink", str(pins)]
            self._run_uv(offline=False)

    def cases(self):  # type: ignore[no-untyped-def]
        compile_too = ("--compile-bytecode",)
        return {
            "links": (self._run_uv, lambda: self._run_ours("hardlink"), "at most x1.0"),
            "--link-mode env": (self._run_uv, lambda: self._run_ours("env"), "at most x0.25"),
            "with byte code": (
                lambda: self._run_uv(*compile_too),
                lambda: self._run_ours("bytecode"),
                "at most x0.1 of uv --compile-bytecode",
            ),
        }

    def print_phases(self) -> None:
        middle = {name: sorted(values)[len(values) // 2] for name, values in self.phases.items()}
        print("  of it, median ms: " + ", ".join(f"{name} {value:.1f}" for name, value in middle.items()))

    def _job(self, name: str, plan: Plan, mode: str) -> Path:
        plan_file, job = self._directory / f"{name}.plan", self._directory / f"{name}.json"
        plan_file.write_bytes(plan.encode())
        sources = [[str(one.tree), str(one.code)] for one in self._trees]
        site_tree = str(self._site) if mode == "env" else ""
        job.write_text(json.dumps({"plan": str(plan_file), "sources": sources, "mode": mode, "site_tree": site_tree}))
        return job

    def _fresh(self) -> Path:
        target = self._directory / f"target{next(self._numbers)}" / ".venv"
        target.parent.mkdir()
        shutil.copytree(self._place.environment, target, symlinks=True)
        return target

    def _run_uv(self, *more: str, offline: bool = True) -> float:
        target = self._fresh()
        offline_options = ["--offline"] if offline else []
        command = [self._uv, "pip", "sync", "-q", "--python", target / "bin" / "python", *offline_options, *more]
        began_s = time.perf_counter()
        done = self._place.run(*command, *self._options, timeout_s=300)
        spent_s = time.perf_counter() - began_s
        if done.returncode:
            raise SystemExit(done.stderr)
        return spent_s * 1000

    def _run_ours(self, job: str) -> float:
        target = self._fresh()
        root = Path(__file__).parents[1]
        began_s = time.perf_counter()
        done = self._place.run(sys.executable, "-I", "-S", "-c", OURS, root, target, self._jobs[job])
        spent_s = time.perf_counter() - began_s
        if done.returncode:
            raise SystemExit(done.stderr)
        for name, value in json.loads(done.stdout).items():
            self.phases.setdefault(name, []).append(value * 1000)
        return spent_s * 1000


if __name__ == "__main__":
    main()
