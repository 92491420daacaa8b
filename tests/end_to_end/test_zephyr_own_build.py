"""Projects whose build alone knows what they need: `dynamic` in pyproject.toml, or a setup.py and no [project]."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.node import RunningNode
from tests.bench.upstream import FaultyUpstream
from tests.bench.wheels import make_wheel, read_wheel
from tests.end_to_end.test_zephyr import Project

LIB, MORE, ONLY = make_wheel("demo-lib"), make_wheel("demo-more"), make_wheel("demo-only")
OWN = '[project]\nname = "demo"\nversion = "1"\nrequires-python = ">=3.10"\n'
# Who is root, as in a container, has no sandbox for an editable build.
BY_WORD = "[tool.zephyr]\nallow-unsandboxed-builds = true\n"
MADE = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
SETUPTOOLS = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
# Says what stands in needs.txt; it builds no wheel, so that nothing but its metadata can be asked for.
BACKEND = """
import pathlib
def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    info = pathlib.Path(metadata_directory, "demo-1.dist-info")
    info.mkdir()
    lines = ["Metadata-Version: 2.1", "Name: demo", "Version: 1", *pathlib.Path("needs.txt").read_text().splitlines()]
    info.joinpath("METADATA").write_text("\\n".join(lines) + "\\n\\nRequires-Dist: demo-only\\n")
    return info.name
