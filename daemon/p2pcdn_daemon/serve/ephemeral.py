"""A node that lives for one job: a store of its own that goes with it, free ports, no multicast, few words."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from p2pcdn_daemon.configuration import places
from p2pcdn_daemon.configuration.config import Config, ConfigError

# What is another's where the machine has a node too: its file names that node's, and a job's must not meet it.
_OF_THE_MACHINE = ("store", "port", "peer-port", "sealed-port", "control-socket")
# Several jobs of one machine are several nodes, on whatever ports are free; a log of a job shows what went wrong.
_USUAL: dict[str, Any] = {
    "port": 0,
    "peer-port": 0,
    "sealed-port": 0,
    "control-socket": None,
    "no-mdns": True,
    "log-level": "warning",
}
_PREFIX = "job-"
_LOCK = "lock"

Held = tuple[Path, int]


@contextmanager
def for_one_job(config: Config) -> Iterator[Config]:
    """The configuration of a node for one job; its store is removed at the end, unless a flag or a variable named one.

    What killed nodes left behind is removed at the start. Raises ConfigError.
    """
    changed: dict[str, Any] = {}
    for key, value in _USUAL.items():
        source = config.source(key)
        if source == "default" or (key in _OF_THE_MACHINE and source.startswith("file ")):
            changed[key.replace("-", "_")] = value
    source = config.source("store")
    if not (source == "default" or source.startswith("file ")):
        yield replace(config, **changed)
        return
    with _temporary_directory() as directory:
        yield replace(config, store=directory / "store", **changed)


@contextmanager
def _temporary_directory() -> Iterator[Path]:
    """A directory that belongs to nobody else, held by a lock for as long as it is used."""
    room = places.own_temporary_directory()
    try:
        places.make_own_directory(room)
        with _locked(room / _LOCK):
            left_behind = [held for path in room.glob(f"{_PREFIX}*") if (held := _hold(path)) is not None]
            directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=room))
            own = _hold(directory)
    except OSError as error:
        raise ConfigError(
            f"No temporary store can be made in {room}: {error.strerror or error}; name another place by TMPDIR."
        ) from error
    assert own is not None, "nobody else knew its name"
    # Not under the lock of the room: other jobs start meanwhile.
    for held in left_behind:
        _remove(held)
    try:
        yield directory
    finally:
        _remove(own)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _hold(directory: Path) -> Held | None:
    """The directory, if nobody holds it; the lock is on the directory itself and ends with the process."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None  # just removed
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return directory, descriptor


def _remove(held: Held) -> None:
    directory, descriptor = held
    shutil.rmtree(directory, ignore_errors=True)
    with suppress(OSError):
        os.close(descriptor)
