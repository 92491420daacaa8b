"""`zephyr run`: a command in an environment; its words, streams, signals, terminal and exit code are its own."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from p2pcdn_shim.zephyr.commands.run import activated
from p2pcdn_shim.zephyr.environment import venv
from p2pcdn_shim.zephyr.interpreters.probes import Probe
from tests.shim.zephyr import COMMAND, assert_one_sentence, environment, zephyr


@pytest.fixture
def project(interpreter: Probe, tmp_path: Path) -> Path:
    place = tmp_path / "shop"
    place.mkdir()
    (place / "pyproject.toml").write_text("")
    venv.create(place / ".venv", interpreter)
    return place


def test_a_command_runs_as_if_the_environment_were_active(project: Path, tmp_path: Path) -> None:
    code = "import json, os, sys; print(json.dumps([sys.prefix, os.environ['VIRTUAL_ENV']]))"
    (project / "deep").mkdir()
    run = zephyr("run", "--", "python", "-c", code, home=tmp_path, cwd=project / "deep")
    assert json.loads(run.stdout) == [str(project / ".venv"), str(project / ".venv")]
    assert run.stderr == ""


def test_its_words_and_its_exit_code_are_its_own(project: Path, tmp_path: Path) -> None:
    code = "import sys; print(sys.argv[1:]); sys.exit(7)"
    words = ["-c", code, "--help", "-v", "--", "a b", "", "--venv", "x"]
    for dashes in ([], ["--"]):
        run = zephyr("run", *dashes, "python", *words, home=tmp_path, cwd=project)
        assert (run.returncode, run.stdout) == (7, f"{words[2:]}\n")


def test_flags_before_the_command_are_ours(project: Path, tmp_path: Path) -> None:
    run = zephyr("run", "-v", "--directory", str(project), "--", "true", home=tmp_path)
    assert (run.returncode, run.stdout) == (0, "")
    assert f"Runs in {project / '.venv'}" in run.stderr


def test_the_environment_may_be_named(interpreter: Probe, project: Path, tmp_path: Path) -> None:
    other = venv.create(tmp_path / "other", interpreter)
    for word in ("./other", str(other.path)):
        run = zephyr("run", "--venv", word, "printenv", "VIRTUAL_ENV", home=tmp_path)
        assert run.stdout == f"{other.path}\n"
    active = {"VIRTUAL_ENV": str(other.path)}
    run = zephyr("run", "printenv", "VIRTUAL_ENV", home=tmp_path, variables=active)
    assert run.stdout == f"{other.path}\n"  # outside a project the active one is taken
    run = zephyr("run", "printenv", "VIRTUAL_ENV", home=tmp_path, cwd=project, variables=active)
    assert run.stdout == f"{project / '.venv'}\n"


def test_without_an_environment_nothing_is_run(tmp_path: Path) -> None:
    for words in (["true"], ["--venv", "nowhere", "true"]):
        sentence = assert_one_sentence(zephyr("run", *words, home=tmp_path), 1)
        assert "zephyr venv create" in sentence


def test_a_command_that_is_not_there_is_127_and_one_that_cannot_be_run_126(project: Path, tmp_path: Path) -> None:
    missing = zephyr("run", "nothing-like-it", home=tmp_path, cwd=project)
    assert "no command 'nothing-like-it'" in assert_one_sentence(missing, 127)
    missing = zephyr("run", "nothing.py", home=tmp_path, cwd=project)
    assert "no file 'nothing.py'" in assert_one_sentence(missing, 127)
    (project / "data").write_text("x")
    assert "cannot be run" in assert_one_sentence(zephyr("run", "./data", home=tmp_path, cwd=project), 126)


def test_a_command_whose_interpreter_is_gone_is_told_from_one_that_is_not_there(project: Path, tmp_path: Path) -> None:
    (project / "old").write_text("#!/nowhere/python\n")
    (project / "old").chmod(0o755)
    sentence = assert_one_sentence(zephyr("run", "./old", home=tmp_path, cwd=project), 126)
    assert "The interpreter that ./old names" in sentence


@pytest.mark.skipif(os.name == "nt", reason="it has no such signals")
def test_no_signal_is_ignored_in_a_command_that_was_not_before(project: Path, tmp_path: Path) -> None:
    script = "yes 2>&1 | head -n 1; trap - PIPE; kill -PIPE $$; echo alive"
    run = zephyr("run", "--", "sh", "-c", script, home=tmp_path, cwd=project)
    assert (run.returncode, run.stdout, run.stderr) == (-signal.SIGPIPE, "y\n", "")


def test_standard_input_goes_to_the_command(project: Path, tmp_path: Path) -> None:
    run = subprocess.run(
        [*COMMAND, "run", "cat"],
        env=environment(tmp_path),
        cwd=project,
        input=b"\0\xff",
        capture_output=True,
        check=True,
    )
    assert run.stdout == b"\0\xff"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_reach_the_command_and_end_it_as_they_would(
    number: signal.Signals, project: Path, tmp_path: Path
) -> None:
    code = (
        f"import signal, sys, time; signal.signal({number}, lambda n, _: sys.exit(n))\n"
        "print('on', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [*COMMAND, "run", "--", "python", "-c", code], env=environment(tmp_path), cwd=project, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"on\n"
    process.send_signal(number)
    assert process.wait(30) == number
    process.stdout.close()
    killed = subprocess.run(
        [*COMMAND, "run", "--", "sh", "-c", f"kill -{int(number)} $$"],
        env=environment(tmp_path), cwd=project, check=False,
    )  # fmt: skip
    assert killed.returncode == -number


def test_a_terminal_stays_the_commands_own(project: Path, tmp_path: Path) -> None:
    code = "import sys; print([stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)])"
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(project)
        os.execve(sys.executable, [*COMMAND, "run", "--", "python", "-c", code], environment(tmp_path))
    said = b""
    with suppress(OSError):  # how Linux says that the other side has gone
        while b"]" not in said:
            said += os.read(terminal, 4096)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)
    assert b"[True, True, True]" in said


def test_the_variables_are_those_of_the_environments_own_script(interpreter: Probe, tmp_path: Path) -> None:
    made = venv.create(tmp_path / "e", interpreter, prompt="p")
    names = "VIRTUAL_ENV VIRTUAL_ENV_PROMPT PATH PYTHONHOME"
    script = f'. {made.path}/bin/activate; for n in {names}; do eval echo "$n=\\${{$n-unset}}"; done'
    before = {"PATH": "/usr/bin:/bin", "PYTHONHOME": "/x"}
    said = subprocess.run(["/bin/sh", "-c", script], env=before, capture_output=True, text=True, check=True).stdout
    theirs = dict(line.split("=", 1) for line in said.splitlines())
    ours = activated(made, before)
    assert {name: ours.get(name, "unset") for name in names.split()} == theirs
