"""What was chosen, as the text of a pylock.toml (PEP 751)."""

from __future__ import annotations

import os
from pathlib import Path

from p2pcdn.envs.model import Directory, Lock, LockedFile, LockedPackage, Vcs
from p2pcdn.envs.pylock_text import write_lock
from p2pcdn_shim.zephyr.pip.hashing import digest_of
from p2pcdn_shim.zephyr.pip.making import Maker
from p2pcdn_shim.zephyr.pip.outcome import Chosen, Outcome


def lock_text(maker: Maker, outcome: Outcome, base: Path) -> str:
    """base: the directory of the lock; paths in it begin there."""
    packages = tuple(_package(maker, one, base) for one in outcome.changes)
    return write_lock(Lock("zephyr", packages)).decode()


def _package(maker: Maker, one: Chosen, base: Path) -> LockedPackage:
    prepared = one.prepared
    assert prepared is not None
    link = prepared.link
    below = link.subdirectory or None
    if link.is_vcs:
        url, revision = link.repository
        return LockedPackage(one.project, vcs=Vcs("git", prepared.commit, url, None, revision or None, below))
    if link.is_directory:
        return LockedPackage(one.project, directory=Directory(_path(link.path, base), prepared.editable, below))
    path = _path(link.path, base) if one.direct and link.is_file else None
    hashes = {"sha256": link.hashes.get("sha256") or digest_of(maker.file(one))}
    url_ = link.plain if path is None else None
    file = LockedFile(link.filename, hashes, url_, path, subdirectory=below if one.direct else None)
    if one.direct:
        return LockedPackage(one.project, archive=file)
    if link.is_wheel:
        return LockedPackage(one.project, one.version, wheels=(file,))
    return LockedPackage(one.project, one.version, sdist=file)


def _path(path: Path, base: Path) -> str:
    return os.path.relpath(path, base).replace(os.sep, "/")
