"""What an sdist says of itself before anything is built."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from p2pcdn.envs.listing import Entry, EntryPoint, Listing
from p2pcdn.envs.planning import ReadyWheel, make_plan
from p2pcdn.envs.scheme import Scheme
from p2pcdn.errors import BuildFailed
from p2pcdn.provision.asked import Ready, Told
from p2pcdn.provision.building import _building, pkg_info
from p2pcdn.provision.toolchain import Toolchain, installed

STATIC = b"Metadata-Version: 2.2\nName: thing\nVersion: 1.0\nRequires-Dist: other\n"
TOOLS = Toolchain(Path("/usr/bin/python3"), {}, (), Scheme.of_venv("3.12"))


def tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_the_pkg_info_at_the_top_is_read_and_no_other(tmp_path: Path) -> None:
    members = {"thing-1.0/thing.egg-info/PKG-INFO": b"wrong", "thing-1.0/PKG-INFO": STATIC}
    assert pkg_info(tar(tmp_path / "thing-1.0.tar.gz", members)) == STATIC
    with zipfile.ZipFile(tmp_path / "thing-1.0.zip", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert pkg_info(tmp_path / "thing-1.0.zip") == STATIC


def test_what_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    assert pkg_info(tar(tmp_path / "a-1.tar.gz", {"a-1/setup.py": b""})) is None
    (tmp_path / "b-1.tar.gz").write_bytes(b"no archive")
    assert pkg_info(tmp_path / "b-1.tar.gz") is None
    (tmp_path / "c-1.zip").write_bytes(b"no archive")
    assert pkg_info(tmp_path / "c-1.zip") is None


def test_a_circle_of_builds_is_found_and_named() -> None:
    with (
        _building("a-1.tar.gz", TOOLS),
        _building("b-1.tar.gz", TOOLS),
        pytest.raises(BuildFailed, match=r"a-1\.tar\.gz -> b-1\.tar\.gz -> a-1\.tar\.gz"),
        _building("a-1.tar.gz", TOOLS),
    ):
        pass
    with _building("a-1.tar.gz", TOOLS):
        pass


def test_the_environment_of_a_build_is_one_also_where_its_wheels_have_scripts(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "thing.py").write_text("answer = 42\n")
    (tree / "thing-1.dist-info").mkdir()
    (tree / "thing-1.dist-info" / "RECORD").write_text("thing.py,sha256=x,12\n")
    entries = (Entry("thing.py", 12, "x"),)
    listing = Listing("thing", "1", "thing-1.dist-info", True, (), entries, (EntryPoint("run", "thing", "main"),))
    tools = Toolchain(Path(sys.executable).resolve(), {}, (), Scheme.of_venv(f"3.{sys.version_info[1]}"))
    plan = make_plan([ReadyWheel(listing, "thing-1-py3-none-any.whl", "ab" * 32)], tools.scheme)
    told = Told("thing", "1", "thing-1-py3-none-any.whl", "ab" * 32, "", "store", str(tree))
    ready = Ready(plan.encode(), plan.digest(), plan.content(), (told,), ())
    directory = installed(tmp_path / "environments", ready, tools)
    assert (directory / "bin" / "run").is_file()
    code = "import thing, sys; print(thing.answer, sys.prefix)"
    done = subprocess.run([directory / "bin" / "python", "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["42", str(directory)]
    assert installed(tmp_path / "environments", ready, tools) == directory
