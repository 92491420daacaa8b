"""Builds an environment again out of a kept generation: links to what is read-only, copies of what may be written
to.
"""

from __future__ import annotations

import os
import stat
from time import perf_counter

from p2pcdn.envs.install import Installed
from p2pcdn.envs.link import copy
from p2pcdn.envs.places import OWN


def replant(old: str, new: str) -> Installed:
    """Puts all of `old` into the empty directory `new`, but empty directories. Raises OSError.

    A file that its owner may write to is copied: pip writes into RECORD, and the kept generation must stay as it is.
    """
    began_s = perf_counter()
    how = {"hardlink": 0, "copy": 0}
    ahead = [""]
    while ahead:
        directory = ahead.pop()
        with os.scandir(f"{old}/{directory}") as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        below = [f"{directory}/{entry.name}" if directory else entry.name for entry in found]
        files = [(path, e) for path, e in zip(below, found, strict=True) if not e.is_dir(follow_symlinks=False)]
        ahead += [p for p, e in zip(below, found, strict=True) if e.is_dir(follow_symlinks=False) and p != OWN]
        if files and directory:
            os.makedirs(f"{new}/{directory}", exist_ok=True)
        for path, entry in files:
            how[_put(entry, f"{new}/{path}")] += 1
    return Installed(how, [], {"links": perf_counter() - began_s})


def _put(entry: os.DirEntry[str], target: str) -> str:
    if entry.is_symlink():
        os.symlink(os.readlink(entry.path), target)
        return "copy"
    if entry.stat(follow_symlinks=False).st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
        copy(entry.path, target)
        return "copy"
    os.link(entry.path, target)
    return "hardlink"
