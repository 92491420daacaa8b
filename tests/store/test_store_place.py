"""Directories that can be a store, and those that cannot: each is refused in one sentence."""

# ruff: noqa: ASYNC221, ASYNC240  # a test may wait for the disk

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from p2pcdn.errors import StoreUnusable
from p2pcdn.store.layout import FORMAT_VERSION
from p2pcdn.store.place import file_system_of
from tests.store.stores import keep, open_store, opened

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts a file system")


async def refusal(directory: Path) -> str:
    with pytest.raises(StoreUnusable) as caught:
        await open_store(directory)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


async def test_the_second_node_hears_who_holds_the_store(directory: Path) -> None:
    async with opened(directory):
        assert f"process {os.getpid()} on {os.uname().nodename}" in await refusal(directory)
    async with opened(directory):
        pass


async def test_a_file_where_the_store_should_be_is_named_as_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "store"):
        assert (await refusal(place)).endswith("cannot be opened: that is no directory.")


async def test_a_newer_format_is_refused(directory: Path) -> None:
    async with opened(directory):
        pass
    (directory / "format").write_text(f"p2pcdn store {FORMAT_VERSION + 1}\n")
    assert f"has format {FORMAT_VERSION + 1}" in await refusal(directory)
    (directory / "format").write_text("?")
    assert "unreadable" in await refusal(directory)


async def test_an_older_format_is_taken_over_and_an_older_node_refuses_it_then(directory: Path) -> None:
    async with opened(directory) as store:
        blob = await keep(store, b"kept by an older node")
    (directory / "format").write_text("p2pcdn store 1\n")
    async with opened(directory) as store:
        assert store.holds(blob.sha256)
        assert (directory / "format").read_text() == f"p2pcdn store {FORMAT_VERSION}\n"


async def test_a_directory_of_something_else_is_left_alone(directory: Path) -> None:
    directory.mkdir(mode=0o755)
    (directory / "thesis.tex").write_text("years of work")
    assert "is not a store" in await refusal(directory)
    assert [path.name for path in directory.iterdir()] == ["thesis.tex"]


async def test_a_store_is_for_its_user_only(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o755)
    async with opened(directory) as store:
        await keep(store, b"private")
        assert directory.stat().st_mode & 0o777 == 0o700
        for path in directory.rglob("*"):
            assert path.stat().st_mode & 0o077 == 0, path


async def test_a_file_is_no_store(directory: Path) -> None:
    directory.write_text("")
    assert "cannot be opened" in await refusal(directory)


async def test_blobs_must_lie_in_the_store_itself(directory: Path, tmp_path: Path) -> None:
    async with opened(directory):
        pass
    (directory / "blobs").rmdir()
    (directory / "blobs").symlink_to(tmp_path)
    assert "blobs" in await refusal(directory)


@as_root
async def test_a_store_of_another_user_is_refused(directory: Path) -> None:
    directory.mkdir()
    os.chown(directory, 65534, 65534)
    assert "belongs to user 65534" in await refusal(directory)


@as_root
async def test_a_read_only_file_system_is_refused(directory: Path) -> None:
    directory.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", directory], capture_output=True).returncode:
        pytest.skip("mount is not permitted here")
    try:
        assert "read-only" in await refusal(directory)
    finally:
        subprocess.run(["umount", directory], check=True)


def test_the_innermost_mount_says_which_file_system_it_is(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 8:1 / / rw - ext4 /dev/root rw\n"
        "30 22 0:44 / /srv/my\\040share rw shared:1 - nfs4 host:/x rw\n"
        "31 30 0:45 / /srv/my\\040share/local rw - xfs /dev/b rw\n"
    )
    assert file_system_of(Path("/srv/my share/store"), mounts) == "nfs4"
    assert file_system_of(Path("/srv/my share/local"), mounts) == "xfs"
    assert file_system_of(Path("/srv/my shares"), mounts) == "ext4"
    assert file_system_of(Path("/srv"), tmp_path / "absent") == ""
