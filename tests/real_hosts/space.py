"""A directory in memory for the stores of a room, gone with its process."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "p2pcdn-hosts-"
LOCK = "lock"


@contextmanager
def space(size_bytes: int) -> Iterator[Path]:
    """A directory with room for `size_bytes`: in memory, else in the temporary directory. Raises OSError.

    What runs that were killed have left there is removed first: a lock that nobody holds is a run that ended.
    """
    parents = [parent for parent in (Path("/dev/shm"), Path(tempfile.gettempdir())) if os.access(parent, os.W_OK)]
    for parent in parents:
        _remove_stale(parent)
    roomy = [parent for parent in parents if shutil.disk_usage(parent).free >= size_bytes]
    if not roomy:
        raise OSError(f"no {size_bytes / 1e9:.0f} GB are free in {' or '.join(map(str, parents))}")
    directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=roomy[0]))
    try:
        with (directory / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _remove_stale(parent: Path) -> None:
    for directory in parent.glob(f"{PREFIX}*"):
        with suppress(OSError), (directory / LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)
