"""The files of a project by which it is decided whether its build, asked again, would still say the same of it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from p2pcdn.envs.places import OWN
from p2pcdn_shim.zephyr import settled
from p2pcdn_shim.zephyr.lock import lock_file

# In the project's own directory: what its build said, and of which files.
NOTE = "own-build.json"
# Beside its pyproject.toml a project has some dozens of files. With more, each command asks anew.
FILES_MAX = 1000
# A larger file is data: its size and time stand for what is in it.
FILE_SIZE_BYTES_MAX = 1024 * 1024


def note_of(root: Path) -> Path:
    """Where it stands what the build of a project said; absent where nobody had to ask it."""
    return root / OWN / NOTE


def files_of(root: Path) -> list[Path]:
    """The files by which it is decided whether a build would still say the same, and which need not be asked then.

    Those beside pyproject.toml, and in directories that are called `requirements`. A build may look at others; `zephyr
    lock`, which always asks it, is the way to say so.
    """
    found: list[Path] = []
    for directory in (root, *sorted(root.glob("requirements*"))):
        with suppress(OSError), os.scandir(directory) as entries:
            names = [one.name for one in entries if one.name[0] != "." and one.is_file()]
            found += [directory / name for name in sorted(names) if name != lock_file.NAME]
    return found


def touched_ns(root: Path) -> int:
    """When the newest of them was written; 0 for a project whose build nobody had to ask."""
    if not note_of(root).exists():
        return 0
    times = [0]
    for file in files_of(root):
        with suppress(OSError):
            times.append(file.stat().st_mtime_ns)
    return max(times)


def key_of(root: Path, *builder: str) -> str:
    """Names the files of a project and who builds it; "" where there are too many."""
    files = files_of(root)
    if len(files) > FILES_MAX:
        return ""
    told = (text for file in files for text in (str(file.relative_to(root)), _content(file)))
    return settled.digest(*builder, *told)


def _content(file: Path) -> str:
    try:
        state = file.stat()
        if state.st_size > FILE_SIZE_BYTES_MAX:
            return f"{state.st_size} {state.st_mtime_ns}"
        return file.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        return str(error.errno)
