"""`zephyr build`: what a project hands out, made by a backend that lies in the project."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.node import RunningNode
from tests.bench.upstream import FaultyUpstream
from tests.bench.wheels import make_wheel
from tests.end_to_end.repository import source_files
from tests.end_to_end.test_zephyr import Project

# The sdist holds a file that the directory has not, so that it can be told what a wheel was built of.
SDIST = """
def build_sdist(sdist_directory, config_settings=None):
    import io, tarfile
    name = "demo_built-1.0.tar.gz"
    with tarfile.open(pathlib.Path(sdist_directory) / name, "w:gz") as archive:
        for path in ("pyproject.toml", "backend.py"):
            archive.add(path, f"demo_built-1.0/{path}")
        member = tarfile.TarInfo("demo_built-1.0/" + (config_settings or {}).get("mark", "unmarked"))
        archive.addfile(member, io.BytesIO())
    return name
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    with (
        FaultyUpstream([make_wheel("demo-lib")]) as upstream,
        RunningNode(tmp_path_factory.mktemp("node"), upstreams=[upstream]) as running,
    ):
        yield running


@pytest.fixture
def project(tmp_path: Path, node: RunningNode) -> Project:
    made = Project(tmp_path / "project", node)
    for name, text in source_files("demo-built", "1.0").items():
        made.file(name).write_text(text + (SDIST if name == "backend.py" else ""))
    return made


def test_a_project_hands_out_an_sdist_and_the_wheel_of_it(project: Project) -> None:
    told = json.loads(project.zephyr("build", "--json", "-C", "mark=of-mine"))
    files = [Path(one["file"]) for one in told]
    assert [one.name for one in files] == ["demo_built-1.0.tar.gz", "demo_built-1.0-py3-none-any.whl"]
    assert {file.parent for file in files} == {project.file("dist")}
    assert {one["how"] for one in told} == {"built in a sandbox"}
    with tarfile.open(files[0]) as archive:
        assert "demo_built-1.0/of-mine" in archive.getnames()
    done = subprocess.run(
        [sys.executable, "-c", "import demo_built; print(demo_built.version)"],
        env={"PYTHONPATH": str(files[1])}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "1.0"
    assert files[1].stat().st_nlink == 1, "it is the user's own file, and no link into the store"


def test_one_of_them_goes_where_it_is_wanted(project: Project, tmp_path: Path) -> None:
    project.zephyr("build", "--wheel", "-o", str(tmp_path / "out"), str(project.directory))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["demo_built-1.0-py3-none-any.whl"]
    assert not project.file("dist").exists()


def test_what_cannot_be_built_is_a_sentence_and_leaves_nothing(project: Project, tmp_path: Path) -> None:
    backend = project.file("backend.py").read_text()
    fails = "print(*[f'page {number}' for number in range(99)], sep='\\n'); raise OSError('no paper')"
    project.file("backend.py").write_text(backend.replace("return name", fails))
    told = project.zephyr("build", code=1)
    assert "no paper" in told
    assert "\n  page 98\n" in told, "what it wrote last"
    assert "page 9\n" not in told
    assert "What it wrote is in " in told
    sentence, _, wrote = told.partition("\n")
    assert sentence.endswith(f" Nothing was put into {project.file('dist')}."), "before the last lines of the build"
    assert "Nothing" not in wrote
    assert "installed" not in told
    project.file("backend.py").write_text(backend.replace("    return name", "    return 'nothing.txt'"))
    assert "nothing.txt" in project.zephyr("build", "--sdist", code=1)
    assert not project.file("dist").exists()
    assert "nothing to build" in project.zephyr("build", str(tmp_path), code=2)
    assert "KEY=VALUE" in project.zephyr("build", "-C", "mark", code=2)


def test_what_a_build_requires_is_attested_where_that_is_demanded(project: Project) -> None:
    file = project.file("pyproject.toml")
    text = file.read_text()
    assert "requires = []" in text
    file.write_text(text.replace("requires = []", 'requires = ["demo-lib"]'))
    project.zephyr("build", "--wheel")
    # The wheel of before was built with what nobody attests: it is not taken.
    file.write_text(f'{file.read_text()}\n[tool.zephyr]\nrequire-attestations = ["demo-lib"]\n')
    assert "demo_lib-1.0-py3-none-any.whl has no attestation" in project.zephyr("build", "--wheel", code=1)


def test_what_a_build_requires_and_nobody_has_is_told_as_that(project: Project) -> None:
    file = project.file("pyproject.toml")
    file.write_text(file.read_text().replace("requires = []", 'requires = ["demo-lib", "demo-nowhere>=2"]'))
    told = project.zephyr("build", code=1)
    assert f"{project.directory} could not be built: demo-lib, demo-nowhere>=2 cannot be had for its build." in told
    assert "its build requires demo-nowhere>=2" in told
    assert "you" not in told.split()
