"""What a shell completes: commands, flags, choices and names; asked of zephyr at each Tab, by real shells."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from p2pcdn_shim.zephyr.commands import COMMANDS
from p2pcdn_shim.zephyr.environment import venv
from p2pcdn_shim.zephyr.interpreters.probes import Probe
from tests.shim.zephyr import environment, zephyr


def words(home: Path, *typed: str, cwd: Path | None = None) -> list[str]:
    """What may stand in the place of the last one."""
    done = zephyr("completion", "--words", "--", *typed, home=home, cwd=cwd)
    assert (done.returncode, done.stderr) == (0, "")
    return [line.partition("\t")[0] for line in done.stdout.splitlines()]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    place = tmp_path / "shop"
    place.mkdir()
    (place / "pyproject.toml").write_text(
        '[project]\nname = "shop"\nversion = "1"\n[project.optional-dependencies]\nfast = []\n'
        "[dependency-groups]\ndev = []\ndocs = []\n"
    )
    (place / "pylock.toml").write_text(
        'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "rich"\n[[packages]]\nname = "flask"\n'
    )
    return place


def test_commands_are_completed_with_their_sentences(tmp_path: Path) -> None:
    assert words(tmp_path, "") == [*COMMANDS]
    assert words(tmp_path, "-q", "s") == ["sync", "show", "shell-hook"]
    assert words(tmp_path, "help", "ru") == ["run"]
    done = zephyr("completion", "--words", "--", "ru", home=tmp_path)
    assert done.stdout == f"run\t{COMMANDS['run']}\n"
    assert words(tmp_path, "pip", "inst") == ["install"]


def test_flags_are_those_of_the_command_and_are_not_given_twice(tmp_path: Path) -> None:
    assert words(tmp_path, "sync", "--no-de") == ["--no-default-groups", "--no-dev"]
    assert words(tmp_path, "sync", "--no-dev", "--no-de") == ["--no-default-groups"]
    assert words(tmp_path, "sync", "--group", "x", "--grou") == ["--group"]  # this one may be
    assert words(tmp_path, "venv", "create", "--cl") == ["--clear"]
    assert words(tmp_path, "--direc") == ["--directory"]
    assert words(tmp_path, "nonsuch", "--x") == []


def test_choices_and_commands_of_commands_are_completed(tmp_path: Path) -> None:
    assert words(tmp_path, "sync", "--link-mode", "h") == ["hardlink"]
    assert words(tmp_path, "venv", "") == ["create", "list", "remove", "activate"]
    assert words(tmp_path, "completion", "") == ["bash", "zsh", "fish"]
    assert words(tmp_path, "config", "index") == ["index-url", "index"]


def test_what_a_stranger_calls_by_a_command_is_not_put_where_the_next_enter_runs_it(
    project: Path, tmp_path: Path
) -> None:
    for file, line in {
        "pyproject.toml": '"b; reboot" = []\n"a$(reboot)" = []\n',
        "pylock.toml": '[[packages]]\nname = "x$(reboot)"\n[[packages]]\nname = "two\\nlines`reboot`"\n',
    }.items():
        with (project / file).open("a") as opened:
            opened.write(line)
    assert words(tmp_path, "sync", "--group", "", cwd=project) == ["dev", "docs"]
    assert words(tmp_path, "update", "", cwd=project) == ["flask", "rich"]


def test_names_are_those_of_the_project_and_of_the_environments(
    interpreter: Probe, project: Path, tmp_path: Path
) -> None:
    assert words(tmp_path, "sync", "--group", "", cwd=project) == ["dev", "docs"]
    assert words(tmp_path, "sync", "--extra", "", cwd=project) == ["fast"]
    assert words(tmp_path, "update", "", cwd=project) == ["flask", "rich"]
    assert words(tmp_path, "update", "flask", "r", cwd=project) == ["rich"]
    assert words(tmp_path, "--directory", str(project), "why", "f") == ["flask"]
    venv.create(tmp_path / ".local/share/zephyr/venvs/tools", interpreter)
    assert words(tmp_path, "venv", "remove", "") == ["tools", ":files"]
    (project / "pyproject.toml").write_text("[[[")
    assert words(tmp_path, "sync", "--group", "", cwd=project) == []  # and not a word of complaint


def test_what_is_run_is_the_shells_to_complete(tmp_path: Path) -> None:
    assert words(tmp_path, "run", "") == [":files", ":commands"]
    assert words(tmp_path, "run", "--", "") == [":commands"]
    assert words(tmp_path, "run", "--", "python", "") == [":files"]
    assert words(tmp_path, "run", "python", "--ver") == [":files"]
    assert words(tmp_path, "run", "--no-s") == ["--no-sync"]
    assert words(tmp_path, "import", "") == [":files"]


ASK = {
    "bash": (
        'eval "$(zephyr completion bash)"; compopt() {{ echo files; }}; COMP_WORDS=(zephyr {}); '
        'COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _zephyr; printf "%s\\n" "${{COMPREPLY[@]}}"'
    ),
    "zsh": (
        'compdef() {{ }}; eval "$(zephyr completion zsh)"; _files() {{ echo files; }}; '
        '_describe() {{ print -l -- "${{(@)${{(P)3}}%%:*}}"; }}; words=(zephyr {}); CURRENT=$#words; _zephyr'
    ),
    "fish": "zephyr completion fish | source; complete -C 'zephyr {}'",
}


@pytest.mark.parametrize("shell", sorted(ASK))
def test_a_real_shell_is_told(shell: str, project: Path, tmp_path: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    own = tmp_path / "bin"
    own.mkdir()
    (own / "zephyr").write_text(f'#!/bin/sh\nexec {sys.executable} -m p2pcdn_shim.zephyr "$@"\n')
    (own / "zephyr").chmod(0o755)
    for typed, expected in (("sync --no-dev --no-de", "--no-default-groups"), ("sync --group do", "docs")):
        done = subprocess.run(
            [program, *(["-f"] if shell == "zsh" else []), "-c", ASK[shell].format(typed)],
            env=environment(tmp_path, PATH=f"{own}{os.pathsep}/usr/bin{os.pathsep}/bin"), cwd=project,
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert [line.partition("\t")[0] for line in done.stdout.splitlines()] == [expected], done.stderr
