"""`zephyr pip` with a real node behind it: files of the node's own index, and builds in its sandbox."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.node import RunningNode
from tests.bench.patience import until
from tests.bench.upstream import FaultyUpstream
from tests.bench.wheels import make_sdist, make_wheel
from tests.end_to_end.repository import Repository

APP = make_wheel("demo-app", requires=["demo-lib>=1"])
LIB = make_wheel("demo-lib", "2.0")
SOURCE = make_sdist("demo-source")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    with (
        FaultyUpstream([APP, LIB, SOURCE]) as upstream,
        RunningNode(tmp_path_factory.mktemp("node"), upstreams=[upstream]) as running,
    ):
        yield running


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    return tmp_path / "venv"


def pip(node: RunningNode, venv: Path, *words: str, code: int = 0) -> str:
    environment = node.variables() | {
        "P2PCDN_CONTROL_SOCKET": str(node.control_socket),
        "ZEPHYR_CACHE_DIR": str(venv.parent / "cache"),
    }
    environment = {name: value for name, value in environment.items() if not name.startswith("PIP_")}
    command = [sys.executable, "-m", "p2pcdn_shim.zephyr", "pip", "--python", str(venv), *words]
    done = subprocess.run(command, env=environment, cwd=venv.parent, capture_output=True, text=True, check=False)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout + done.stderr


def test_what_comes_from_the_nodes_own_index_lies_in_its_store(node: RunningNode, venv: Path) -> None:
    said = pip(node, venv, "install", "demo-app")
    assert "Successfully installed demo-app-1.0 demo-lib-2.0" in said
    assert node.run("list").stdout.count("demo-") == 2
    files = [path for path in (venv / "lib").rglob("*") if path.is_file()]
    assert all(path.stat().st_nlink == 1 and path.stat().st_mode & 0o200 for path in files)  # his own to edit
    assert "demo-app (1.0)" in pip(node, venv, "index", "versions", "demo-app")


@pytest.mark.slow
def test_whoever_looks_for_what_is_newer_sees_what_was_published_a_moment_ago(tmp_path: Path, venv: Path) -> None:
    with (
        FaultyUpstream([make_wheel("demo-lib", "1.0")]) as upstream,
        RunningNode(tmp_path / "node", upstreams=[upstream]) as node,
    ):
        pip(node, venv, "install", "demo-lib")
        upstream.add(make_wheel("demo-lib", "2.0"))
        # A page that was checked ten seconds ago is new enough for anybody.
        until(lambda: "2.0" in pip(node, venv, "index", "versions", "demo-lib"), "the new version is seen")
        assert "Would install demo-lib-2.0" in pip(node, venv, "install", "--upgrade", "--dry-run", "demo-lib")
        assert "demo-lib" in pip(node, venv, "list", "--outdated")


def test_sources_are_built_in_the_sandbox_and_kept(node: RunningNode, venv: Path) -> None:
    said = pip(node, venv, "install", "demo-source")
    assert "Building wheel for demo-source (pyproject.toml): finished with status 'done'" in said
    assert "demo-source==1.0" in pip(node, venv, "freeze")
    pip(node, venv, "uninstall", "-y", "demo-source")
    again = pip(node, venv, "install", "demo-source")
    assert "Using cached demo_source-1.0-py3-none-any.whl" in again
    assert "Building wheel" not in again


def test_a_repository_is_cloned_by_the_node_and_an_editable_one_stays_on_its_branch(
    node: RunningNode, venv: Path, tmp_path: Path
) -> None:
    repository = Repository(tmp_path / "repository")
    commit = repository.commit("1.0")
    said = pip(node, venv, "install", f"demo-vcs @ {repository.url}@main")
    assert f"Resolved {repository.directory.as_uri()} to commit {commit}" in said
    assert f"demo-vcs @ {repository.url}@{commit}" in pip(node, venv, "freeze")
    later = repository.commit("2.0")
    for number in range(3, 5):
        # Its backend makes no editable wheels; it is cloned all the same.
        pip(node, venv, "install", "--src", "src", "-e", f"{repository.url}#egg=demo-vcs", code=1)
        checkout = tmp_path / "src" / "demo-vcs"
        assert (checkout / ".git" / "HEAD").read_text() == "ref: refs/heads/main\n"
        assert (checkout / ".git" / "refs" / "heads" / "main").read_text().strip() == later
        later = repository.commit(f"{number}.0")
    assert "Saved ./demo-vcs-1.0.zip" in pip(node, venv, "download", "--no-deps", f"{repository.url}@{commit}")
    assert "backend.py" in zipfile.ZipFile(tmp_path / "demo-vcs-1.0.zip").namelist()
    said = pip(node, venv, "install", "lib @ git+ext::sh/x", code=1)
    assert "a git repository is at an https, ssh or file URL" in said


def test_a_backend_that_fails_is_told_with_what_it_wrote(node: RunningNode, venv: Path) -> None:
    project = venv.parent / "broken"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (project / "backend.py").write_text("print('so far')\nraise OSError('no further')\n")
    said = pip(node, venv, "install", "./broken", code=1)
    assert "so far" in said
    assert "no further" in said
    assert "metadata-generation-failed" in said
