"""`zephyr run` with a real node: brought to the lock first, with others laid over it; scripts of their own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.node import RunningNode
from tests.bench.upstream import FaultyUpstream
from tests.bench.wheels import backend_of, make_wheel
from tests.end_to_end.conftest import StartNode, StartUpstream
from tests.end_to_end.test_zephyr import Project

LIB, NEW_LIB = make_wheel("demo-lib"), make_wheel("demo-lib", "2.0")
TOOL = make_wheel("demo-tool", requires=["demo-lib"])
NEEDS_NEW = make_wheel("demo-new", requires=["demo-lib>=2"])
SHOW = (
    "import importlib, sys\n"
    "for name in sys.argv[1:]:\n"
    "    try: print(name, importlib.import_module(name).version)\n"
    "    except ImportError: print(name, None)\n"
)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    with (
        FaultyUpstream([LIB, NEW_LIB, TOOL, NEEDS_NEW]) as upstream,
        RunningNode(tmp_path_factory.mktemp("node"), upstreams=[upstream]) as running,
    ):
        yield running


@pytest.fixture
def project(tmp_path: Path, node: RunningNode) -> Project:
    made = Project(tmp_path / "project", node)
    made.write(["demo-lib<2"])
    made.file("show.py").write_text(SHOW)
    return made


def run(project: Project, *words: str, environ: dict[str, str] | None = None) -> tuple[str, str]:
    """stdout and stderr of a run that does well."""
    done = subprocess.run(
        [sys.executable, "-m", "p2pcdn_shim.zephyr", "run", *words],
        cwd=project.directory, env=project.environment() | (environ or {}), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def nobody(tmp_path: Path) -> dict[str, str]:
    """The variables of somebody for whom no node runs, nor can be started."""
    return {"P2PCDN_CONTROL_SOCKET": str(tmp_path / "nobody.sock"), "PATH": "/usr/bin:/bin", "P2PCDN_HOME": "/dev/null"}


def layers_of(project: Project) -> list[Path]:
    return sorted(mark.parent for mark in (project.directory.parent / "cache" / "layers").glob("*/.layer"))


def test_the_environment_follows_the_lock_before_a_command_runs_in_it(project: Project) -> None:
    assert "no environment" in project.zephyr("run", "show.py", code=1)  # there is no lock to follow
    project.zephyr("lock")
    said, told = run(project, "show.py", "demo_lib", "demo_tool")
    assert said == "demo_lib 1.0\ndemo_tool None\n"
    assert "+ demo-lib 1.0" in told
    assert run(project, "show.py", "demo_lib") == ("demo_lib 1.0\n", "")
    project.write(["demo-lib<2", "demo-tool"])
    assert run(project, "--no-sync", "show.py", "demo_tool") == ("demo_tool None\n", "")
    said, told = run(project, "show.py", "demo_tool")
    assert said == "demo_tool 1.0\n"
    assert "demo-tool" in project.lock
    os.utime(project.file("pyproject.toml"))  # an editor saved it as it was
    assert run(project, "show.py", "demo_tool") == ("demo_tool 1.0\n", "")


def test_what_was_done_to_the_environment_since_the_lock_stays(project: Project) -> None:
    project.zephyr("sync")
    project.zephyr("install", "demo-tool")
    assert run(project, "show.py", "demo_tool") == ("demo_tool 1.0\n", "")
    project.zephyr("rollback")
    assert run(project, "show.py", "demo_tool") == ("demo_tool None\n", "")


def test_extras_are_chosen_as_for_a_sync(project: Project) -> None:
    project.write(["demo-lib<2"], '[project.optional-dependencies]\nmore = ["demo-tool"]\n')
    project.zephyr("sync")
    assert run(project, "--extra", "more", "show.py", "demo_tool")[0] == "demo_tool 1.0\n"
    assert "has no extra 'nonsuch'" in project.zephyr("run", "--extra", "nonsuch", "show.py", code=2)
    assert "--extra chooses of" in project.zephyr("run", "--no-sync", "--extra", "more", "show.py", code=2)
    project.write(["demo-lib"])
    assert "does not belong to the project" in project.zephyr("run", "--locked", "show.py", code=1)


def test_packages_are_laid_over_the_environment_and_nothing_of_the_project_changes(
    project: Project, tmp_path: Path
) -> None:
    project.zephyr("sync")
    before = project.file("pyproject.toml").read_text(), project.lock, project.installed()
    said, told = run(project, "--with", "demo-tool", "show.py", "demo_lib", "demo_tool")
    assert said == "demo_lib 1.0\ndemo_tool 1.0\n"
    assert told == ""  # the project's version of demo-lib did
    assert (project.file("pyproject.toml").read_text(), project.lock, project.installed()) == before
    again = run(project, "--with", "demo-tool", "show.py", "demo_tool", environ=nobody(tmp_path))
    assert again == ("demo_tool 1.0\n", "")  # and no node was asked
    assert len(layers_of(project)) == 1
    shown = run(project, "--with", "demo-tool", "--", "printenv", "VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT")[0]
    assert shown == f"{layers_of(project)[0]}\nproject\n"


def test_what_is_laid_over_stands_in_front_and_that_is_said(project: Project) -> None:
    project.zephyr("sync")
    said, told = run(project, "--with", "demo-lib>=1,<3,demo-new", "show.py", "demo_lib", "demo_new")
    assert said == "demo_lib 2.0\ndemo_new 1.0\n"
    assert "demo-lib 2.0 stands in front of 1.0, for this run." in told
    assert project.installed() == {"demo-lib": "1.0"}


def test_scripts_of_the_environment_below_see_what_is_laid_over_it(project: Project) -> None:
    project.zephyr("sync")
    for name, head in {
        "short": f"#!{project.file('.venv/bin/python')} -s\n",
        "long": f"#!/bin/sh\n'''exec' '{project.file('.venv/bin/python3')}' \"$0\" \"$@\"\n' '''\n",
    }.items():
        project.file(f".venv/bin/{name}").write_text(f"{head}import demo_tool, demo_lib, sys\nprint(sys.argv[1:])\n")
        project.file(f".venv/bin/{name}").chmod(0o755)
    for name in ("short", "long"):
        assert run(project, "--with", "demo-tool", "--", name, "a b")[0] == "['a b']\n"


def test_another_list_another_lock_or_another_environment_is_another_layer(project: Project) -> None:
    project.zephyr("sync")
    run(project, "--with", "demo-tool", "show.py")
    run(project, "--with", "demo-tool", "--with", "demo-new", "show.py")
    assert len(layers_of(project)) == 2
    project.write(["demo-lib"])
    assert run(project, "--with", "demo-tool", "show.py", "demo_lib")[0] == "demo_lib 1.0\n"  # the lock had it
    project.zephyr("update")
    assert run(project, "--with", "demo-tool", "show.py", "demo_lib")[0] == "demo_lib 2.0\n"
    assert len(layers_of(project)) == 3


def test_what_cannot_be_had_leaves_no_layer_behind(project: Project) -> None:
    project.zephyr("sync")
    assert "nonsuch" in project.zephyr("run", "--with", "demo-nonsuch", "show.py", code=1)
    assert "'a b' is no requirement" in project.zephyr("run", "--with", "a b", "show.py", code=2)
    assert "--with names no package" in project.zephyr("run", "--with", "rich", "--with", " ,", "show.py", code=2)
    assert "neither does" in project.zephyr("run", "--upgrade", "show.py", code=2)
    assert list((project.directory.parent / "cache" / "layers").glob("[0-9a-f]*")) == []


def test_many_who_want_the_same_at_once_get_it(project: Project) -> None:
    project.zephyr("sync")
    for number in range(3):
        words = ("run", "--quiet", "--with", f"demo-tool,demo-lib<{number + 3}", "show.py", "demo_tool")
        for running in [project.start(*words) for _ in range(4)]:
            with running:
                assert running.communicate(timeout=120) == ("demo_tool 1.0\n", "")
    assert len(layers_of(project)) == 3


def test_a_layer_whose_interpreter_is_gone_is_made_anew(project: Project) -> None:
    project.zephyr("sync")
    for _ in range(2):
        assert run(project, "--with", "demo-tool", "show.py", "demo_tool") == ("demo_tool 1.0\n", "")
        (layers_of(project)[0] / "bin" / "python").unlink()


def test_no_password_of_a_url_lies_in_the_cache(
    tmp_path: Path, start_node: StartNode, start_upstream: StartUpstream
) -> None:
    upstream = start_upstream([LIB, TOOL])
    project = Project(tmp_path / "project", start_node(upstream))
    project.write([])
    project.zephyr("sync")
    url = upstream.file_url(TOOL.filename).replace("://", "://me:hush-hush@")
    assert run(project, "--with", f"demo-tool @ {url}", "--", "python", "-c", "import demo_tool") == ("", "")
    files = [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]
    assert layers_of(project)[0] / ".layer" in files
    assert not [file for file in files if b"hush-hush" in file.read_bytes()]


def test_without_a_project_there_is_an_environment_of_these_packages_alone(project: Project, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    words = ("--directory", str(elsewhere), "--with", "demo-lib==1.0", "show.py", "demo_lib")
    assert run(project, *words)[0] == "demo_lib 1.0\n"
    words = ("--directory", str(elsewhere), "--with", "demo-lib", "show.py", "demo_lib")
    assert run(project, *words)[0] == "demo_lib 2.0\n"


def test_a_directory_is_looked_at_every_time(project: Project) -> None:
    project.zephyr("sync")
    info = 'name = "demo-local"\nversion = "{}"\n'
    local = project.file("local")
    (local / "demo_local").mkdir(parents=True)
    backend = "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n"
    for version in ("1.0", "2.0"):
        (local / "backend.py").write_text(backend_of(make_wheel("demo-local", version)))
        (local / "pyproject.toml").write_text(f"{backend}[project]\n{info.format(version)}")
        for words in (("--with", "./local"), ("--directory", "local", "--venv", "../.venv", "--with", ".")):
            assert run(project, *words, "show.py", "demo_local")[0] == f"demo_local {version}\n"


SCRIPT = """# /// script
# requires-python = ">=3.9"
# dependencies = [
#   "demo-tool",
# ]
# [tool.zephyr]
# constraints = ["demo-lib<2"]
# ///
import demo_lib, demo_tool, sys
print(demo_lib.version, demo_tool.version, sys.argv[1:])
"""


def test_a_script_gets_what_it_says_that_it_needs(project: Project, tmp_path: Path) -> None:
    project.write(["demo-new"])
    project.zephyr("lock")
    project.file("tool.py").write_text(SCRIPT)
    assert run(project, "tool.py", "--with", "x") == ("1.0 1.0 ['--with', 'x']\n", "")
    assert not project.file(".venv").exists()  # the project has no part in it
    assert run(project, "tool.py", environ=nobody(tmp_path)) == ("1.0 1.0 []\n", "")
    assert "from_with" not in run(project, "--with", "demo-lib==1.0", "tool.py")[0]
    assert "--venv cannot name its environment" in project.zephyr("run", "--venv", "./x", "tool.py", code=2)
    assert "it needs" in project.zephyr("run", "--extra", "x", "tool.py", code=2)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('requires-python = ">=3.9"', 'requires-python = "<3.9"', "No interpreter fits Python <3.9|needs Python <3.9"),
        ('requires-python = ">=3.9"', "requires-python = 3", "line 2: requires-python is not a text"),
        ('requires-python = ">=3.9"', 'requires-python = "new"', "requires-python: "),
        ('"demo-tool",', "1,", "line 3: dependencies is not a list of texts"),
        ('"demo-tool",', '"demo-tool,', "tool.py is not TOML.*line 4"),
        ('"demo-tool",', '"demo tool",', "'demo tool' is no requirement"),
        ("# ///\nimport", "# ///\n\n# /// script\n# x = 1\n# ///\nimport", "has 2 blocks"),
        ('constraints = ["demo-lib<2"]', "constraints = 1", "line 7"),
    ],
)
def test_a_script_that_cannot_be_meant_is_told(project: Project, old: str, new: str, what: str) -> None:
    assert old in SCRIPT
    project.file("tool.py").write_text(SCRIPT.replace(old, new))
    done = subprocess.run(
        [sys.executable, "-m", "p2pcdn_shim.zephyr", "run", "--python", sys.executable, "tool.py"],
        cwd=project.directory, env=project.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (1, 2)
    assert re.search(what, done.stderr), done.stderr
    assert "Traceback" not in done.stderr


def test_another_python_gets_an_environment_of_its_own_beside_the_projects(project: Project) -> None:
    project.zephyr("sync")
    there = [one["version"] for one in json.loads(project.zephyr("python", "list", "--json"))]
    others = [one for one in there if one.split(".")[:2] != [*map(str, sys.version_info[:2])] and one[:4] != "3.8."]
    if not others:
        pytest.skip("this machine has no other Python")
    code = "import sys, demo_lib; print(sys.version.split()[0], demo_lib.version, sys.prefix)"
    said, _ = run(project, "--python", others[0], "--", "python", "-c", code)
    own = project.file(f".zephyr/pythons/cpython-{others[0]}")
    assert said == f"{others[0]} 1.0 {own}\n"
    assert run(project, "--python", others[0], "--", "python", "-c", code) == (said, "")
    assert str(project.file(".venv")) in run(project, "--", "python", "-c", code)[0]
    said, _ = run(
        project, "--python", others[0], "--with", "demo-tool", "--", "python", "-c", f"import demo_tool; {code}"
    )
    assert said.startswith(f"{others[0]} 1.0 ")
