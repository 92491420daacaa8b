"""Environments that are kept by what is in them: which stay, and what stands in one word."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from p2pcdn_shim.zephyr.environment import layers, venv
from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.interpreters.probes import Probe
from p2pcdn_shim.zephyr.machine import platforms
from p2pcdn_shim.zephyr.project.inline_metadata import read_script
from p2pcdn_shim.zephyr.project.requirement_list import split


def made(directory: Path, interpreter: Probe, name: str, used_ns: int) -> Path:
    place = venv.create(directory / name, interpreter).path
    (place / layers.MARK).write_text("demo-tool\n")
    os.utime(place / layers.MARK, ns=(used_ns, used_ns))
    return place


def test_the_layer_that_was_used_the_longest_ago_goes_unless_somebody_runs_in_it(
    interpreter: Probe, tmp_path: Path
) -> None:
    old, older, oldest = (made(tmp_path, interpreter, name, at) for name, at in (("a", 3), ("b", 2), ("c", 1)))
    code = (
        "import sys, pathlib, os\n"
        "from p2pcdn_shim.zephyr.environment import layers\n"
        "mark = pathlib.Path(sys.argv[1]) / layers.MARK\n"
        "stamp = mark.stat()\n"
        "assert layers.hold(mark.parent)\n"
        "os.utime(mark, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))\n"
        "os.execvp('sh', ['sh', '-c', 'echo on; read line'])"
    )
    held = subprocess.Popen([sys.executable, "-c", code, oldest], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with held:
        assert held.stdout is not None
        assert held.stdout.readline() == b"on\n"
        layers.sweep(tmp_path, 1)
        assert [one.exists() for one in (old, older, oldest)] == [True, False, True]
        held.communicate(b"\n", timeout=60)
    layers.sweep(tmp_path, 1)
    assert [one.exists() for one in (old, oldest)] == [True, False]


def test_a_layer_that_was_never_finished_is_none(interpreter: Probe, tmp_path: Path) -> None:
    place = venv.create(tmp_path / "half", interpreter).path
    assert not layers.hold(place)
    assert not layers.hold(tmp_path / "nowhere")


def test_what_nobody_finished_goes_and_what_somebody_makes_stays(interpreter: Probe, tmp_path: Path) -> None:
    half, making = tmp_path / ("a" * 32), tmp_path / ("b" * 32)
    for place in (half, making):
        venv.create(place, interpreter)
    killed = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], stdout=subprocess.PIPE, check=True)
    left = tmp_path / f".{'c' * 32}.new-{int(killed.stdout)}"
    left.mkdir()
    with layers.turn(making, "zephyr run", print):
        layers.sweep(tmp_path)
    assert [place.exists() for place in (half, making, left)] == [False, True, False]


def test_a_layer_whose_interpreter_is_gone_is_none(interpreter: Probe, tmp_path: Path) -> None:
    place = made(tmp_path, interpreter, "a", 1)
    assert layers.hold(place)
    platforms.python_of(place).unlink()
    assert not layers.hold(place)


@pytest.mark.parametrize(
    ("requirement", "is_place"),
    [
        (".", True),
        ("../other", True),
        ("./local[more]", True),
        ("~/a-1.0-py3-none-any.whl", True),
        ("a @ file:///home/me/a", True),
        ("git+file:///home/me/a", True),
        ("a>=1,<2; sys_platform != 'win32'", False),
        ("a @ https://host.example/a.whl", False),
        ("git+ssh://git@host.example/a.git", False),
    ],
)
def test_what_lies_on_this_machine_may_change_under_the_same_words(requirement: str, is_place: bool) -> None:
    assert layers.is_place(requirement) == is_place


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("flask", ["flask"]),
        ("flask, numpy>=1,<2 ,pytest", ["flask", "numpy>=1,<2", "pytest"]),
        ("flask[async,dotenv],rich", ["flask[async,dotenv]", "rich"]),
        ("numpy~=1.0,~=1.2,./local,~/other", ["numpy~=1.0,~=1.2", "./local", "~/other"]),
        ("a,", ["a"]),
        ("thing @ https://host.example/a,b.whl", ["thing @ https://host.example/a,b.whl"]),
        ("a; sys_platform in 'linux,darwin'", ["a; sys_platform in 'linux,darwin'"]),
    ],
)
def test_commas_between_requirements_are_told_from_those_within_one(text: str, found: list[str]) -> None:
    assert split(text) == found


def test_a_script_that_says_nothing_is_one_like_any_other(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    assert read_script(file) is None
    for content in (b"print()", b"\xff", b'"""\n# /// script\n"""', b"# /// other\n# x = 1\n# ///\n"):
        file.write_bytes(content)
        assert read_script(file) is None


def test_a_script_is_read_by_the_standards_own_example(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_bytes(
        b'#!/usr/bin/env python\r\n# /// script\r\n# requires-python = ">=3.11"\r\n# dependencies = [\r\n'
        b'#   "requests<3",\r\n#   "rich",\r\n# ]\r\n#\r\n# ///\r\nimport requests'
    )
    script = read_script(file)
    assert script is not None
    assert (script.requires_python, script.dependencies) == (">=3.11", ("requests<3", "rich"))
    assert script.toml.splitlines()[2] == 'requires-python = ">=3.11"'  # as line 3 of the file


def test_what_is_wrong_with_the_comment_is_not_said_of_the_script(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("# /// script\n# dependencies = [\n# ///\n")
    with pytest.raises(UsageError, match=r"The block `# /// script` of .*a\.py is not TOML: "):
        read_script(file)
