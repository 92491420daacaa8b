"""The environment that `zephyr pip` works on: where its interpreter finds packages, and where new ones go."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from p2pcdn_shim.zephyr.errors import ZephyrError
from p2pcdn_shim.zephyr.interpreters.probes import PROBE_TIME_S, Probe, probe
from p2pcdn_shim.zephyr.machine.platforms import may_be_planted, python_of, why_unusable
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


class Target:
    """One interpreter's environment. Asked once a command, for variables and .pth files change what it sees."""

    def __init__(self, python: Path, environ: Mapping[str, str] = os.environ) -> None:
        """python: its absolute path. Raises PipError where it does not run."""
        self.python = python
        self._environ = environ
        self._said = _ask(python, environ)

    @property
    def path(self) -> list[str]:
        """The directories in which it looks for packages (sys.path without the current one)."""
        return list(self._said["path"])

    @property
    def invented(self) -> list[str]:
        """The metadata of packages that lie in none of them, of which an import hook speaks."""
        return list(self._said["invented"])

    @property
    def prefix(self) -> str:
        return str(self._said["prefix"])

    @property
    def executable(self) -> str:
        """As scripts name it."""
        return str(self._said["executable"])

    @property
    def is_environment(self) -> bool:
        return bool(self._said["prefix"] != self._said["base_prefix"])

    @property
    def user_site(self) -> str:
        return str(self._said["user_site"])

    @property
    def user_enabled(self) -> bool | None:
        """None: switched off for reasons of safety; False: by the user."""
        found = self._said["user_enabled"]
        return None if found is None else bool(found)

    @property
    def version(self) -> str:
        return str(self._said["version"])

    @property
    def paths(self) -> Mapping[str, str]:
        """purelib, platlib, scripts, data, include: where packages go by default."""
        found: Mapping[str, str] = self._said["paths"]
        return found

    @property
    def user_paths(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self._said["user_paths"]
        return found

    def paths_below(self, base: str) -> dict[str, str]:
        """Where packages go with --prefix."""
        return {name: path.replace("{base}", base) for name, path in self._said["prefix_paths"].items()}

    @property
    def short_version(self) -> str:
        """Such as "3.12"."""
        return ".".join(self.version.split(".")[:2])

    @cached_property
    def probe(self) -> Probe:
        """Markers, tags, byte code. Raises PipError."""
        try:
            return probe(self.python, self._environ)
        except ZephyrError as error:
            raise PipError(str(error)) from error


def find_target(named: str | None, environ: Mapping[str, str] = os.environ) -> Target:
    """The environment of `--python`, else the active one (venv's or conda's), else the project's `.venv`, which lies
    here or above, else that of the interpreter on the PATH, else our own.

    named: an interpreter, or a directory with an environment. Raises PipError.
    """
    if named:
        python = _interpreter_at(Path(named), environ)
        if python is None:
            raise PipError(f"Could not locate Python interpreter {named}")
        return Target(python, environ)
    for directory in _environments(environ):
        if (python := _interpreter_at(directory, environ)) is not None:
            return Target(python, environ)
        if (directory / "pyvenv.cfg").is_file():  # what was meant for it must not go to the next one
            why = why_unusable(python_of(directory)) or "is gone"
            raise PipError(
                f"The interpreter of the environment {directory} {why}. Nothing was done. Install it again, make the"
                f" environment anew (`zephyr venv create --clear {directory}`), or name another one with --python."
            )
    for name in ("python3", "python"):
        if found := shutil.which(name, path=environ.get("PATH")):
            return Target(Path(found).absolute(), environ)
    return Target(Path(sys.executable), environ)


def _environments(environ: Mapping[str, str]) -> Iterator[Path]:
    """Where one may be, the first that is meant first. Conda's base is no environment of a project."""
    if active := environ.get("VIRTUAL_ENV"):
        yield Path(active)
    if (active := environ.get("CONDA_PREFIX")) and environ.get("CONDA_DEFAULT_ENV") not in ("base", "root"):
        yield Path(active)
    try:
        here = Path.cwd()
    except FileNotFoundError:
        return  # it is gone
    found = (above / ".venv" for above in (here, *here.parents) if (above / ".venv" / "pyvenv.cfg").is_file())
    yield from (place for place in found if not may_be_planted(place))


def _interpreter_at(path: Path, environ: Mapping[str, str]) -> Path | None:
    if path.is_dir():
        for inside in ("bin/python", "Scripts/python.exe"):
            if os.path.exists(path / inside):  # noqa: PTH110 - it may lie where this user cannot look
                return (path / inside).absolute()
        return None
    if os.path.exists(path):  # noqa: PTH110
        return path.absolute()
    found = shutil.which(str(path), path=environ.get("PATH"))
    return Path(found).absolute() if found else None


def _ask(python: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    script = Path(__file__).with_name("target_script.py").read_text(encoding="utf-8")
    try:
        done = subprocess.run(
            [str(python), "-B", "-c", script],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_TIME_S, check=False, env=dict(environ),
        )  # fmt: skip
        said = json.loads(done.stdout.splitlines()[-1])
        assert isinstance(said, dict)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PipError(f"The interpreter {python} cannot be started: {error}") from error
    except (ValueError, IndexError, AssertionError) as error:
        words = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise PipError(f"{python} is no Python that works: {' '.join(words)}") from error
    return said
