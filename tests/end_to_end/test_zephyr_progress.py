"""What a person at a terminal sees while a command works: what is going on, and at the end none of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.wheels import make_wheel
from tests.end_to_end.conftest import StartNode, StartUpstream
from tests.end_to_end.repository import source_files
from tests.end_to_end.test_zephyr import Project


def seen_by(project: Project, *words: str) -> list[str]:
    """What is drawn over, in order, where stderr is a terminal."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "p2pcdn_shim.zephyr", *words]
    with subprocess.Popen(
        command, cwd=project.directory, env=project.environment(), stdout=subprocess.DEVNULL, stderr=theirs
    ) as running:
        os.close(theirs)
        told = b""
        try:
            while piece := os.read(ours, 4096):
                told += piece
        except OSError:
            pass  # Linux says so where the other end is closed
        finally:
            os.close(ours)
    assert running.returncode == 0, told.decode()
    # What ends with a line's end was said, and stays.
    return [line for line in told.decode().split("\r\x1b[K") if line and "\n" not in line]


@pytest.fixture
def project(tmp_path: Path, start_node: StartNode, start_upstream: StartUpstream) -> Project:
    made = Project(tmp_path / "project", start_node(start_upstream([make_wheel("demo-lib")])))
    (library := made.file("library")).mkdir()
    for name, text in source_files("demo-built", "1.0").items():
        (library / name).write_text(text)
    made.write(["demo-lib", f"demo-built @ {library.as_uri()}"])
    return made


def test_a_terminal_sees_what_is_resolved_fetched_and_built(project: Project) -> None:
    seen = seen_by(project, "sync")
    assert seen[0] == "Resolving"
    assert "Building demo-built" in seen
    project.write(["demo-lib"])
    assert seen_by(project, "sync") == ["Resolving"]  # all is in the store
    assert seen_by(project, "sync") == []


def test_a_terminal_sees_that_a_name_is_looked_for(project: Project) -> None:
    project.write([])
    assert seen_by(project, "add", "./library")[:2] == ["Looking at library", "Resolving"]


def test_a_terminal_sees_that_a_project_is_built_and_its_build_asked(project: Project) -> None:
    for name, text in source_files("demo", "1.0").items():
        project.file(name).write_text(text)
    assert seen_by(project, "build", "--wheel")[0] == "Building project"
    assert seen_by(project, "lock")[:2] == ["Asking the build of project", "Resolving"]
