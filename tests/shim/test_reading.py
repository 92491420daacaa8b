"""`zephyr show`, `freeze` and `check` on an environment that others filled."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shim.zephyr import assert_one_sentence, zephyr


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """An environment with two packages, of which one needs another version of the other."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / ".venv"], check=True)
    site = next((tmp_path / ".venv").glob("lib/*/site-packages"))
    for name, version, more in (("app", "1.0", "Requires-Dist: lib>=2\nSummary: An app.\n"), ("lib", "1.0", "")):
        info = site / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}\n")
        (info / "RECORD").write_text(f"{info.name}/METADATA,,\n{info.name}/RECORD,,\n")
        (info / "INSTALLER").write_text("somebody\n")
    return tmp_path


def test_show_says_what_a_package_is_and_who_needs_it(filled: Path) -> None:
    run = zephyr("show", "lib", home=filled)
    assert "Required-by: app\n" in run.stdout
    assert "Summary: An app." in zephyr("show", "app", home=filled).stdout
    (told,) = json.loads(zephyr("--json", "show", "app", home=filled).stdout)
    assert (told["name"], told["requires"], told["installer"]) == ("app", ["lib"], "somebody")
    assert assert_one_sentence(zephyr("show", "app", "nobody", home=filled), 1) == "Not installed: nobody."


def test_freeze_is_a_requirements_file(filled: Path) -> None:
    assert zephyr("freeze", home=filled).stdout == "app==1.0\nlib==1.0\n"
    assert json.loads(zephyr("--json", "freeze", home=filled).stdout) == ["app==1.0", "lib==1.0"]


def test_check_names_what_does_not_fit_and_ends_with_1(filled: Path) -> None:
    run = zephyr("check", home=filled)
    assert run.stdout == "app 1.0 has requirement lib>=2, but you have lib 1.0.\n"
    assert run.returncode == 1


def test_without_an_environment_it_is_said_how_to_make_one(tmp_path: Path) -> None:
    assert "zephyr venv create" in assert_one_sentence(zephyr("check", home=tmp_path), 1)


@pytest.mark.parametrize("words", [["list"], ["freeze"], ["check"], ["show", "x"], ["rollback"]])
def test_the_environment_that_a_project_lacks_is_made_by_a_sync(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'a'\nversion = '1'\n")
    assert "`zephyr sync` makes it" in assert_one_sentence(zephyr(*words, home=tmp_path), 1)
    elsewhere = assert_one_sentence(zephyr(*words, "--venv", "elsewhere", home=tmp_path), 1)
    assert "zephyr venv create" in elsewhere
