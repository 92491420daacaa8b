"""What is wrong is said with what to do, and what was there is as it was."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from p2pcdn_shim.zephyr.errors import ZephyrError
from p2pcdn_shim.zephyr.machine.files import write_texts
from tests.bench.upstream import Fault, Hang, ShortBody, Status, Style, WrongBytes
from tests.bench.wheels import Distribution, make_sdist, make_wheel
from tests.end_to_end.conftest import StartNode, StartUpstream
from tests.end_to_end.test_zephyr import Project

LIB = make_wheel("demo-lib")
SLOW = make_wheel("demo-slow", size_bytes=200_000)
HONEST = make_wheel("demo-lying")
LYING = Distribution(
    HONEST.filename,
    "demo-lying",
    "1.0",
    HONEST.content.replace(b'version = "1.0"', b'version = "6.6"'),
    HONEST.metadata,
)


def test_what_fails_after_the_lock_brings_everything_back(
    tmp_path: Path, start_node: StartNode, start_upstream: StartUpstream
) -> None:
    upstream = start_upstream([LIB, LYING, SLOW], Style(other_host=False))
    project = Project(tmp_path / "project", start_node(upstream))
    project.write(["demo-lib"])
    fresh = project.file("pyproject.toml").read_text()
    assert "as they were" in project.zephyr("add", "demo-lying", code=1)
    assert not project.file("pylock.toml").exists()
    project.zephyr("sync")
    before = project.file("pyproject.toml").read_text(), project.lock, project.installed()
    assert before[0] == fresh
    told = project.zephyr("add", "demo-lying", code=1)
    assert LYING.filename in told
    assert "another version may do" in told
    assert (project.file("pyproject.toml").read_text(), project.lock, project.installed()) == before
    upstream.fault(f"*{SLOW.filename}", Hang(at_bytes=1000))
    with project.start("add", "demo-slow") as running:
        while not any(seen.range is None for seen in upstream.file_gets(f"*{SLOW.filename}")):
            pass
        running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Interrupted; nothing is half done" in told
    assert (project.file("pyproject.toml").read_text(), project.lock, project.installed()) == before


@pytest.mark.parametrize("fault", [WrongBytes(), ShortBody(30)])
def test_what_comes_spoilt_once_is_asked_for_again_and_what_always_does_is_told(
    tmp_path: Path, start_node: StartNode, start_upstream: StartUpstream, fault: Fault
) -> None:
    upstream = start_upstream([LIB, make_wheel("demo-lib", "2.0"), make_sdist("demo-source"), SLOW])
    project = Project(tmp_path / "project", start_node(upstream))
    project.write(["demo-lib", "demo-source"])
    upstream.fault("*.metadata", fault, times=1)
    upstream.fault("*.tar.gz", fault, times=1)
    project.zephyr("lock")
    assert 'version = "2.0"' in project.lock
    upstream.fault("*.whl", fault, times=1)
    project.zephyr("sync")
    assert project.installed() == {"demo-lib": "2.0", "demo-source": "1.0"}
    project.write(["demo-slow"])
    upstream.fault("*.whl", fault)
    assert f"{SLOW.filename}: expected sha256:{SLOW.sha256}" in project.zephyr("sync", code=1)
    assert len(upstream.file_gets("*.whl")) == 4
    assert project.installed() == {"demo-lib": "2.0", "demo-source": "1.0"}


@pytest.mark.parametrize("fault", [Status(404), WrongBytes()], ids=["missing", "spoilt"])
def test_a_version_whose_declared_metadata_is_not_to_be_had_is_locked_all_the_same(
    tmp_path: Path, start_node: StartNode, start_upstream: StartUpstream, fault: Fault
) -> None:
    newer = make_wheel("demo-lib", "2.0")
    undeclared = Distribution(newer.filename, "demo-lib", "2.0", newer.content, newer.metadata + b"Keywords: other\n")
    for name, two in (("same", newer), ("other", undeclared)):
        upstream = start_upstream([LIB, two])
        project = Project(tmp_path / name, start_node(upstream))
        project.write(["demo-lib"])
        upstream.fault("*-2.0-*.metadata", fault)
        project.zephyr("sync")
        assert 'version = "2.0"' in project.lock
        assert project.installed() == {"demo-lib": "2.0"}


def test_a_broken_lock_is_told_with_what_to_do(
    tmp_path: Path, start_node: StartNode, start_upstream: StartUpstream
) -> None:
    project = Project(tmp_path / "project", start_node(start_upstream([LIB])))
    project.write(["demo-lib"])
    project.file("pylock.toml").write_text("<<<<<<< ours\n")
    for command in ("sync", "lock"):
        assert "or delete it: `zephyr lock` makes it anew" in project.zephyr(command, code=1)
    project.file("pylock.toml").unlink()
    project.zephyr("sync")
    assert project.installed() == {"demo-lib": "1.0"}


def test_a_foreign_lock_whose_marker_means_nothing_is_told_and_changes_nothing(
    tmp_path: Path, start_node: StartNode, start_upstream: StartUpstream
) -> None:
    project = Project(tmp_path / "project", start_node(start_upstream([LIB])))
    project.write(["demo-lib"])
    project.zephyr("sync")
    senseless = project.lock.replace("[tool.zephyr]", "[tool.another]").replace(
        'name = "demo-lib"', """name = "demo-lib"\nmarker = "os_name ~= 'posix'\""""
    )
    project.file("pylock.toml").write_text(senseless)
    for words in (("sync",), ("sync", "--frozen")):
        told = project.zephyr(*words, code=1)
        assert "marker of demo-lib 1.0 that nothing can decide: \"os_name ~= 'posix'\"" in told
        assert "Mend pylock.toml, or delete it" in told
    assert (project.lock, project.installed()) == (senseless, {"demo-lib": "1.0"})
    assert "nothing can decide" in project.zephyr("pip", "install", "-r", "pylock.toml", code=1)


def test_of_two_files_neither_is_written_where_one_cannot_be(tmp_path: Path) -> None:
    one, two = tmp_path / "one.txt", tmp_path / "nowhere" / "two.txt"
    one.write_text("before")
    with pytest.raises(ZephyrError, match=r"two\.txt cannot be written"):
        write_texts({one: "after", two: "after"})
    assert one.read_text() == "before"
    assert list(tmp_path.iterdir()) == [one]
