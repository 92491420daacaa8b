"""An environment changed in place: all of it or nothing, also where the command is killed in the middle.

What goes is moved aside, what comes is moved in; both stand in a journal before the first of them moves. An error takes
everything back. A journal that a killed command left is taken back by the next command.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.platforms import process_lives
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_BEGINNING = "~zephyr-"
_JOURNAL = "journal.json"


class Change:
    """`with Change(directory) as change:` prepare files below `change.new`, name what goes and comes, then `commit`.

    directory: one on the file system of what is changed; the scratch lies in it.
    """

    def __init__(self, directory: Path, wait: Callable[[str], None] = lambda sentence: None) -> None:
        """wait: told whom it waits for, where another command is changing the same environment."""
        self._parent = _existing(directory)
        self._wait = wait
        self._lock = -1
        self._scratch = self._parent / f"{_BEGINNING}{os.getpid()}"
        self._moves: list[tuple[str, str]] = []
        self._gone: dict[str, None] = {}

    @property
    def new(self) -> Path:
        """A directory for what comes; gone at the end."""
        return self._scratch / "new"

    def __enter__(self) -> Self:
        try:
            self._lock = _locked(self._parent, self._wait)
            take_back(self._parent)
            shutil.rmtree(self._scratch, ignore_errors=True)
            self.new.mkdir(parents=True)
        except OSError as error:
            raise PipError(f"Could not install packages due to an OSError: {error}\n") from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        _remove(self._scratch)
        os.close(self._lock)

    def remove(self, paths: Iterable[str]) -> None:
        """These files, links and directories go."""
        self._gone.update(dict.fromkeys(paths))

    def put(self, source: Path, place: Path) -> None:
        """This file comes; whatever is there goes."""
        self._moves.append((str(source), str(place)))

    def commit(self) -> None:
        """Raises PipError; then everything is as it was."""
        comes = {place for _, place in self._moves}
        gone = [
            path
            for path in (*self._gone, *(place for place in comes if place not in self._gone))
            if os.path.lexists(path)
        ]
        aside = {path: str(self._scratch / "old" / str(at)) for at, path in enumerate(gone)}
        made = _missing_directories(comes)
        try:
            (self._scratch / "old").mkdir()
            self._write_journal({"aside": aside, "comes": sorted(comes), "made": made})
            for path, kept in aside.items():
                _move(path, kept)
            for source, place in self._moves:
                os.makedirs(os.path.dirname(place), exist_ok=True)  # noqa: PTH103, PTH120
                _move(source, place)
        except BaseException as error:
            _undo(aside, comes, made)
            if isinstance(error, OSError):
                raise PipError(f"Could not install packages due to an OSError: {error}\n") from error
            raise
        self._scratch.joinpath(_JOURNAL).unlink()
        _remove_empty({os.path.dirname(path) for path in gone})  # noqa: PTH120

    def _write_journal(self, job: dict[str, object]) -> None:
        with (self._scratch / _JOURNAL).open("w", encoding="utf-8") as file:
            json.dump(job, file)
            file.flush()
            os.fsync(file.fileno())


def _locked(directory: Path, wait: Callable[[str], None]) -> int:
    """A descriptor that holds the directory for this command; it leaves no file behind (flock(2))."""
    if os.name == "nt":
        return os.open(os.devnull, os.O_RDONLY)
    import fcntl

    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        wait(f"Another command is changing {directory}; waiting for it.")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def take_back(directory: Path) -> None:
    """Undoes what killed commands left half done in this directory. Raises OSError."""
    for left in directory.glob(f"{_BEGINNING}*"):
        pid = left.name.removeprefix(_BEGINNING)
        if not pid.isdecimal() or (process_lives(int(pid)) and int(pid) != os.getpid()):
            continue
        with suppress(OSError, ValueError, KeyError):
            job = json.loads((left / _JOURNAL).read_text(encoding="utf-8"))
            _undo(job["aside"], set(job["comes"]), job["made"])
        _remove(left)


def _undo(aside: dict[str, str], comes: Iterable[str], made: list[str]) -> None:
    """What came goes again, unless what was moved aside for it is still in its place."""
    kept = {path for path, old in aside.items() if not os.path.lexists(old)}
    for place in comes:
        if place not in kept and os.path.lexists(place):
            with suppress(OSError):
                os.unlink(place)  # noqa: PTH108
    for path, old in aside.items():
        if os.path.lexists(old):
            with suppress(OSError):
                os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
                _move(old, path)
    for directory in sorted(made, key=len, reverse=True):
        with suppress(OSError):
            os.rmdir(directory)  # noqa: PTH106


def _move(source: str, place: str) -> None:
    try:
        os.rename(source, place)  # noqa: PTH104
    except OSError:
        shutil.move(source, place)  # another file system


def _missing_directories(places: Iterable[str]) -> list[str]:
    found: dict[str, None] = {}
    for place in places:
        directory = os.path.dirname(place)  # noqa: PTH120
        while directory and not os.path.isdir(directory):  # noqa: PTH112
            found[directory] = None
            directory = os.path.dirname(directory)  # noqa: PTH120
    return list(found)


def _remove_empty(directories: set[str]) -> None:
    """Directories that hold nothing any more, and those above them that then hold nothing, but byte code without
    source.
    """
    ahead = sorted(directories, key=len, reverse=True)
    while ahead:
        directory = ahead.pop(0)
        try:
            os.rmdir(directory)  # noqa: PTH106
        except OSError:
            continue
        ahead.append(os.path.dirname(directory))  # noqa: PTH120


def _existing(directory: Path) -> Path:
    while not directory.is_dir():
        directory = directory.parent
    return directory


def _remove(directory: Path) -> None:
    for root, _, _ in os.walk(directory):
        with suppress(OSError):
            os.chmod(root, 0o755)  # noqa: PTH101 - unpacked trees are read-only
    shutil.rmtree(directory, ignore_errors=True)
