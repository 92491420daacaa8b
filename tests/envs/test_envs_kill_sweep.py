"""Killed at each of its changing system calls, a sync leaves the old environment or the new one, and the next command
cleans up.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pcdn.envs.unpack import is_leftover, unpack
from tests.envs.made import MadeWheel, files_below
from tests.envs.ready import SITE, bare_venv, open_environment, planned

ROOT = Path(__file__).parents[2]
VICTIM = Path(__file__).with_name("sweep_victim.py")
# Far beyond what the victim does; a sweep that reaches it has a victim that never ends normally.
POINTS_MAX = 200
# strace counts each call for itself, so each is swept for itself.
CALLS = [
    "mkdir",
    "link",
    "linkat",
    "symlink",
    "write",
    "rename",
    "renameat2",
    "unlink",
    "unlinkat",
    "chmod",
    "ftruncate",
]
AFTER_THE_SWAP = {"rename", "unlinkat"}
# Far the most of them are made before the first file is moved.
SLOW_MKDIR = pytest.param("mkdir", marks=pytest.mark.slow)
# Asks the environment from inside, while it is changed: module, data file and script must be of one version.
INSIDE = """
import importlib, pathlib, sys
import demo
root = pathlib.Path(sys.prefix)
for line in sys.stdin:
    importlib.invalidate_caches()
    importlib.reload(demo)
    print(demo.version, (root / 'share/demo.txt').read_text(), (root / 'mine.txt').read_text(), flush=True)
