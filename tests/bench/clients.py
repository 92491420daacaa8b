"""Real installers (pip old and new, uv, poetry, pdm), each in an environment of its own that is kept between runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.bench.wheels import kept_directory, one_at_a_time

# Creating poetry's environment from nothing takes half a minute on a good line.
SET_UP_TIME_S_MAX = 300.0
RUN_TIME_S_MAX = 120.0

# pdm alone takes versions of what it stands on that it does not run with; its `locked` extra names those that it knows.
# pip 22.3 is the oldest that asks for JSON pages and still runs on Python 3.11; from 3.12 on it is 23.2.
PIP_OLD = "pip==22.3" if sys.version_info < (3, 12) else "pip==23.2.1"
# pip-bundled is the one that comes with Python itself: it is there without any index.
REQUIREMENTS = {
    "pip-bundled": "",
    "pip-new": "pip>=26",
    "pip-old": PIP_OLD,
    "uv": "uv>=0.9",
    "poetry": "poetry>=2.1",
    "pdm": "pdm[locked]>=2.22",
}


class NoTool(Exception):
    """The tool could not be set up here; the message says why in one line."""


@dataclass(frozen=True)
class Tool:
    """One installer. `bin` holds its command; `version` is what it calls itself."""

    name: str
    bin: Path
    version: str

    @property
    def command(self) -> Path:
        return self.bin / ("pip" if self.name.startswith("pip") else self.name)


def tool(name: str) -> Tool:
    """The installer of that name of `REQUIREMENTS`, set up from the configured index if it is not here yet.

    Raises NoTool.
    """
    found = _tool(name)
    if isinstance(found, NoTool):
        raise found
    return found


@cache
def _tool(name: str) -> Tool | NoTool:
    """Also a failure is kept: without a network every attempt takes many seconds."""
    try:
        return _ready_tool(name)
    except NoTool as failure:
        return failure


def _ready_tool(name: str) -> Tool:
    wanted = re.sub(r"[^a-z0-9.]+", "-", REQUIREMENTS[name].replace(">=", " from "))
    tag = f"{sys.implementation.cache_tag}-{wanted}"
    directory = kept_directory() / "tools" / f"{name}-{tag}"
    done = directory / "done"
    with one_at_a_time(directory):
        if not done.exists():
            _set_up(directory, REQUIREMENTS[name])
            done.write_text(_version(directory, name))
    return Tool(name, directory / "bin", done.read_text())


class Workplace:
    """A user who has one fresh environment and no configuration: what runs here knows no index but what it is told."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.home = directory / "home"
        self.environment = directory / "venv"
        self.home.mkdir(parents=True)
        venv.create(self.environment, with_pip=False, symlinks=True)

    @property
    def python(self) -> Path:
        return self.environment / "bin" / "python"

    def run(
        self,
        *command: str | Path,
        settings: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout_s: float = RUN_TIME_S_MAX,
    ) -> subprocess.CompletedProcess[str]:
        """Runs it and returns what it said, whatever its exit code."""
        return subprocess.run(
            [str(word) for word in command],
            capture_output=True,
            text=True,
            env=self.variables(settings),
            cwd=cwd or self.directory,
            timeout=timeout_s,
            check=False,
        )

    def start(self, *command: str | Path, settings: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(word) for word in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.variables(settings),
            cwd=self.directory,
        )

    def variables(self, settings: Mapping[str, str] | None = None) -> dict[str, str]:
        own = {
            "HOME": str(self.home),
            "PATH": f"{self.environment / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "VIRTUAL_ENV": str(self.environment),
            "LANG": "C.UTF-8",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "UV_NO_CONFIG": "1",
            "UV_CACHE_DIR": str(self.directory / "uv"),
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_LINK_MODE": "copy",
            "POETRY_CACHE_DIR": str(self.directory / "poetry"),
            "POETRY_VIRTUALENVS_CREATE": "false",
            "PDM_CACHE_DIR": str(self.directory / "pdm"),
            "PDM_CHECK_UPDATE": "false",
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        }
        return own | dict(settings or {})

    def installed(self) -> dict[str, str]:
        """The normalized names and versions in the environment, read without any installer."""
        code = (
            "import importlib.metadata as m, json, re;"
            "print(json.dumps({re.sub('[-_.]+', '-', d.name).lower(): d.version for d in m.distributions()}))"
        )
        done = subprocess.run([self.python, "-c", code], capture_output=True, text=True, check=True)
        return dict(json.loads(done.stdout))

    # --- installers, each in its shortest form; no cache of theirs hides what the index does ---

    def pip(
        self, pip: Tool, index_url: str, *arguments: str | Path, verb: str = "install"
    ) -> subprocess.CompletedProcess[str]:
        return self.run(*self.pip_command(pip, index_url, *arguments, verb=verb))

    def pip_command(self, pip: Tool, index_url: str, *arguments: str | Path, verb: str = "install") -> list[str | Path]:
        # An old pip has no --python that works from outside everywhere; its own interpreter with --prefix does.
        target: list[str | Path] = ["--prefix", self.environment, "--ignore-installed"] if verb == "install" else []
        return [pip.command, verb, "--no-cache-dir", *target, "--index-url", index_url, *arguments]

    def uv(self, uv: Tool, index_url: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return self.run(*self.uv_command(uv, index_url, *arguments))

    def uv_command(self, uv: Tool, index_url: str, *arguments: str | Path) -> list[str | Path]:
        options = ["--no-cache", "--python", self.python, "--default-index", index_url]
        return [uv.command, "pip", "install", *options, *arguments]


def why_without_network(done: subprocess.CompletedProcess[str]) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    wanted = [line for line in lines if "error" in line.lower()] or lines or ["no word of why"]
    return wanted[-1]


def _set_up(directory: Path, requirement: str) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    venv.create(directory, with_pip=not requirement, symlinks=True)
    if not requirement:
        return
    # With the pip of these tests: another one in each environment would take longer to come than what it installs, and
    # to compile what the tool never imports as long again.
    pip = [sys.executable, "-m", "pip", "--python", str(directory / "bin" / "python")]
    command = [*pip, "install", "--quiet", "--no-compile", requirement]
    with tempfile.TemporaryDirectory() as empty:
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=SET_UP_TIME_S_MAX, check=False, cwd=empty
            )
        except subprocess.TimeoutExpired:
            raise NoTool(f"setting up {requirement} took longer than {SET_UP_TIME_S_MAX:.0f} s") from None
    if done.returncode:
        raise NoTool(f"{requirement} is not to be had here: {why_without_network(done)}")


def _version(directory: Path, name: str) -> str:
    command: Sequence[str] = [str(directory / "bin" / ("pip" if name.startswith("pip") else name)), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoTool(f"{name} does not run: {why_without_network(done)}")
    return done.stdout.strip()
