"""Locks that cross from tool to tool: `zephyr sync` installs of theirs what they would, and pdm what ours say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.clients import Tool, Workplace
from tests.bench.node import RunningNode
from tests.bench.upstream import FaultyUpstream
from tests.bench.wheels import make_wheel
from tests.end_to_end.conftest import tool_or_skip
from tests.end_to_end.test_zephyr import Project

pytestmark = pytest.mark.upstream
APP = make_wheel("demo-app", requires=["demo-lib", "demo-win; sys_platform == 'win32'"])
FILES = [APP, *map(make_wheel, ("demo-lib", "demo-win", "demo-speed", "demo-docs", "demo-dev"))]
OWN = {"demo-app", "demo-lib"}
GROUPS_AND_EXTRAS = """[project.optional-dependencies]
speed = ["demo-speed"]
[dependency-groups]
dev = ["demo-dev"]
docs = ["demo-docs"]
"""


@pytest.fixture(scope="module")
def index() -> Iterator[FaultyUpstream]:
    with FaultyUpstream(FILES) as upstream:
        yield upstream


@pytest.fixture
def project(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, index: FaultyUpstream) -> Iterator[Project]:
    with RunningNode(tmp_path_factory.mktemp("node"), upstreams=[index]) as node:
        made = Project(tmp_path / "project", node)
        pdms = f'[[tool.pdm.source]]\nname = "pypi"\nurl = "{index.url}"\nverify_ssl = false\n'
        made.write(["demo-app"], GROUPS_AND_EXTRAS + pdms)
        yield made


def run_with(tool: Tool, project: Project, *commands: list[str]) -> Workplace:
    user = Workplace(project.directory.parent / "user")
    for words in commands:
        done = user.run(tool.command, *words, cwd=project.directory)
        assert done.returncode == 0, done.stderr
    return user


def test_what_pdm_installs_by_default_is_installed(project: Project, pdm: Tool) -> None:
    """pdm calls what the project itself requires a group, and has it among the lock's default groups."""
    run_with(pdm, project, ["config", "--local", "lock.format", "pylock"], ["lock", "-q", "-G", ":all"])
    assert 'default-groups = ["default"]' in project.lock
    for words, more in (
        ((), {"demo-dev"}),
        (("--no-default-groups",), set[str]()),
        (("--no-dev", "--group", "docs", "--extra", "speed"), {"demo-docs", "demo-speed"}),
        (("--all-groups", "--all-extras"), {"demo-dev", "demo-docs", "demo-speed"}),
    ):
        project.zephyr("sync", *words)
        assert project.installed().keys() == OWN | more, words
    project.zephyr("sync", "--no-group", "default")
    assert project.installed().keys() == {"demo-dev"}


@pytest.mark.parametrize("name", ["uv", "pip-new"])
def test_a_lock_without_groups_is_all_that_there_is_to_install(
    project: Project, name: str, index: FaultyUpstream
) -> None:
    commands = {
        "uv": [["lock", "-q", "--default-index", index.url], ["export", "-q", "--frozen", "-o", "pylock.toml"]],
        "pip-new": [["lock", "-q", "--index-url", index.url, "demo-app", "-o", "pylock.toml"]],
    }
    run_with(tool_or_skip(name), project, *commands[name])
    written = OWN | ({"demo-dev"} if name == "uv" else set())  # uv exports the group dev unasked
    for words in ((), ("--no-default-groups",), ("--all-groups", "--all-extras")):
        project.zephyr("sync", "--no-project", *words)
        assert project.installed().keys() == written, words
    assert "The lock has no dependency group docs" in project.zephyr("sync", "--group", "docs", code=1)
    assert project.installed().keys() == written


def test_pdm_installs_a_lock_of_every_platform(project: Project, pdm: Tool) -> None:
    project.zephyr("lock")
    before = project.lock
    user = run_with(pdm, project, ["config", "--local", "lock.format", "pylock"], ["sync", "-q", "--no-self"])
    assert user.installed().keys() >= OWN | {"demo-dev"}
    assert project.lock == before