"""


def _strace_works() -> bool:
    strace = shutil.which("strace")
    return (
        strace is not None and subprocess.run([strace, "-o", os.devnull, "true"], capture_output=True).returncode == 0
    )


pytestmark = pytest.mark.skipif(not _strace_works(), reason="needs strace, and the right to trace")


def wheel(version: str) -> MadeWheel:
    return MadeWheel(
        {
            "demo/__init__.py": f"version = '{version}'\ndef main(): print(version)\n".encode(),
            f"demo/only{version}.py": b"",
            f"demo-{version}.data/data/share/demo.txt": version.encode(),
            f"demo-{version}.data/scripts/demo-script": f"#!python\nprint('{version}')\n".encode(),
        },
        version=version,
        entry_points="[console_scripts]\ndemo = demo:main\n",
    )


class Case:
    """One environment that holds version 1, and a plan for version 2; `users` are processes that run in it."""

    def __init__(self, directory: Path, *, whole: bool = True) -> None:
        self._whole = whole
        self.root = bare_venv(directory / "project" / ".venv")
        (self.root / "mine.txt").write_text("mine")
        (self.root / SITE / "mine").mkdir()
        (self.root / SITE / "mine/module.py").write_text("")
        plan, sources = planned(directory / "trees", wheel("1"))
        with open_environment(self.root, whole=whole) as environment:
            environment.sync(plan, sources, python=f"{self.root}/bin/python")
        self.plan, self.sources = planned(directory / "trees", wheel("2"))
        self._plan_file = directory / "plan"
        self._plan_file.write_bytes(self.plan.encode())
        self._user = subprocess.Popen(
            [self.root / "bin/python", "-B", "-c", INSIDE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run_victim(self, action: str, injection: str) -> int:
        call = injection.split(":", 1)[0]
        strace = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}", "-e", f"inject={injection}"]
        command = [*strace, sys.executable, "-I", "-S", "-B", VICTIM, action, self.root, self._plan_file]
        command += [source.tree for source in self.sources]
        done = subprocess.run(
            command, env={"P2PCDN_SWEEP_PATH": str(ROOT)}, capture_output=True, timeout=60, check=False
        )
        assert done.returncode in (0, -9, 137), done.stderr.decode()
        return done.returncode

    def version(self) -> str:
        """The one version that the whole environment is of, for who reads it and for who runs in it."""
        assert (self.root / SITE / "mine/module.py").exists()
        line = (self.root / SITE / "demo/__init__.py").read_text().splitlines()[0]
        version = line.split("'")[1]
        assert (self.root / "share/demo.txt").read_text() == version
        assert f"print('{version}')" in (self.root / "bin/demo-script").read_text()
        assert [path.name for path in (self.root / SITE / "demo").glob("only*")] == [f"only{version}.py"]
        assert [path.name for path in (self.root / SITE).glob("*.dist-info")] == [f"demo-{version}.dist-info"]
        assert (self.root / "bin/demo").exists()
        assert self.asked_inside() == f"{version} {version} mine"
        return version

    def asked_inside(self) -> str:
        assert self._user.stdin is not None
        assert self._user.stdout is not None
        self._user.stdin.write("?\n")
        self._user.stdin.flush()
        return self._user.stdout.readline().strip()

    def check_next_command(self) -> None:
        before = self.version() if self._whole and self.root.exists() else ""
        with open_environment(self.root, whole=self._whole) as environment:
            state = self.root.parent / ".zephyr" / ".venv" if self._whole else self.root / ".zephyr"
            names = {path.name.split("-")[0] for path in state.iterdir()}
            own = {"plan.json", "carried.json", "generation.json", ".gitignore"}
            assert names - own <= {"lock", "history.jsonl", "generations", "trash"}
            after = self.version()
            assert after == before or not before
            last = environment.history()[-1]
            assert last["generation"] == next(one["generation"] for one in environment.generations() if one["current"])
            environment.sync(self.plan, self.sources, python=f"{self.root}/bin/python")
            environment.retire(0)
            environment.sweep()
        assert self.version() == "2"

    def end(self) -> None:
        self._user.kill()
        self._user.communicate()


@pytest.fixture
def cases(tmp_path: Path) -> Iterator[list[Case]]:
    made: list[Case] = []
    yield made
    for case in made:
        case.end()


@pytest.mark.parametrize(
    ("action", "call"),
    [*(("sync", call) for call in CALLS), *(("side-by-side", call) for call in ("mkdir", "link", "write"))],
)
def test_a_kill_at_any_system_call_leaves_the_old_or_the_new(
    tmp_path: Path, cases: list[Case], action: str, call: str
) -> None:
    seen = set()
    for point in range(1, POINTS_MAX):
        case = Case(tmp_path / str(point))
        cases.append(case)
        ended = case.run_victim(action, f"{call}:signal=KILL:when={point}")
        seen.add(case.version())
        case.check_next_command()
        if ended == 0:
            assert point > 1, "the victim never made this call"
            # The last life was not killed; of those that were, the ones before the swap left the old one.
            assert seen == ({"2"} if call in AFTER_THE_SWAP else {"1", "2"})
            return
    pytest.fail("the victim never ended")


@pytest.mark.parametrize(
    ("action", "call"),
    [("rollback", "rename"), ("rollback", "renameat2"), ("two-steps", "rename"), ("two-steps", "fsync")],
)
def test_rollback_and_systems_without_exchange_are_as_safe(
    tmp_path: Path, cases: list[Case], action: str, call: str
) -> None:
    for point in range(1, POINTS_MAX):
        case = Case(tmp_path / str(point))
        cases.append(case)
        if action == "rollback":
            with open_environment(case.root) as environment:
                environment.sync(case.plan, case.sources, python=f"{case.root}/bin/python")
        ended = case.run_victim(action, f"{call}:signal=KILL:when={point}")
        if action == "rollback":
            assert case.version() in "12"
        case.check_next_command()
        if ended == 0:
            return
    pytest.fail("the victim never ended")


@pytest.mark.parametrize("call", [SLOW_MKDIR, "rename", "unlink", "rmdir", "fsync"])
def test_a_kill_of_a_change_file_by_file_is_mended_by_the_next_command(
    tmp_path: Path, cases: list[Case], call: str
) -> None:
    for point in range(1, POINTS_MAX):
        case = Case(tmp_path / str(point), whole=False)
        cases.append(case)
        ended = case.run_victim("piecewise", f"{call}:signal=KILL:when={point}")
        case.check_next_command()
        if ended == 0:
            assert point > 1, "the victim never made this call"
            return
    pytest.fail("the victim never ended")


def test_an_error_of_the_disk_leaves_the_old_one_and_is_a_sentence(tmp_path: Path, cases: list[Case]) -> None:
    # Not the first ones: those are of the lock and of the state directory.
    for call in ("link", "mkdir", "write"):
        case = Case(tmp_path / call)
        cases.append(case)
        done = subprocess.run(
            [
                *("strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}"),
                *("-e", f"inject={call}:error=ENOSPC:when=4..4"),
                *(sys.executable, "-I", "-S", "-B", VICTIM, "sync", case.root, tmp_path / call / "plan"),
                *(source.tree for source in case.sources),
            ],
            env={"P2PCDN_SWEEP_PATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "is full. The environment is as it was" in done.stderr
        assert case.version() == "1"
        case.check_next_command()


def test_every_written_file_is_on_its_way_to_the_disk_before_the_swap(tmp_path: Path, cases: list[Case]) -> None:
    """Else a power cut some seconds later finds the new generation, full of empty files (docs/environments.md)."""
    case = Case(tmp_path)
    cases.append(case)
    log = tmp_path / "strace"
    command = ["strace", "-f", "-qq", "-y", "-o", log, "-e", "trace=fadvise64,renameat2", sys.executable, "-I", "-S"]
    command += [VICTIM, "sync", case.root, tmp_path / "plan", *(source.tree for source in case.sources)]
    subprocess.run(command, env={"P2PCDN_SWEEP_PATH": str(ROOT)}, capture_output=True, check=True)
    before_the_swap = log.read_text().partition("renameat2(")[0]
    begun = re.findall(r"fadvise64\(\d+<[^>]*/next-2/([^>]+)>, 0, 0, POSIX_FADV_DONTNEED\) = 0", before_the_swap)
    own = [f".zephyr/{name}.json" for name in ("carried", "generation", "plan")]
    assert sorted(begun) == sorted([*case.plan.written(), *own])


@pytest.mark.parametrize("call", ["mkdir", "write", "chmod", "rename"])
def test_a_kill_while_a_wheel_is_unpacked_leaves_the_whole_tree_or_none(tmp_path: Path, call: str) -> None:
    code = (
        "import sys; from pathlib import Path; from p2pcdn.envs.unpack import unpack\n"
        "unpack(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))"
    )
    made = wheel("1")
    blob = made.write(tmp_path)
    for point in range(1, POINTS_MAX):
        tree = tmp_path / str(point) / "tree"
        tree.parent.mkdir()
        injection = f"inject={call}:signal=KILL:when={point}"
        strace = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}", "-e", injection]
        command = [*strace, sys.executable, "-B", "-c", code, blob, made.filename, tree]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False)
        if tree.exists():
            names = set(files_below(tree))
            assert names == set(made.members())
        assert all(path == tree or is_leftover(path.name) for path in tree.parent.iterdir())
        unpack(blob, made.filename, tree)
        if done.returncode == 0:
            assert point > 1
            return
    pytest.fail("the unpacking never ended")
