"""What of an interpreter is shown to a build: all that it needs, and nobody's home directory."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from p2pcdn.build.interpreter import _outermost, describe
from p2pcdn_daemon.doors.processes import RealProcesses
from p2pcdn_daemon.doors.threads import TrioThreads

REAL = Path(os.path.realpath(sys.executable))


async def test_an_interpreter_says_who_it_is() -> None:
    told = await describe(RealProcesses(), TrioThreads(), Path(sys.executable))
    assert told.identity.startswith(f"{sys.implementation.name} {sys.version.split()[0]} ")
    assert told.base == REAL
    assert any(told.base.is_relative_to(tree) for tree in told.trees)


def test_trees_within_trees_are_shown_once(tmp_path: Path) -> None:
    (tmp_path / "prefix" / "lib" / "python3.11").mkdir(parents=True)
    paths = [str(tmp_path / "prefix" / "lib" / "python3.11"), str(tmp_path / "prefix"), "", str(tmp_path / "missing")]
    assert _outermost(paths) == (tmp_path / "prefix",)


def test_of_a_prefix_that_is_a_home_directory_only_the_interpreters_parts_are_shown(tmp_path: Path) -> None:
    for name in ("bin", "lib", ".ssh", "Documents"):
        (tmp_path / name).mkdir()
    assert _outermost([str(tmp_path), str(tmp_path / "lib")]) == (tmp_path / "bin", tmp_path / "lib")


def test_the_whole_machine_is_never_shown() -> None:
    assert Path("/") not in _outermost(["/"])
    assert Path("/home") not in _outermost(["/home"])
