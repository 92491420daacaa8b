"""How these tests run `zephyr`: as a process, with a home of its own and nothing of this machine's configuration."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-c", "from p2pcdn_shim.zephyr.cli import main; main()")
# A command that hangs fails its test; two busy cores get patience.
TIME_S_MAX = 60
# What hides a machine's interpreters: the tests say themselves what is on the PATH.
SYSTEM_PATH = os.pathsep.join(["/usr/bin", "/bin"])


def environment(home: Path, **more: str) -> dict[str, str]:
    """A home without configuration, caches of its own, and no node, no pyenv and no environment of this machine.

    A node that a command starts in it looks for no neighbours.
    """
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{SYSTEM_PATH}",
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "RUNTIME_DIRECTORY": str(home / "run"),
        "ZEPHYR_CACHE_DIR": str(home / "zephyr-cache"),
        "PYENV_ROOT": str(home / "no-pyenv"),
        "P2PCDN_CONFIG": os.devnull,
        "P2PCDN_NO_MDNS": "1",
        "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in (".", "daemon", "shim")),
        "PIP_CONFIG_FILE": os.devnull,
        "LANG": "C.UTF-8",
        "SHELL": "/bin/bash",
        **more,
    }


def zephyr(
    *words: str, home: Path, cwd: Path | None = None, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs one command to its end."""
    return subprocess.run(
        [*COMMAND, *words],
        env=environment(home, **(variables or {})),
        cwd=cwd or home,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIME_S_MAX,
    )


def assert_one_sentence(run: subprocess.CompletedProcess[str], code: int, stdout: str = "") -> str:
    """A command that failed: its exit code, one sentence on stderr, nothing else. Returns the sentence."""
    assert (run.returncode, run.stdout) == (code, stdout), (run.returncode, run.stdout, run.stderr)
    lines = run.stderr.splitlines()
    assert len(lines) == 1, run.stderr
    assert lines[0].startswith("zephyr: ")
    assert lines[0].endswith((".", "?")), lines[0]
    return lines[0].removeprefix("zephyr: ")
