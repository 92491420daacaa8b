"""How these tests run `p2pcdn`: as a process, with a home of its own and nothing of this machine's configuration."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-c", "from p2pcdn_daemon.cli import main; main()")
# A command that hangs fails its test; two busy cores get patience.
TIME_S_MAX = 60


def environment(home: Path, **more: str) -> dict[str, str]:
    """A home without configuration, in which no default socket of this machine is met."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "RUNTIME_DIRECTORY": str(home / "run"),
        "P2PCDN_CONFIG": os.devnull,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "daemon")]),
        "PIP_CONFIG_FILE": os.devnull,
        "LANG": "C.UTF-8",
        "P2PCDN_DEBUG": "",
        **more,
    }


def p2pcdn(*arguments: str, home: Path, variables: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs one command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(home, **(variables or {})),
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIME_S_MAX,
    )


def assert_one_sentence(run: subprocess.CompletedProcess[str]) -> None:
    """Bad input: exit code 2 and one sentence on stderr."""
    assert run.returncode == 2, (run.returncode, run.stdout, run.stderr)
    lines = run.stderr.splitlines()
    assert len(lines) == 1, run.stderr
    assert lines[0].startswith("p2pcdn: ")
    assert lines[0].endswith(".")
