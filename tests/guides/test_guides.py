"""The guides for newcomers, typed along: each command runs, and prints what the guide says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="pip install -e '.[test]'")
pytest.importorskip("check_jsonschema", reason="pip install -e '.[test]'")

from p2pcdn_shim.zephyr.commands import COMMANDS  # noqa: E402
from tests.bench.node import RunningNode  # noqa: E402
from tests.bench.upstream import FaultyUpstream, Style  # noqa: E402
from tests.bench.wheels import real_wheels  # noqa: E402
from tests.guides import walk  # noqa: E402

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
WALKS = sorted(path for path in GUIDES.glob("*.md") if path.name not in ("README.md", "ci.md"))
SCHEMAS = {
    "github-actions.yml": ["--builtin-schema", "vendor.github-workflows"],
    "gitlab-ci.yml": ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"],
}
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
PROJECT = """\
[project]
name = "weather"
version = "1"
requires-python = ">=3.11"
dependencies = ["requests"]
[dependency-groups]
dev = ["pytest"]
"""


@pytest.fixture(scope="module")
def index() -> Iterator[FaultyUpstream]:
    """Real wheels; where those cannot be had, made ones of the same names."""
    with FaultyUpstream(real_wheels().files, Style(other_host=False)) as running:
        yield running


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory, index: FaultyUpstream) -> Iterator[dict[str, str]]:
    """The variables of somebody who has zephyr on the PATH and a node that runs."""
    home = tmp_path_factory.mktemp("user")
    programs = home / "bin"
    programs.mkdir()
    for name, module in (("zephyr", "p2pcdn_shim.zephyr"), ("p2pcdn", "p2pcdn_daemon")):
        (programs / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m {module} "$@"\n')
        (programs / name).chmod(0o755)
    with RunningNode(home / "node", upstreams=[index]) as node:
        yield node.variables() | {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(home),
            "P2PCDN_CONTROL_SOCKET": str(node.control_socket),
            "ZEPHYR_CACHE_DIR": str(home / "zephyr"),
            "ZEPHYR_PYTHON": sys.executable,
            # One lock for twenty platforms is tested elsewhere.
            "ZEPHYR_ENVIRONMENTS": f"sys_platform == 'linux' and python_version == '{PYTHON}'",
        }


@pytest.mark.parametrize("guide", WALKS, ids=lambda path: path.stem)
def test_a_guide_can_be_typed_along(guide: Path, tmp_path: Path, user: dict[str, str]) -> None:
    assert walk.walk(guide, tmp_path, user) >= 3


@pytest.mark.slow
def test_the_recipes_of_ci_run_the_tests_of_a_project(
    tmp_path: Path, user: dict[str, str], index: FaultyUpstream
) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "test_weather.py").write_text("import requests\n\ndef test_it_rains():\n    assert requests\n")
    walk.run("zephyr lock", tmp_path, user)
    job = {name: value for name, value in user.items() if name != "P2PCDN_CONTROL_SOCKET"}
    job |= {"ZEPHYR_NO_NODE": "1", "P2PCDN_STORE": str(tmp_path / ".p2pcdn-store"), "P2PCDN_UPSTREAM": index.url}
    index.forget()
    for name, commands in recipes().items():
        said = [walk.run(one, tmp_path, job) for one in commands if not installs_zephyr(one)]
        assert "1 passed" in said[-1] or real_wheels().why_made, name
        # The next job begins on another machine, with the store and nothing else.
        walk.run("rm -rf .venv .zephyr", tmp_path, job)
    assert len(index.file_gets("*requests*")) == 1, "a store that is kept between jobs is asked first"


def test_all_recipes_say_the_same() -> None:
    ours = [[one for one in commands if not installs_zephyr(one)] for commands in recipes().values()]
    short = [[re.sub(r" --junitxml=\S+", "", one) for one in commands] for commands in ours]
    assert short == [["zephyr lock --check", "zephyr sync --frozen", "zephyr run -- python -m pytest"]] * 3
    assert all(sum(map(installs_zephyr, commands)) == 1 for commands in recipes().values())


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_recipe_fits_the_schema_of_its_system(name: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", *SCHEMAS[name], str(GUIDES / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_jenkinsfile_closes_what_it_opens() -> None:
    text = (GUIDES / "Jenkinsfile").read_text(encoding="utf-8")
    bare = re.sub(r"'[^'\n]*'|\"[^\"\n]*\"|//[^\n]*", "", text)
    depth = [0]
    for letter in bare:
        depth.append(depth[-1] + (letter == "{") - (letter == "}"))
    assert min(depth) == 0 == depth[-1]
    assert len(walk.commands_of_jenkinsfile(text)) == bare.count("sh ")


def test_every_command_that_a_table_names_is_there() -> None:
    for guide in GUIDES.glob("*.md"):
        for said in re.findall(r"`zephyr ([a-z-]+)", guide.read_text(encoding="utf-8")):
            assert said in COMMANDS, f"{guide.name}: zephyr {said}"


def test_what_a_guide_says_that_is_printed_is_looked_for(tmp_path: Path, user: dict[str, str]) -> None:
    guide = tmp_path / "guide.md"
    guide.write_text("```bash\necho one\n```\n```text\ntwo\n```\n")
    with pytest.raises(AssertionError, match="two"):
        walk.walk(guide, tmp_path, user)
    guide.write_text("```bash\nfalse\necho one\n```\n")
    with pytest.raises(AssertionError, match="exit code 1"):
        walk.walk(guide, tmp_path, user)


def recipes() -> dict[str, list[str]]:
    def load(name: str) -> dict[str, Any]:
        return dict(yaml.safe_load((GUIDES / name).read_text(encoding="utf-8")))

    jenkins = (GUIDES / "Jenkinsfile").read_text(encoding="utf-8")
    return {
        "github": walk.commands_of_steps(load("github-actions.yml")),
        "gitlab": walk.commands_of_jobs(load("gitlab-ci.yml")),
        "jenkins": walk.commands_of_jenkinsfile(jenkins),
    }


def installs_zephyr(command: str) -> bool:
    """What README's first line does, from the index: that is tested there."""
    return "ZEPHYR_PACKAGE" in command
