"""`zephyr pip` where it could do harm: to files that are nobody's to take, to passwords, to what a hash promises."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from p2pcdn_shim.zephyr.pip import change as changes
from p2pcdn_shim.zephyr.pip.change import Change, take_back
from p2pcdn_shim.zephyr.pip.errors import PipError
from tests.shim.test_pip_command import COMMAND, Site
from tests.shim.zephyr import environment


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def _tree(directory: Path) -> dict[str, str]:
    return {str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*") if path.is_file()}


# -- an environment is changed whole or not at all --------------------------------------------------------------------


def _left_by_a_killed_command(directory: Path, pid: int) -> Path:
    """The scratch of a command that had moved `was` aside and had brought `came`."""
    scratch = directory / f"~zephyr-{pid}"
    (scratch / "old").mkdir(parents=True)
    (scratch / "old" / "0").write_text("old")
    (directory / "came").write_text("new")
    job = {
        "aside": {str(directory / "was"): str(scratch / "old" / "0")},
        "comes": [str(directory / "came")],
        "made": [],
    }
    (scratch / "journal.json").write_text(json.dumps(job))
    return scratch


def test_a_killed_change_is_taken_back_also_where_another_process_has_its_number(tmp_path: Path) -> None:
    """In a container numbers come again at once; left for later, it would take back what came in between."""
    _left_by_a_killed_command(tmp_path, os.getppid())
    with Change(tmp_path):
        assert (tmp_path / "was").read_text() == "old"
        assert not (tmp_path / "came").exists()


def test_what_cannot_be_put_back_is_kept(tmp_path: Path) -> None:
    scratch = _left_by_a_killed_command(tmp_path, 999999999)
    (tmp_path / "was").mkdir()
    (tmp_path / "was" / "in the way").write_text("mine")
    with pytest.raises(OSError, match="is kept in"):
        take_back(tmp_path)
    assert (scratch / "old" / "0").read_text() == "old"
    (tmp_path / "was" / "in the way").unlink()
    take_back(tmp_path)
    assert _tree(tmp_path) == {"was": "old"}


def test_a_second_interrupt_while_it_is_taken_back_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old").write_text("old")

    def interrupt(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, Change(tmp_path) as change:
        patched.setattr(changes, "_undo", interrupt)
        change.remove([str(tmp_path / "old")])
        change.put(change.new / "missing", tmp_path / "b")
        with pytest.raises(KeyboardInterrupt):
            change.commit()
    with Change(tmp_path):
        assert (tmp_path / "old").read_text() == "old"


def test_a_directory_goes_and_files_of_its_name_come(tmp_path: Path) -> None:
    """As with packages of setuptools, whose whole directory goes for a wheel that has the same."""
    (tmp_path / "lib" / "sub").mkdir(parents=True)
    (tmp_path / "lib" / "sub" / "a.py").write_text("old")
    before = _tree(tmp_path)
    with Change(tmp_path) as change:
        (change.new / "a").write_text("new")
        change.remove([str(tmp_path / "lib")])
        change.put(change.new / "a", tmp_path / "lib" / "sub" / "a.py")
        change.put(change.new / "missing", tmp_path / "b")
        with pytest.raises(PipError):
            change.commit()
        assert _tree(tmp_path / "lib") == {"sub/a.py": before["lib/sub/a.py"]}
    assert _tree(tmp_path) == before
    with Change(tmp_path) as change:
        (change.new / "a").write_text("new")
        change.remove([str(tmp_path / "lib")])
        change.put(change.new / "a", tmp_path / "lib" / "sub" / "a.py")
        change.commit()
    assert _tree(tmp_path) == {"lib/sub/a.py": "new"}


def test_no_file_takes_the_place_of_a_directory_with_files_in_it(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "precious").write_text("mine")
    with Change(tmp_path) as change:
        (change.new / "a").write_text("new")
        change.put(change.new / "a", tmp_path / "lib")
        with pytest.raises(PipError, match="is a directory with files in it"):
            change.commit()
    assert _tree(tmp_path) == {"lib/precious": "mine"}


def test_a_linked_package_goes_as_a_link(tmp_path: Path) -> None:
    """As `flit install --symlink` puts it there: the sources behind it are the user's."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.py").write_text("mine")
    place = tmp_path / "site"
    place.mkdir()
    (place / "lib").symlink_to(tmp_path / "mine")
    with Change(place) as change:
        (change.new / "a").write_text("new")
        change.remove([str(place / "lib")])
        change.put(change.new / "a", place / "lib" / "a.py")
        change.commit()
    assert (place / "lib" / "a.py").read_text() == "new"
    assert (tmp_path / "mine" / "a.py").read_text() == "mine"