"""


@pytest.fixture(scope="module")
def index() -> Iterator[FaultyUpstream]:
    with FaultyUpstream([LIB, MORE, ONLY]) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, index: FaultyUpstream) -> Iterator[RunningNode]:
    with RunningNode(tmp_path_factory.mktemp("node"), upstreams=[index]) as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, node: RunningNode) -> Project:
    return Project(tmp_path / "project", node)


def made(project: Project, *lines: str, more: str = "") -> None:
    """A project whose backend lies in it."""
    dynamic = 'dynamic = ["dependencies", "optional-dependencies"]\n'
    project.file("pyproject.toml").write_text(f"{MADE}{OWN}{dynamic}{more}")
    project.file("backend.py").write_text(BACKEND)
    says(project, *lines)


def says(project: Project, *lines: str) -> None:
    project.file("needs.txt").write_text("\n".join(lines))


def locked(project: Project) -> dict[str, str]:
    return {one["name"]: one.get("marker", "") for one in tomllib.loads(project.lock).get("packages", ())}


def test_what_the_build_says_is_locked_with_its_extras_and_markers(project: Project) -> None:
    made(
        project,
        "Provides-Extra: More",
        "Requires-Dist: demo-lib",
        'Requires-Dist: demo-more; extra == "More"',
        "Requires-Dist: demo-only ; (sys_platform == 'win32' or os_name == 'nt') and extra == 'more'",
    )
    project.zephyr("lock")
    lock = tomllib.loads(project.lock)
    assert lock["extras"] == ["more"]
    assert set(locked(project)) == {"demo-lib", "demo-more", "demo-only"}
    assert "more" in locked(project)["demo-more"]
    assert "win32" in locked(project)["demo-only"]
    project.zephyr("sync", "--no-project")
    assert set(project.installed()) == {"demo-lib"}
    project.zephyr("sync", "--no-project", "--extra", "more")
    assert set(project.installed()) == {"demo-lib", "demo-more"}
    assert "has no extra 'less'; it has more" in project.zephyr("sync", "--no-project", "--extra", "less", code=2)
    assert "demo-lib" in project.zephyr("why", "demo-lib")


def test_a_build_that_says_something_else_makes_the_lock_stale(project: Project) -> None:
    made(project, "Requires-Dist: demo-lib")
    project.zephyr("sync", "--no-project")
    assert "belongs to the project as it is" in project.zephyr("lock", "--check")
    says(project, "Requires-Dist: demo-more")
    assert "was made of another pyproject.toml" in project.zephyr("lock", "--check", code=1)
    assert "does not belong to the project" in project.zephyr("sync", "--no-project", "--locked", code=1)
    project.zephyr("sync", "--no-project", "--frozen")
    assert set(project.installed()) == {"demo-lib"}
    project.zephyr("sync", "--no-project")
    assert set(project.installed()) == {"demo-more"}
    # A file that is not looked at otherwise: `lock --check` asks the build itself.
    project.file("deep").mkdir()
    project.file("backend.py").write_text(BACKEND.replace("needs.txt", "deep/needs.txt"))
    project.file("deep/needs.txt").write_text("Requires-Dist: demo-lib")
    project.zephyr("lock")
    project.file("deep/needs.txt").write_text("Requires-Dist: demo-only")
    project.zephyr("lock", "--check", code=1)


def test_a_build_is_not_asked_again_while_its_files_stay(project: Project) -> None:
    made(project, "Requires-Dist: demo-lib")
    project.zephyr("sync", "--no-project")
    logs = set(built(project))
    assert logs
    project.zephyr("sync", "--no-project")
    project.zephyr("tree")
    os.utime(project.file("needs.txt"))
    project.zephyr("run", "--no-project", "python", "-c", "")
    assert set(built(project)) == logs
    says(project, "Requires-Dist: demo-lib", "Requires-Dist: demo-more")
    project.zephyr("run", "--no-project", "python", "-c", "import demo_more")
    assert set(built(project)) > logs


def built(project: Project) -> list[Path]:
    """What the builds of this project wrote."""
    return list(project.node.directory.rglob("logs/project-*"))


def test_a_build_that_fails_or_may_not_run_is_a_reason_and_nothing_is_locked(project: Project) -> None:
    made(project, "Requires-Dist: demo-lib")
    project.file("backend.py").write_text("raise OSError('no paper')")
    told = project.zephyr("lock", code=1)
    assert "leaves it to its build to say what the project needs" in told
    assert "no paper" in told
    assert not project.file("pylock.toml").exists()


def test_what_a_sandbox_keeps_from_a_build_it_gets_by_the_users_word_alone(project: Project, tmp_path: Path) -> None:
    made(project)
    project.file("backend.py").write_text(BACKEND.replace("needs.txt", str(tmp_path / "outside.txt")))
    (tmp_path / "outside.txt").write_text("Requires-Dist: demo-lib")
    assert "outside.txt" in project.zephyr("lock", code=1)
    made(project, more=BY_WORD)
    project.file("backend.py").write_text(BACKEND.replace("needs.txt", str(tmp_path / "outside.txt")))
    project.zephyr("lock")
    assert set(locked(project)) == {"demo-lib"}


def test_a_lock_of_another_program_is_installed_without_asking_the_build(project: Project) -> None:
    made(project, "Requires-Dist: demo-lib")
    project.zephyr("lock")
    theirs = project.lock.partition("[tool.zephyr]")[0].replace('created-by = "zephyr"', 'created-by = "other"')
    project.file("pylock.toml").write_text(theirs)
    project.file("backend.py").write_text("raise OSError('no paper')")
    project.zephyr("sync", "--no-project")
    assert set(project.installed()) == {"demo-lib"}


def test_what_the_build_says_is_not_added_to_where_it_would_not_look(project: Project) -> None:
    made(project, "Requires-Dist: demo-lib")
    before = project.file("pyproject.toml").read_text()
    assert "leaves its dependencies to its build" in project.zephyr("add", "demo-more", "--no-sync", code=2)
    assert "leaves its optional-dep" in project.zephyr("add", "demo-more", "--extra", "x", "--no-sync", code=2)
    assert project.file("pyproject.toml").read_text() == before
    project.zephyr("add", "demo-more", "--group", "dev", "--no-sync")
    assert set(locked(project)) == {"demo-lib", "demo-more"}
    project.zephyr("remove", "demo-more", "--group", "dev", "--no-sync")
    assert set(locked(project)) == {"demo-lib"}


# What builds a project of setuptools or hatchling, as it is in the index; the last one for an editable wheel.
BACKENDS = ("setuptools", "hatchling", "editables")


@pytest.fixture(scope="module")
def real_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    place = tmp_path_factory.mktemp("backends")
    command = [sys.executable, "-m", "pip", "download", "-q", "--only-binary", ":all:", "-d", str(place), *BACKENDS]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        pytest.skip(f"the backends cannot be had from the configured index: {done.stderr.strip().splitlines()[-1]}")
    with (
        FaultyUpstream([LIB, MORE, ONLY, *map(read_wheel, sorted(place.iterdir()))]) as upstream,
        RunningNode(tmp_path_factory.mktemp("node"), upstreams=[upstream]) as running,
    ):
        yield running


@pytest.fixture
def real(tmp_path: Path, real_node: RunningNode) -> Project:
    made = Project(tmp_path / "project", real_node)
    made.file("demo.py").write_text("value = 1\n")
    return made


@pytest.mark.upstream
def test_setuptools_says_what_a_project_needs_by_its_files(real: Project) -> None:
    real.file("pyproject.toml").write_text(
        f'{SETUPTOOLS}{OWN}dynamic = ["dependencies", "optional-dependencies"]\n{BY_WORD}'
        '[tool.setuptools]\npy-modules = ["demo"]\n'
        '[tool.setuptools.dynamic]\ndependencies = {file = ["requirements.txt"]}\n'
        'optional-dependencies.more = {file = ["requirements/more.txt"]}\n'
    )
    real.file("requirements.txt").write_text("# ours\ndemo-lib\n")
    real.file("requirements").mkdir()
    real.file("requirements/more.txt").write_text("demo-more; python_version >= '3.10'\n")
    real.zephyr("sync", "--all-extras")
    assert set(real.installed()) == {"demo", "demo-lib", "demo-more"}
    assert "packages fit together" in real.zephyr("check")
    real.file("requirements.txt").write_text("demo-only\n")
    real.zephyr("lock", "--check", code=1)
    real.zephyr("sync")
    assert set(real.installed()) == {"demo", "demo-only"}
    # The project's own metadata says the same: it was installed anew.
    code = "import importlib.metadata as m; print(m.requires('demo')[0])"
    assert real.run("-c", code).strip() == "demo-only"


@pytest.mark.upstream
def test_a_setup_py_without_a_project_table_says_all(real: Project) -> None:
    real.file("pyproject.toml").write_text(SETUPTOOLS + BY_WORD)
    real.file("setup.py").write_text(
        "from setuptools import setup\n"
        "setup(name='demo', version='1', py_modules=['demo'], install_requires=['demo-lib'], python_requires='>=3.10',"
        " extras_require={'more': ['demo-more'], 'all': ['demo[more]', 'demo-only']})\n"
    )
    real.zephyr("sync")
    assert set(real.installed()) == {"demo", "demo-lib"}
    assert tomllib.loads(real.lock)["requires-python"] == ">=3.10"
    real.zephyr("sync", "--extra", "all")
    assert set(real.installed()) == {"demo", "demo-lib", "demo-more", "demo-only"}
    assert "already" in real.zephyr("sync", "--extra", "all")


HOOK = """
from hatchling.metadata.plugin.interface import MetadataHookInterface
class Hook(MetadataHookInterface):
    def update(self, metadata):
        metadata["dependencies"] = ["demo-lib", "demo-more; sys_platform == 'nowhere'"]
"""


@pytest.mark.upstream
def test_hatchling_says_what_a_hook_of_the_project_adds(real: Project) -> None:
    real.file("pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        f'{OWN}dynamic = ["dependencies"]\noptional-dependencies.more = ["demo-only"]\n{BY_WORD}'
        '[tool.hatch.build.targets.wheel]\ninclude = ["demo.py"]\n[tool.hatch.metadata.hooks.custom]\n'
    )
    real.file("hatch_build.py").write_text(HOOK)
    real.zephyr("sync")
    assert set(real.installed()) == {"demo", "demo-lib"}
    real.zephyr("sync", "--extra", "more")
    assert set(real.installed()) == {"demo", "demo-lib", "demo-only"}
