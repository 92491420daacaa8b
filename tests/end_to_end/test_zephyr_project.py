"""What somebody who comes from uv or pip types at a project, and two who type at once."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from p2pcdn.envs.lock_file import LockFile
from tests.bench.node import RunningNode
from tests.bench.patience import until
from tests.bench.upstream import FaultyUpstream
from tests.bench.wheels import make_wheel
from tests.end_to_end.test_zephyr import Project

LIB, TOOL = make_wheel("demo-lib"), make_wheel("demo-tool")
APP = make_wheel("demo-app", requires=["demo-lib"])


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    with (
        FaultyUpstream([LIB, TOOL, APP]) as upstream,
        RunningNode(tmp_path_factory.mktemp("node"), upstreams=[upstream]) as running,
    ):
        yield running


@pytest.fixture
def project(tmp_path: Path, node: RunningNode) -> Project:
    made = Project(tmp_path / "project", node)
    made.write([])
    return made


def written(project: Project) -> dict[str, Any]:
    return tomllib.loads(project.file("pyproject.toml").read_text())


def test_two_that_change_a_project_at_once_both_do(project: Project) -> None:
    with ThreadPoolExecutor() as both:
        list(both.map(lambda name: project.zephyr("add", name), ("demo-app", "demo-tool")))
    assert written(project)["project"]["dependencies"] == ["demo-app>=1.0", "demo-tool>=1.0"]
    assert set(project.installed()) == {"demo-app", "demo-lib", "demo-tool"}


@pytest.mark.parametrize("words", [("sync",), ("import", "requirements.txt")])
def test_who_would_write_the_project_or_its_lock_waits_and_goes_on_from_there(
    project: Project, words: tuple[str, ...]
) -> None:
    project.file("requirements.txt").write_text("demo-lib\n")
    project.file(".zephyr").mkdir()
    other = LockFile(str(project.file(".zephyr/project.lock")), "zephyr add", pytest.fail)
    with project.start(*words) as waiting:
        assert waiting.stderr is not None
        assert waiting.stderr.readline().endswith("is changing this project; waiting for it.\n")
        project.write(["demo-tool"])
        other.release()
        told = waiting.communicate(timeout=120)
    assert waiting.returncode == 0, told
    project.zephyr("sync")
    assert project.installed().keys() == {"sync": {"demo-tool"}, "import": {"demo-tool", "demo-lib"}}[words[0]]


def test_two_that_install_at_once_both_do(project: Project) -> None:
    with ThreadPoolExecutor() as both:
        list(both.map(lambda name: project.zephyr("install", name), ("demo-app", "demo-tool")))
    assert set(project.installed()) == {"demo-app", "demo-lib", "demo-tool"}
    with ThreadPoolExecutor() as both:
        list(both.map(lambda name: project.zephyr("uninstall", name), ("demo-app", "demo-tool")))
    assert project.installed() == {}


def test_former_states_are_kept_so_many_and_go_by_themselves(project: Project) -> None:
    project.write([], "[tool.zephyr]\ngenerations = 2\n")
    for name in ("demo-lib", "demo-tool", "demo-app"):
        project.zephyr("install", name)
    project.zephyr("uninstall", "demo-app")
    state = project.file(".zephyr/.venv")
    until(lambda: not list(state.glob("trash-*")), "what is out of the way is removed")
    until(lambda: len(list(state.glob("generations/*"))) == 2, "the oldest go")
    assert set(project.installed()) == {"demo-lib", "demo-tool"}
    project.zephyr("rollback")
    assert set(project.installed()) == {"demo-app", "demo-lib", "demo-tool"}


def test_a_project_that_is_named_twice_is_a_question(project: Project) -> None:
    before = project.file("pyproject.toml").read_text()
    assert "demo_lib is named twice" in project.zephyr("add", "demo-lib<1", "demo_lib>=1", code=2)
    assert project.file("pyproject.toml").read_text() == before
    project.zephyr("add", "--no-sync", "demo-lib ; sys_platform == 'linux'", "demo-lib<9 ; sys_platform != 'linux'")
    assert len(written(project)["project"]["dependencies"]) == 2


def test_who_needs_a_package_is_a_tree_too(project: Project) -> None:
    project.write(["demo-app", "demo-tool"])
    project.zephyr("lock")
    assert project.zephyr("tree", "--invert").splitlines() == ["demo-lib 1.0", "└── demo-app 1.0", "demo-tool 1.0"]
    assert project.zephyr("tree", "--invert", "demo-lib", "--depth", "0").splitlines() == ["demo-lib 1.0"]
    assert project.zephyr("tree", "demo_app").splitlines() == ["demo-app 1.0", "└── demo-lib 1.0"]
    assert "has no nonsuch" in project.zephyr("tree", "nonsuch", code=2)


def test_groups_come_all_or_without_one(project: Project) -> None:
    project.write([], '[dependency-groups]\ndev = ["demo-lib"]\ndocs = ["demo-tool"]\n')
    project.zephyr("sync", "--all-groups")
    assert set(project.installed()) == {"demo-lib", "demo-tool"}
    project.zephyr("sync", "--all-groups", "--no-group", "dev")
    assert set(project.installed()) == {"demo-tool"}
    project.zephyr("sync", "--no-group", "dev")
    assert set(project.installed()) == set()
    assert "has no dependency group 'nonsuch'" in project.zephyr("sync", "--no-group", "nonsuch", code=2)


def test_a_lock_that_is_none_and_a_package_that_is_not_in_it_are_told(project: Project) -> None:
    project.write(["demo-lib"])
    project.zephyr("lock")
    assert "has no nonsuch" in project.zephyr("lock", "--upgrade-package", "nonsuch", code=2)
    project.zephyr("lock", "--check")
    project.file("pylock.toml").write_text(f"{project.lock}\nnonsense = [")
    assert "is not TOML" in project.zephyr("lock", "--check", code=1)


def test_a_script_is_run_by_the_python_of_the_environment(project: Project) -> None:
    project.write(["demo-lib"])
    project.zephyr("sync")
    project.file("script.py").write_text("import demo_lib, sys\nprint(sys.argv[1:], sys.prefix)\n")
    assert project.zephyr("run", "script.py", "-v", "x").split() == ["['-v',", "'x']", str(project.file(".venv"))]
