"""Checkouts of git on this machine: where one came from, and whether somebody works in it. The node clones."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.pip.web import public, without_password

# Nothing here asks a server, nor may a checkout make git do so.
_OURS = {"GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "none", "GIT_OPTIONAL_LOCKS": "0"}
# These bind git to another repository: that of the hook, say, from which we were started, whose index it would write.
_STRANGE = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"),
    *("GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_SHALLOW_FILE", "GIT_GRAFT_FILE", "GIT_CEILING_DIRECTORIES"),
)
_SCP = re.compile(r"(\w+@)?([^/:]+):(.*)")


class NoRemote(Exception):
    """The repository has no remote."""


class BadRemote(Exception):
    """The remote is not one that can be named; url: what it is."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


def git(*words: str, cwd: str | Path | None = None) -> str:
    """What git says. Raises PipError."""
    environ = {key: value for key, value in os.environ.items() if key not in _STRANGE} | _OURS
    try:
        done = subprocess.run(
            ["git", *words], cwd=cwd, env=environ, check=False, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, errors="replace",
        )  # fmt: skip
    except OSError as error:
        raise PipError("Cannot find command 'git' - do you have 'git' installed and in your PATH?") from error
    if done.returncode:
        said = done.stderr.strip()
        raise PipError(f"git {' '.join(words)} failed with code {done.returncode}{': ' if said else ''}{said}")
    return done.stdout


def root_of(directory: Path) -> Path | None:
    """The top of the repository that a directory lies in; None outside of one, or without git."""
    try:
        return Path(git("rev-parse", "--show-toplevel", cwd=directory).strip())
    except (PipError, OSError):
        return None


def remote_of(directory: Path) -> str:
    """The URL of its remote, `origin` before others, as pip would write it. Raises NoRemote, BadRemote."""
    try:
        lines = git("config", "--get-regexp", r"remote\..*\.url", cwd=directory).splitlines()
    except PipError as error:
        raise NoRemote from error
    chosen = next((line for line in lines if line.startswith("remote.origin.url ")), lines[0] if lines else "")
    if not chosen:
        raise NoRemote
    url = chosen.partition(" ")[2].strip()
    if re.match(r"\w+://", url):
        return url
    if Path(url).exists():
        return Path(url).resolve().as_uri()
    if match := _SCP.fullmatch(url):
        return f"ssh://{match[1] or ''}{match[2]}/{match[3].lstrip('/')}"
    raise BadRemote(url)


def revision_of(directory: Path, name: str = "HEAD") -> str:
    return git("rev-parse", name, cwd=directory).strip()


def frozen(directory: Path, project: str) -> str | None:
    """`git+URL@revision#egg=name` of a checkout, without a password; None where there is none.

    Raises NoRemote, BadRemote.
    """
    root = root_of(directory)
    if root is None:
        return None
    url = remote_of(directory)
    prefix = "" if url.startswith("git:") else "git+"
    below = _project_below(directory, root)
    where = f"&subdirectory={below}" if below else ""
    return f"{prefix}{public(url)}@{revision_of(directory)}#egg={project.replace('-', '_')}{where}"


def _project_below(directory: Path, root: Path) -> str:
    """Where in the repository the project lies; "" for its top."""
    at = directory
    while not any((at / name).exists() for name in ("setup.py", "pyproject.toml")):
        if at == at.parent:
            return ""
        at = at.parent
    return "" if at.resolve() == root.resolve() else str(at.resolve().relative_to(root.resolve()))


def is_of(directory: Path, url: str) -> bool:
    """Whether a checkout is of this repository, whoever asks for it there."""
    try:
        known = git("config", "--get", "remote.origin.url", cwd=directory).strip()
    except PipError:
        return False
    one, other = (without_password(text)[0].rstrip("/").removesuffix(".git") for text in (known, url))
    return one == other
