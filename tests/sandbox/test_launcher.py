"""The launcher as root and as an ordinary user, and where the kernel or a container forbids something."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from p2pcdn.sandbox import obstacles
from p2pcdn.sandbox import run as run_module
from p2pcdn.sandbox.spec import NOBODY
from p2pcdn_daemon.doors.processes import RealProcesses
from tests.sandbox.programs import IS_ROOT

HOME = Path(run_module.__file__).parent.parent.parent
PYTHONS = ("/usr/bin/python3", "/usr/local/bin/python3")

# Only the standard library: an ordinary user of the test's machine may be able to read no environment of ours.
LAUNCH = """
import json, os, subprocess, sys
sys.path.append(sys.argv[1])
from p2pcdn.sandbox.plan import encode, read_report
from p2pcdn.sandbox.spec import Limits, Spec, outside, plan
spec = Spec((), {"PATH": "/usr/bin:/bin"}, Limits(processes=20))
user = outside(spec, (os.geteuid(), os.getegid()), open("/proc/self/uid_map").read())
told = plan(spec, sys.argv[2:], machine=os.uname().machine, parent=os.getpid(), user=user)
boot = "import sys; sys.path.append(sys.argv[1]); from p2pcdn.sandbox.launcher import main; main()"
command = [sys.executable, "-I", "-S", "-c", boot, sys.argv[1]]
done = subprocess.run(command, input=encode(told), capture_output=True, env={})
line, _, rest = done.stdout.partition(b"\\n")
print(json.dumps([done.returncode, read_report(line), rest.decode(), done.stderr.decode()]))
"""

BOMB = "i=0; while [ $i -lt 60 ]; do sleep 5 & i=$((i+1)); done; echo all"

# Exit code, what stands ([landlock, proc]) or what is missing, stdout, stderr.
Answer = tuple[int, list[int] | str, str, str]


@pytest.fixture
def readable_home() -> Iterator[Path]:
    """The modules of the launcher where every user may read them."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        home.chmod(0o755)
        shutil.copytree(HOME / "p2pcdn" / "sandbox", home / "p2pcdn" / "sandbox")
        shutil.copy(HOME / "p2pcdn" / "__init__.py", home / "p2pcdn")
        yield home


def launch(home: Path, *argv: str, python: str = sys.executable, before: tuple[str, ...] = ()) -> Answer:
    command = [*before, python, "-I", "-S", "-c", LAUNCH, str(home), *argv]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    code, report, rest, errors = json.loads(done.stdout)
    return code, report, rest, errors


def as_nobody() -> tuple[str, ...]:
    if not IS_ROOT:
        pytest.skip("only root can become another user; an ordinary user's sandbox is what all other tests run in")
    if not shutil.which("setpriv"):
        pytest.skip("setpriv is not installed (util-linux)")
    return ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


def public_python() -> str:
    for path in PYTHONS:
        code = "import sys; sys.exit(sys.version_info < (3, 11))"
        if Path(path).exists() and subprocess.run([path, "-c", code], check=False).returncode == 0:
            return path
    pytest.skip("no interpreter from 3.11 on that every user may run")


def as_root_only() -> None:
    if not IS_ROOT:
        pytest.skip("only root can mask a file of /proc")


def test_an_ordinary_user_has_the_same_sandbox(processes: RealProcesses, readable_home: Path) -> None:
    code, report, said, errors = launch(
        readable_home, "/bin/sh", "-c", f"id -u; cat /etc/shadow; {BOMB}", python=public_python(), before=as_nobody()
    )
    assert report == launch(readable_home, "/bin/true")[1]
    assert said == "1000\n"
    assert "/etc/shadow: No such file" in errors
    assert "Cannot fork" in errors or "Resource temporarily unavailable" in errors
    assert code != 0


