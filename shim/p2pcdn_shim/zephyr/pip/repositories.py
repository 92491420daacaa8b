"""Repositories of git: where a directory's came from, and how one is cloned at a revision."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from p2pcdn_shim.zephyr.pip.errors import PipError

# No repository asks for anything on our terminal, nor names a program as its transport (git's ext::).
_SCHEMES = ("file", "git", "http", "https", "ssh")
_OURS = {"GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": ":".join(_SCHEMES)}
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


def git(*words: str, cwd: str | Path | None = None, quiet: bool = True) -> str:
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
    """`git+URL@revision#egg=name` of a checkout; None where there is none. Raises NoRemote, BadRemote."""
    root = root_of(directory)
    if root is None:
        return None
    url = remote_of(directory)
    prefix = "" if url.startswith("git:") else "git+"
    below = _project_below(directory, root)
    where = f"&subdirectory={below}" if below else ""
    return f"{prefix}{url}@{revision_of(directory)}#egg={project.replace('-', '_')}{where}"


def _project_below(directory: Path, root: Path) -> str:
    """Where in the repository the project lies; "" for its top."""
    at = directory
    while not any((at / name).exists() for name in ("setup.py", "pyproject.toml")):
        if at == at.parent:
            return ""
        at = at.parent
    return "" if at.resolve() == root.resolve() else str(at.resolve().relative_to(root.resolve()))


class Place:
    """A repository as a requirement names it: git+URL@revision#subdirectory=…."""

    def __init__(self, url: str) -> None:
        """Raises PipError for a kind that is not git's."""
        kind, plus, rest = url.partition("+")
        parts = urlsplit(rest if plus else url)
        if (plus and kind != "git") or (not plus and parts.scheme != "git"):
            raise PipError(
                f"{url.partition('#')[0]} is no repository of git, and zephyr takes no others; name an archive of it."
            )
        if parts.scheme not in _SCHEMES:
            raise PipError(f"{url.partition('#')[0]}: git is asked over {', '.join(_SCHEMES)} only.")
        path, at, revision = parts.path.rpartition("@")
        if revision.startswith("-"):
            raise PipError(f"The URL {url!r} has the revision {revision!r}, which git would read as an option.")
        self.revision = revision if at else ""
        if at and not revision:
            raise PipError(
                f"The URL {url!r} has an empty revision (after @) which is not supported. Include a revision after @"
                " or remove @ from the URL."
            )
        self.url = urlunsplit((parts.scheme, parts.netloc, path if at else parts.path, "", ""))
        if parts.scheme == "file" and not self.url.startswith("file:///"):
            self.url = self.url.replace("file:/", "file:///", 1)

    def is_of(self, directory: Path) -> bool:
        """Whether a checkout is of this repository."""
        try:
            url = git("config", "--get", "remote.origin.url", cwd=directory).strip()
        except PipError:
            return False
        return url.rstrip("/").removesuffix(".git") == self.url.rstrip("/").removesuffix(".git")

    def check_out(self, directory: Path) -> str:
        """Clones it, or brings a clone up to date; the commit that is there then. Raises PipError."""
        if (directory / ".git").exists():
            git("config", "remote.origin.url", self.url, cwd=directory)
            git("fetch", "-q", "--tags", cwd=directory)
            known = _resolved(directory, self.revision)
            if self.revision.startswith("refs/"):
                git("fetch", "-q", self.url, self.revision, cwd=directory)
                known = "FETCH_HEAD"
            if git("status", "--porcelain", "--untracked-files=no", cwd=directory).strip():
                raise PipError(
                    f"{directory} has changes that are not committed; nothing of it was touched. Commit or stash them,"
                    " and try again."
                )
            git("reset", "--hard", "-q", known, cwd=directory)
        else:
            git("clone", "--filter=blob:none", "-q", "--", self.url, str(directory))
            if self.revision:
                self._switch(directory)
        git("submodule", "update", "--init", "--recursive", "-q", cwd=directory)
        return revision_of(directory)

    def _switch(self, directory: Path) -> None:
        if self.revision.startswith("refs/"):
            git("fetch", "-q", self.url, self.revision, cwd=directory)
            git("checkout", "-q", "FETCH_HEAD", cwd=directory)
            return
        known = _resolved(directory, self.revision)
        branch = f"origin/{self.revision}"
        if _has(directory, f"refs/remotes/{branch}") and not _has(directory, f"refs/tags/{self.revision}"):
            git("checkout", "-q", "-B", self.revision, "--track", branch, cwd=directory)
        else:
            git("checkout", "-q", known, cwd=directory)


def _resolved(directory: Path, revision: str) -> str:
    """The commit of a branch, a tag or a number, a remote branch before all others."""
    for name in _names(revision):
        if _has(directory, name):
            return revision_of(directory, f"{name}^{{commit}}")
    return revision or "origin/HEAD"


def _names(revision: str) -> Sequence[str]:
    return (f"refs/remotes/origin/{revision}", f"refs/tags/{revision}", revision) if revision else ("origin/HEAD",)


def _has(directory: Path, name: str) -> bool:
    try:
        git("rev-parse", "-q", "--verify", f"{name}^{{commit}}", cwd=directory)
    except PipError:
        return False
    return True
