"""Whether an environment is behind its project, by the times of files: whoever runs a command has no more time."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from p2pcdn.envs.held import came_from
from p2pcdn.envs.places import CHECKED, OWN
from p2pcdn_shim.zephyr.lock import build_files, lock_file


def is_behind(place: Path, project_file: Path) -> bool:
    """Whether pyproject.toml or its lock is newer than the environment; never where there is no lock.

    The other files of a project whose build says what it needs count as pyproject.toml does (`build_files`).

    Newer than its last change, for who has changed it since meant it so, or than the last look at both (`looked_at`).
    One that was moved is behind, too: its scripts name the interpreter of another place.
    """
    lock_ns = _touched_ns(lock_file.place_of(project_file))
    own = place / OWN
    looked_at_ns = max(_touched_ns(own / "generation.json"), _touched_ns(own / CHECKED))
    touched_ns = max(lock_ns, _touched_ns(project_file), build_files.touched_ns(project_file.parent))
    return lock_ns > 0 and (touched_ns > looked_at_ns or came_from(str(place)) != "")


def looked_at(place: Path, began_ns: int) -> None:
    """Notes that the environment holds what the lock said when the look began; where it cannot, the next one looks."""
    with suppress(OSError):
        mark = place / OWN / CHECKED
        mark.touch()
        os.utime(mark, ns=(began_ns, began_ns))


def _touched_ns(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0