def test_root_of_a_container_of_one_user_has_a_sandbox_too(processes: RealProcesses, readable_home: Path) -> None:
    inside = (*as_nobody(), "unshare", "--user", "--map-root-user")
    code, report, said, errors = launch(
        readable_home, "/bin/sh", "-c", f"id -u; {BOMB}", python=public_python(), before=inside
    )
    assert said == "1000\n", report
    assert code != 0
    assert "Cannot fork" in errors or "Resource temporarily unavailable" in errors


def test_what_root_starts_is_not_root_outside_either(processes: RealProcesses, readable_home: Path) -> None:
    if not IS_ROOT:
        pytest.skip("only for root")
    code, _, said, _ = launch(readable_home, "/bin/sh", "-c", "cat /proc/self/uid_map; id -G")
    assert said.split() == ["1000", str(NOBODY), "1", "1000"]
    assert code == 0


def test_a_masked_proc_costs_the_sandbox_its_proc_and_nothing_else(processes: RealProcesses) -> None:
    as_root_only()
    mask = ("unshare", "--mount", "sh", "-c", 'mount --bind /dev/null /proc/version && exec "$@"', "sh")
    code, report, said, _ = launch(HOME, "/bin/sh", "-c", "ls -A /proc; id -u", before=mask)
    assert report[1] is False
    assert (code, said) == (0, "1000\n")


def test_a_container_that_forbids_namespaces_is_named() -> None:
    code, report, said, _ = launch(HOME, "/bin/true", before=_forbidding("unshare"))
    assert code == 70
    assert "seccomp profile forbids namespaces" in report
    assert said == ""


def test_a_container_that_forbids_mounts_is_named(processes: RealProcesses) -> None:
    for call in ("mount", "open_tree", "pivot_root"):
        _, report, said, _ = launch(HOME, "/bin/true", before=_forbidding(call))
        assert f"seccomp profile forbids mounts ({call}" in report
        assert said == ""


def test_a_kernel_without_landlock_is_told(processes: RealProcesses) -> None:
    code, report, _, _ = launch(HOME, "/bin/true", before=_forbidding("landlock_create_ruleset"))
    assert (code, report) == (0, [0, True])


def test_limits_that_the_node_itself_has_stay(processes: RealProcesses) -> None:
    few = ("sh", "-c", 'ulimit -n 99 && exec "$@"', "sh")
    code, report, said, _ = launch(HOME, "/bin/sh", "-c", "ulimit -n", before=few)
    assert (code, said) == (0, "99\n"), report


@pytest.mark.parametrize(
    ("release", "enough"),
    [("6.1.0-18-amd64", True), ("5.14.0-427.el9", True), ("5.10.0", False), ("6.9+", True), ("4.18.0-513.el8", False)],
)
def test_a_kernel_that_is_too_old_is_named(monkeypatch: pytest.MonkeyPatch, release: str, enough: bool) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(release=release))
    if enough:
        obstacles.check_kernel()
    else:
        with pytest.raises(obstacles.Missing, match=f"this kernel is Linux {release}, and the sandbox needs 5.14"):
            obstacles.check_kernel()


def test_the_launcher_loads_nothing_heavy() -> None:
    code = "import sys; sys.path.append(sys.argv[1]); import p2pcdn.sandbox.launcher; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(HOME)], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "p2pcdn.sandbox.root" in loaded
    assert not loaded & {"trio", "typing", "dataclasses", "pathlib", "subprocess", "socket", "enum", "json", "re"}


def _forbidding(call: str) -> tuple[str, ...]:
    """A command that runs another under a filter that refuses one call, as a container's profile would."""
    code = (
        "import os, sys; sys.path.append(sys.argv[1])\n"
        "from p2pcdn.sandbox.filter import Denied, seccomp_filter\n"
        "from p2pcdn.sandbox import kernel\n"
        "kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)\n"
        "kernel.load_filter(seccomp_filter(os.uname().machine, [Denied(sys.argv[2])]))\n"
        "os.execv(sys.argv[3], sys.argv[3:])\n"
    )
    return (sys.executable, "-I", "-S", "-c", code, str(HOME), call)
