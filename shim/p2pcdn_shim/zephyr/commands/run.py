"""`zephyr run -- COMMAND`: a command in an environment, as if it had been activated."""

from __future__ import annotations

import os
import sys
from argparse import REMAINDER, ArgumentParser
from collections.abc import Mapping
from pathlib import Path

from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.command_line.flags import add_index_flags, add_selection_flags
from p2pcdn_shim.zephyr.environment import venv
from p2pcdn_shim.zephyr.errors import NoCommand, NotExecutable, UsageError
from p2pcdn_shim.zephyr.machine import platforms
from p2pcdn_shim.zephyr.running.below import find_below

DESCRIPTION = """Runs COMMAND in the project's environment, or in the one that --venv names, as if it had been
activated; a file whose name ends with .py is run by its Python. Where pyproject.toml or pylock.toml is newer than the
project's environment, that is synced first. Outside a project that has one, the environment that is active is taken.
A script that says in a comment what it needs (PEP 723, `# /// script`) gets an environment of its own. The command
takes this process over: its signals, its terminal and its exit code are its own; 127 says that there is no such
command, 126 that it cannot be run."""


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--venv", dest="place", metavar="NAME|PATH", help="The environment to run it in.")
    parser.add_argument(
        "--python",
        metavar="PYTHON",
        help="With this interpreter; the project's environment stays, where it has another one.",
    )
    parser.add_argument(
        "--with",
        dest="above",
        action="append",
        default=[],
        metavar="REQUIREMENT[,...]",
        help="With these packages besides, for this run; the project stays as it is.",
    )
    parser.add_argument("--upgrade", action="store_true", help="The newest of what --with or the script asks for.")
    parser.add_argument("--no-sync", action="store_true", help="Takes the project's environment as it is.")
    add_selection_flags(parser)
    add_index_flags(parser)
    parser.add_argument("command", nargs=REMAINDER, metavar="-- COMMAND ...", help="The command and its arguments.")


def run(call: Call) -> int:
    command = call.options.command
    command = command[1:] if command[:1] == ["--"] else command
    if not command:
        raise UsageError("Name a command: `zephyr run -- python app.py`.")
    script = command[0] if command[0].endswith(".py") and Path(command[0]).is_file() else None
    if script is not None:
        command = ["python", *command]
    environment, environ = _environment(call, script)
    call.voice.detail(f"Runs in {environment.path} with Python {environment.version}.")
    return _become(command, environ)


def _environment(call: Call, file: str | None) -> tuple[venv.Environment, dict[str, str]]:
    """The environment to run in, and the variables of a command there."""
    script = None
    if file is not None:
        from p2pcdn_shim.zephyr.project.inline_metadata import read_script

        script = read_script(call.directory / file)
    below = find_below(call) if script is None else None
    environ = activated(below, os.environ) if below is not None else dict(os.environ)
    if below is not None and not (call.options.above or call.options.upgrade):
        return below, environ
    from p2pcdn_shim.zephyr.running.above import find_above

    environment = find_above(call, below, script)
    return environment, activated(environment, environ)


def activated(environment: venv.Environment, environ: Mapping[str, str]) -> dict[str, str]:
    """What the environment's own script would set."""
    scripts = environment.path / platforms.scripts_name()
    changed = {**environ, "VIRTUAL_ENV": str(environment.path)}
    changed["VIRTUAL_ENV_PROMPT"] = environment.settings.get("prompt") or environment.path.name
    path = environ.get("PATH", os.defpath)
    changed["PATH"] = f"{scripts}{os.pathsep}{path}" if path else str(scripts)
    changed.pop("PYTHONHOME", None)
    return changed


def _become(command: list[str], environ: dict[str, str]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        if os.name == "nt":
            return _run_and_wait(command, environ)
        _give_signals_back()
        os.execvpe(command[0], command, environ)
    except FileNotFoundError as error:
        from shutil import which

        if (found := which(command[0], path=environ["PATH"])) is not None:
            raise NotExecutable(f"The interpreter that {found} names in its first line is gone.") from error
        what = "file" if command[0].endswith(".py") else "command"
        raise NoCommand(f"There is no {what} {command[0]!r}.") from error
    except OSError as error:
        raise NotExecutable(f"{command[0]!r} cannot be run: {error.strerror or error}.") from error


def _give_signals_back() -> None:
    """Python ignores these, and what is ignored stays so in the command: `yes` would not end where `head` has."""
    import signal

    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)


def _run_and_wait(command: list[str], environ: dict[str, str]) -> int:
    """Windows cannot replace a process: this one waits, and leaves Ctrl-C to the command."""
    import signal
    from shutil import which
    from subprocess import Popen

    file = which(command[0], path=environ["PATH"])
    if file is None:
        raise FileNotFoundError(command[0])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return Popen([file, *command[1:]], env=environ).wait()