def test_a_copy_to_another_file_system_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the middle of a copy: a half one, taken for what was moved aside, would replace the original."""
    source = tmp_path / "source"
    source.write_text("whole")
    rename = os.rename

    def across(one: str, other: str) -> None:
        if str(one) == str(source):
            raise OSError(changes.errno.EXDEV, "Invalid cross-device link")
        rename(one, other)

    def killed(one: str, other: str, **_: object) -> None:
        Path(other).write_text("wh")
        raise KeyboardInterrupt

    monkeypatch.setattr(changes.os, "rename", across)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copy2", killed)
        with pytest.raises(KeyboardInterrupt):
            changes._move(str(source), str(tmp_path / "place"))
    assert not (tmp_path / "place").exists()
    changes._move(str(source), str(tmp_path / "place"))
    assert _tree(tmp_path) == {"place": "whole"}


def test_no_package_can_bring_what_would_pass_for_a_journal(site: Site) -> None:
    site.wheel("lib", "1.0", files={"~zephyr-999999999/journal.json": "{}"})
    before = site.files()
    assert "only zephyr itself may use" in site.install("lib", code=1).stderr
    assert site.files() == before


# -- what is taken away -----------------------------------------------------------------------------------------------


def test_nothing_outside_of_the_environment_is_uninstalled_nor_any_directory(site: Site) -> None:
    site.wheel("lib", "1.0")
    site.install("lib")
    precious = site.directory / "precious"
    precious.write_text("mine")
    (site.packages / "other").mkdir()
    (site.packages / "other" / "module.py").write_text("theirs")
    record = site.packages / "lib-1.0.dist-info" / "RECORD"
    way_out = os.path.relpath(precious, site.packages)
    record.write_text(record.read_text() + f"{way_out},,\n{site.directory / 'precious'},,\nother,,\n")
    run = site.pip("uninstall", "-y", "lib")
    assert "Successfully uninstalled lib-1.0" in run.stdout
    assert "lies outside of the environment and stays" in run.stderr
    assert precious.read_text() == "mine"
    assert (site.packages / "other" / "module.py").exists()
    assert not (site.packages / "lib.py").exists()


def test_an_upgrade_in_a_target_that_fails_leaves_it_as_it_was(site: Site) -> None:
    site.wheel("lib", "1.0", files={"pkg/__init__.py": "old"})
    site.install("--target", "there", "lib")
    (site.directory / "there" / "bin" / "tool").mkdir(parents=True)
    (site.directory / "there" / "bin" / "tool" / "precious").write_text("mine")
    before = _tree(site.directory / "there")
    points = {"lib-2.0.dist-info/entry_points.txt": "[console_scripts]\ntool = lib:version\n"}
    site.wheel("lib", "2.0", files={"pkg/__init__.py": "new", **points})
    assert "is a directory with files in it" in site.install("--upgrade", "--target", "there", "lib", code=1).stderr
    assert _tree(site.directory / "there") == before


def test_what_another_command_installed_while_it_waited_is_replaced(site: Site) -> None:
    """What is installed was read before it waited; two versions would be there afterwards."""
    site.wheel("lib", "2.0")
    old = site.wheel("lib", "1.0")
    command = [*COMMAND, "--python", str(site.venv), "install", "--no-index", "-f", str(site.wheels), "lib==2.0"]
    variables = environment(site.directory, PYTHONUNBUFFERED="1")
    with contextlib.ExitStack() as other:
        other.enter_context(Change(site.packages))
        run = subprocess.Popen(command, stdout=subprocess.PIPE, env=variables, text=True, cwd=site.directory)
        assert run.stdout is not None
        assert any(line.startswith("Another command is changing") for line in run.stdout)
        with zipfile.ZipFile(old) as archive:
            archive.extractall(site.packages)
    said = run.communicate(timeout=60)[0]
    assert "Found existing installation: lib 1.0" in said
    assert [path.name for path in site.packages.glob("lib-*")] == ["lib-2.0.dist-info"]
