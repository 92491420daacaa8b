"""A lock's relative paths as places of this machine: they begin where it lies (PEP 751, "packages.*.path"). Pure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from p2pcdn.envs.errors import BadLock
from p2pcdn.envs.model import Chosen, LockedFile, Vcs

T = TypeVar("T", LockedFile, Vcs)


def has_paths(lock: str) -> bool:
    """Whether anything in the text of a lock may be a path; costs no reading of its TOML."""
    return "path = " in lock or "path=" in lock


def located(chosen: Chosen, base: str) -> Chosen:
    """The same, with absolute paths, those of files and repositories as URLs. base: the lock's directory, "" for none.

    Raises BadLock for a relative path where nobody knows where the lock lies.
    """
    package = chosen.package
    directory = package.directory
    if directory is not None:
        directory = replace(directory, path=str(_absolute(directory.path, base)))
    return replace(
        chosen,
        package=replace(
            package,
            directory=directory,
            vcs=_with_url(package.vcs, base),
            archive=_with_url(package.archive, base),
        ),
        file=_with_url(chosen.file, base),
    )


def _with_url(what: T | None, base: str) -> T | None:
    """Where there are both, the URL counts."""
    if what is None or what.path is None or what.url is not None:
        return what
    return replace(what, url=_absolute(what.path, base).as_uri(), path=None)


def _absolute(path: str, base: str) -> Path:
    if not base and not path.startswith("/"):
        raise BadLock(f"The lock names {path[:80]!r}, a path that begins at the lock, and this one lies nowhere.")
    return Path(base or "/") / path
