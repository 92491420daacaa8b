"""What is wrong is said with what to do, and what was there is as it was."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from p2pcdn.fetch.wheel import METADATA_SIZE_BYTES_MAX
from p2pcdn_shim.zephyr.errors import ZephyrError
from p2pcdn_shim.zephyr.machine.files import write_texts
from tests.bench.upstream import Fault, Hang, ShortBody, Status, Style, WrongBytes
from tests.bench.wheels import Distribution, make_sdist, make_wheel
from tests.end_to_end.conftest import StartNode, StartUpstream
from tests.end_to_end.test_zephyr import Project
from tests.envs.made import MadeWheel

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
    told = project.zephyr("add", "demo-lying", code=1)
    assert "zephyr: pyproject.toml and pylock.toml are as they were, and no environment was made.\n" in told
    assert not project.file("pylock.toml").exists()
    project.zephyr("sync")
    before = project.file("pyproject.toml").read_text(), project.lock, project.installed()
    assert before[0] == fresh
    told = project.zephyr("add", "demo-lying", code=1)
    assert LYING.filename in told
    assert "another version may do" in told
    assert "zephyr: pyproject.toml, pylock.toml and the environment are as they were.\n" in told
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


def test_a_sync_that_fails_says_that_its_new_lock_stays_and_the_environment_too(
    tmp_path: Path, start_node: StartNode, start_upstream: StartUpstream
) -> None:
    project = Project(tmp_path / "project", start_node(start_upstream([LIB, LYING], Style(other_host=False))))
    project.write(["demo-lying"])
    stays = "zephyr: The new pylock.toml stays, for it is what pyproject.toml asks for; {}.\n"
    assert stays.format("no environment was made") in project.zephyr("sync", code=1)
    project.write(["demo-lib"])
    project.zephyr("sync")
    project.write(["demo-lib", "demo-lying"])
    told = project.zephyr("sync", code=1)
    assert "zephyr: Added demo-lying 1.0 to the lock.\n" in told
    assert stays.format("the environment is as it was") in told
    assert "demo-lying" in project.lock
    assert project.installed() == {"demo-lib": "1.0"}
    assert "pylock.toml" not in project.zephyr("sync", code=1)  # of what this one did not write it says nothing


def test_an_update_that_fails_leaves_the_lock_that_can_be_installed(
    tmp_path: Path, start_node: StartNode, start_upstream: StartUpstream
) -> None:
    upstream = start_upstream([make_wheel("demo-lying", "0.5"), LYING], Style(other_host=False))
    project = Project(tmp_path / "project", start_node(upstream))
    project.write(["demo-lying<1"])
    project.zephyr("sync")
    project.write(["demo-lying"])
    project.zephyr("sync")
    before = project.lock
    told = project.zephyr("update", code=1)
    assert "zephyr: pylock.toml and the environment are as they were.\n" in told
    assert (project.lock, project.installed()) == (before, {"demo-lying": "0.5"})
    project.zephyr("sync", "--locked")


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


def test_a_version_that_always_comes_spoilt_is_told_and_the_lock_without_it_not_remembered(
    tmp_path: Path, start_node: StartNode, start_upstream: StartUpstream
) -> None:
    """Whoever can spoil one answer on its way, again and again, could else have an old version locked in silence."""
    upstream = start_upstream([LIB, make_wheel("demo-lib", "2.0")])
    project = Project(tmp_path / "project", start_node(upstream))
    project.write(["demo-lib"])
    upstream.fault("*-2.0-*.metadata", WrongBytes())
    upstream.fault("*-2.0-*.whl", Status(404))  # which has its metadata, too
    said = project.zephyr("lock")
    assert 'name = "demo-lib"\nversion = "1.0"' in project.lock
    assert said.count("demo-lib 2.0 was left aside, for its metadata came wrong") == 1
    upstream.heal()
    project.file("pylock.toml").unlink()
    assert "left aside" not in project.zephyr("lock")
    assert 'version = "2.0"' in project.lock


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


def test_a_version_whose_metadata_is_a_flood_is_passed_over(
    tmp_path: Path, start_node: StartNode, start_upstream: StartUpstream
) -> None:
    flood = b"Metadata-Version: 2.1\nName: demo-flood\nVersion: 2.0\n\n" + b"x" * METADATA_SIZE_BYTES_MAX
    files = [make_wheel("demo-flood", "1.0"), replace(make_wheel("demo-flood", "2.0"), metadata=flood)]
    project = Project(tmp_path / "project", start_node(start_upstream(files, Style(other_host=False))))
    project.write([])
    project.zephyr("add", "demo-flood")
    assert project.installed() == {"demo-flood": "1.0"}
    assert "has more than 16 MiB" in project.zephyr("add", "demo-flood>=2", code=1)


def test_no_package_speaks_to_the_users_terminal(
    tmp_path: Path, start_node: StartNode, start_upstream: StartUpstream
) -> None:
    loud = MadeWheel({"demo_loud.py": b""}, "demo-loud", record="\x1b[2J\x9b31m\u202egnp.py,sha256=00,1\n").content()
    asking = b"Metadata-Version: 2.1\nName: demo-asking\nVersion: 1.0\nRequires-Dist: \x1b]0;mine\x07 >> 1\n"
    files = [
        LIB,
        Distribution("demo_loud-1.0-py3-none-any.whl", "demo-loud", "1.0", loud, make_wheel("demo-loud").metadata),
        Distribution("demo_asking-1.0-py3-none-any.whl", "demo-asking", "1.0", make_wheel("x").content, asking),
    ]
    project = Project(tmp_path / "project", start_node(start_upstream(files, Style(other_host=False))))
    project.write(["demo-lib"])
    project.zephyr("sync")
    pip = ("pip", "--python", str(project.file(".venv/bin/python")))
    for words in (("add", "demo-loud"), ("add", "demo-asking"), (*pip, "install", "demo-asking")):
        told = project.zephyr(*words, code=1)
        assert all(sign.isprintable() or sign == "\n" for sign in told), repr(told)
        assert "\\x1b" in told


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ('dependencies = ["demo-lib >> 1"]', "'demo-lib >> 1' is not a requirement"),
        ("dependencies = ['demo-lib; pythonn > \"3\"']", "'pythonn > \"3\"' is not a marker"),
        ('requires-python = ">>3.11"', "'>>3.11' is not a version specifier"),
    ],
)
def test_what_cannot_be_meant_is_told_with_its_file_and_line(
    tmp_path: Path, start_node: StartNode, start_upstream: StartUpstream, line: str, wrong: str
) -> None:
    project = Project(tmp_path / "project", start_node(start_upstream([LIB])))
    project.file("pyproject.toml").write_text(f'[project]\nname = "demo"\nversion = "1"\n{line}\n')
    told = project.zephyr("lock", code=2)
    assert f"{project.file('pyproject.toml')}, line 4: " in told
    assert wrong in told


def test_a_setting_that_cannot_be_meant_is_told_with_its_place(
    tmp_path: Path, start_node: StartNode, start_upstream: StartUpstream
) -> None:
    project = Project(tmp_path / "project", start_node(start_upstream([LIB])))
    project.write([])
    settings = tmp_path / "config.toml"
    settings.write_text('offline = false\nconstraints = ["demo-lib >> 1"]\n')
    told = project.zephyr("--config-file", str(settings), "lock", code=2)
    assert f"{settings}, line 2: constraints: 'demo-lib >> 1' is not a requirement" in told
    assert told.rstrip().endswith(".")
    assert "--constraints: 'demo-lib >> 1' is not" in project.zephyr("lock", "--constraints", "demo-lib >> 1", code=2)
    told = project.zephyr("--config-file", str(settings), "install", "demo-lib", code=2)
    assert f"{settings}, line 2: constraints" in told
    settings.write_text('environments = ["foo"]\n')
    told = project.zephyr("--config-file", str(settings), "lock", code=2)
    assert f"{settings}, line 1: environments: The environment 'foo' is not a marker" in told


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


def test_a_sync_brings_back_what_another_program_took_and_takes_out_what_it_put_there(
    tmp_path: Path, start_node: StartNode, start_upstream: StartUpstream
) -> None:
    project = Project(tmp_path / "project", start_node(start_upstream([LIB, SLOW])))
    project.write(["demo-lib"])
    project.zephyr("sync")
    pip = ("pip", "--python", str(project.file(".venv/bin/python")))
    project.zephyr(*pip, "uninstall", "-y", "demo-lib")
    assert project.installed() == {}
    project.zephyr("sync")
    assert project.installed() == {"demo-lib": "1.0"}
    project.zephyr(*pip, "install", "demo-slow")
    project.zephyr("install", "demo-lib")
    assert project.installed() == {"demo-lib": "1.0", "demo-slow": "1.0"}, "only a sync is exact"
    assert "demo_slow 1.0 is in no lock here, and was taken out" in project.zephyr("sync")
    assert project.installed() == {"demo-lib": "1.0"}
    assert "holds its 1 package already" in project.zephyr("sync")
    assert "holds its 1 package already" in project.zephyr("sync", "--frozen")


def test_an_index_that_cannot_be_reached_is_told_with_what_works_without_it(
    tmp_path: Path, start_node: StartNode, start_upstream: StartUpstream
) -> None:
    project = Project(tmp_path / "project", start_node(start_upstream([LIB])))
    project.write(["demo-lib"])
    told = project.zephyr("sync", "--index-url", "http://127.0.0.1:9/simple/", code=1)
    assert "127.0.0.1:9 cannot be reached" in told
    assert "`--offline` works with what is in the store" in told
    assert "works with" not in project.zephyr("sync", "--offline", code=1)
    url = "http://127.0.0.1:9/demo_place-1.0-py3-none-any.whl"  # of many requirements, whose is it?
    project.write(["demo-lib", f"demo-place @ {url}"])
    assert f"This was for demo-place, which comes from {url}." in project.zephyr("lock", code=1)


def test_a_pyproject_that_was_emptied_empties_nothing(
    tmp_path: Path, start_node: StartNode, start_upstream: StartUpstream
) -> None:
    project = Project(tmp_path / "project", start_node(start_upstream([LIB])))
    project.write(["demo-lib"])
    project.zephyr("sync")
    lock = project.lock
    project.file("pyproject.toml").write_text("")
    for command in ("sync", "lock", "update"):
        assert "has no [project], and asks for nothing" in project.zephyr(command, code=2)
    assert (project.lock, project.installed()) == (lock, {"demo-lib": "1.0"})


def test_of_two_files_neither_is_written_where_one_cannot_be(tmp_path: Path) -> None:
    one, two = tmp_path / "one.txt", tmp_path / "nowhere" / "two.txt"
    one.write_text("before")
    with pytest.raises(ZephyrError, match=r"two\.txt cannot be written"):
        write_texts({one: "after", two: "after"})
    assert one.read_text() == "before"
    assert list(tmp_path.iterdir()) == [one]
