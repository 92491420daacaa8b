"""Projects that are installed so that their sources stay in use: directories, and checkouts of repositories."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bench.node import RunningNode
from tests.bench.upstream import FaultyUpstream
from tests.bench.wheels import backend_of, make_wheel
from tests.end_to_end.repository import PLAIN, PYPROJECT, Repository
from tests.end_to_end.test_zephyr import BACKEND, Project

LIB = make_wheel("demo-lib")
# Who is root, as in a container, has no sandbox for an editable build.
BY_WORD = "[tool.zephyr]\nallow-unsandboxed-builds = true\n"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    with (
        FaultyUpstream([LIB]) as upstream,
        RunningNode(tmp_path_factory.mktemp("node"), upstreams=[upstream]) as running,
    ):
        yield running


@pytest.fixture
def project(tmp_path: Path, node: RunningNode) -> Project:
    made = Project(tmp_path / "project", node)
    made.write([], BY_WORD, name="shop")
    return made


def sources(value: str) -> dict[str, str]:
    return {
        "pyproject.toml": PYPROJECT,
        "backend.py": backend_of(make_wheel("demo", "1")) + BACKEND,
        "src/demo_own.py": f"value = {value!r}\n",
    }


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repository", "demo")
    (made.directory / "src").mkdir()
    return made


def commit(repository: Repository, value: str) -> str:
    return repository.commit("1", more=sources(value))


def value_in(project: Project) -> str:
    return project.run("-c", "import demo_own; print(demo_own.value)").strip()


def locked(project: Project) -> dict[str, Any]:
    return next(one for one in tomllib.loads(project.lock)["packages"] if one["name"] == "demo")


def settings(project: Project) -> dict[str, Any]:
    return dict(tomllib.loads(project.file("pyproject.toml").read_text())["tool"]["zephyr"])


def test_a_repository_is_checked_out_beside_the_project_and_its_sources_stay_in_use(
    project: Project, repository: Repository
) -> None:
    first = commit(repository, "one")
    said = project.zephyr("add", "-e", f"{repository.url}@main#egg=demo")
    assert f"demo is checked out in {project.file('.checkouts/demo')}, where you may work on it." in said
    assert settings(project)["editable"] == ["demo"]
    assert locked(project)["vcs"]["commit-id"] == first
    assert locked(project)["tool"] == {"zephyr": {"editable": True}}
    checkout = project.file(".checkouts/demo")
    assert (checkout / ".git/HEAD").read_text() == "ref: refs/heads/main\n"
    assert project.file(".checkouts/.gitignore").read_text() == "*\n"
    told = json.loads(next(project.file(".venv").rglob("demo-1.dist-info/direct_url.json")).read_text())
    assert told == {"url": checkout.as_uri(), "dir_info": {"editable": True}}
    assert f"-e git+{repository.directory.as_uri()}@{first}#egg=demo" in project.zephyr("freeze")
    (checkout / "src/demo_own.py").write_text("value = 'mine'\n")
    assert value_in(project) == "mine"
    said = project.zephyr("sync")
    assert "already" in said
    assert "checked out" not in said
    # A newer commit would throw that away.
    second = commit(repository, "two")
    before = project.file("pyproject.toml").read_text(), project.lock
    said = project.zephyr("update", "--no-sync", "demo")
    assert f"Changed demo from {first[:12]} to {second[:12]} in the lock." in said
    assert locked(project)["vcs"]["commit-id"] == second
    said = project.zephyr("sync", code=1)
    assert f"{checkout} has changes that are not committed; nothing of it was touched." in said
    assert value_in(project) == "mine"
    subprocess.run(
        ["git", "-C", checkout, "commit", "-qam", "mine"], check=True, env={**PLAIN, "PATH": "/usr/bin:/bin"}
    )
    assert "has commits that its repository does not have" in project.zephyr("sync", code=1)
    assert value_in(project) == "mine"
    # Back on the lock of before, those commits are on top of what is locked: nothing is in their way.
    project.file("pylock.toml").write_text(before[1])
    assert f"on top of the locked {first[:12]}" in project.zephyr("sync", "--frozen")
    assert f"{checkout} stays" in project.zephyr("remove", "demo")
    assert "editable" not in settings(project)
    assert project.installed() == {}
    assert (checkout / "src/demo_own.py").read_text() == "value = 'mine'\n"


def test_a_checkout_without_work_follows_its_lock(project: Project, repository: Repository) -> None:
    commit(repository, "one")
    project.zephyr("add", "-e", f"{repository.url}#egg=demo")
    assert value_in(project) == "one"
    commit(repository, "two")
    project.zephyr("update")
    assert value_in(project) == "two"
    assert project.file(".checkouts/demo/.git/HEAD").read_text() == "ref: refs/heads/main\n"


def test_a_directory_is_editable_in_lock_and_environment(project: Project, repository: Repository) -> None:
    commit(repository, "one")
    told = project.zephyr("add", "-e", "../repository", "demo-lib")
    assert f"whoever else works on this project needs it in {repository.directory}, too" in told
    assert locked(project)["directory"] == {"path": str(repository.directory), "editable": True}
    (repository.directory / "src/demo_own.py").write_text("value = 'more'\n")
    assert value_in(project) == "more"
    said = project.zephyr("add", "-e", "demo-lib", code=2)
    assert "cannot be editable" in said


@pytest.mark.parametrize("mode", ["reflink", "env"])
def test_an_environment_remembers_what_is_editable_in_it(project: Project, repository: Repository, mode: str) -> None:
    commit(repository, "one")
    project.zephyr("install", "--link-mode", mode, "-e", f"{repository.url}#egg=demo")
    assert value_in(project) == "one"
    project.zephyr("install", "--link-mode", mode, "demo-lib")
    assert set(project.installed()) == {"demo", "demo-lib"}
    project.file(".checkouts/demo/src/demo_own.py").write_text("value = 'mine'\n")
    assert value_in(project) == "mine"


def test_what_an_imported_file_calls_editable_is(project: Project, repository: Repository) -> None:
    commit(repository, "one")
    project.file("requirements.txt").write_text(f"-e {repository.url}@main#egg=demo\ndemo-lib\n")
    project.zephyr("import", "requirements.txt")
    project.zephyr("lock")
    assert locked(project)["tool"] == {"zephyr": {"editable": True}}
    (project.file("pyproject.toml")).write_text(
        project.file("pyproject.toml").read_text().replace('editable = ["demo"]', 'editable = ["demo-lib"]')
    )
    said = project.zephyr("lock")
    assert "demo-lib is not editable: only what comes from a directory or a repository can be." in said


def test_a_checkout_is_no_package_of_the_project(project: Project, repository: Repository) -> None:
    """Of a project without `src` setuptools takes each directory for one, and builds nothing where there are two."""
    discovery = pytest.importorskip("setuptools.discovery")
    commit(repository, "one")
    project.file("demo").mkdir()
    project.zephyr("add", "-e", f"{repository.url}#egg=demo")
    assert discovery.FlatLayoutPackageFinder.find(project.directory) == ["demo"]


def test_what_somebody_writes_into_the_project_meanwhile_is_not_written_over(
    project: Project, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an editor does that saves while `add` waits for a repository; here the way there does it."""
    commit(repository, "one")
    ssh = tmp_path / "ssh"
    ssh.write_text(
        f"#!/bin/sh\necho '# mine' >> {project.file('pyproject.toml')}\nfor last; do :; done\neval \"$last\"\n"
    )
    ssh.chmod(0o755)
    environment = project.environment() | {"GIT_SSH_COMMAND": str(ssh)}
    monkeypatch.setattr(project, "environment", lambda: environment)
    said = project.zephyr("add", f"demo @ git+ssh://host.invalid{repository.directory}", code=1)
    assert "pyproject.toml was changed meanwhile" in said
    assert project.file("pyproject.toml").read_text().endswith("# mine\n")
    assert not project.file("pylock.toml").exists()
