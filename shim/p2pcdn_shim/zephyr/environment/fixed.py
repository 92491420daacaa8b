"""Environments in a directory that cannot be moved: a mount point, or one whose parent is not ours to write to.

Such a directory is there before its environment is, and stays when that goes: what is in it comes and goes by itself.
"""

from __future__ import annotations

from pathlib import Path

from p2pcdn.envs.places import CHECKED, OF_A_GENERATION, OWN, Places


def is_fixed(path: Path) -> bool:
    """Whether the directory at path is one of these."""
    return path.is_dir() and not path.is_symlink() and not Places(str(path)).whole


def put_in_place(new: Path, path: Path, last: str) -> None:
    """The contents of `new`, a directory within path, become those of path; `last` is the name that comes last.

    A kill before that leaves `new` or what is in it, and nothing of that name. Raises OSError.
    """
    empty(path, but=(OWN, new.name), first=last)
    for name in (*reversed(OF_A_GENERATION), CHECKED):  # of the packages that are gone
        (path / OWN / name).unlink(missing_ok=True)
    for one in sorted(new.iterdir(), key=lambda one: one.name == last):
        one.rename(path / one.name)
    new.rmdir()


def empty(path: Path, *, but: tuple[str, ...] = (), first: str = "") -> None:
    """Removes what is in a directory; `first` goes before all else. Raises OSError."""
    from shutil import rmtree

    for one in sorted(path.iterdir(), key=lambda one: one.name != first):
        if one.name in but:
            continue
        if one.is_dir() and not one.is_symlink():
            rmtree(one)
        else:
            one.unlink()
