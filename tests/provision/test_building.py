"""What an sdist says of itself before anything is built."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from p2pcdn.envs.scheme import Scheme
from p2pcdn.errors import BuildFailed
from p2pcdn.provision.building import Toolchain, _building, pkg_info

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
