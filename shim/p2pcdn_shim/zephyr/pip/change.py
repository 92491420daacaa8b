"""An environment changed in place: all of it or nothing, also where the command is killed in the middle.

What goes is moved aside, what comes is moved in; both stand in a journal before the first of them moves. An error takes
everything back. A journal that a killed command left is taken back by the next command.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path

from p2pcdn_shim.zephyr.machine.platforms import process_lives
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_BEGINNING = "~zephyr-"
_JOURNAL = "journal.json"
# Behind the name of what is being copied from another file system.
_PART = ".~zephyr-part"


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
        if not (self._scratch / _JOURNAL).exists():  # else it is not all taken back, and what is aside is the only copy
            remove_tree(self._scratch)
        os.close(self._lock)

    def remove(self, paths: Iterable[str]) -> None:
        """These files, links and directories go."""
        self._gone.update(dict.fromkeys(paths))

    def put(self, source: Path, place: Path) -> None:
        """This file comes; whatever is there goes. Raises PipError for a place that would pass for our scratch."""
        if f"{os.sep}{_BEGINNING}" in str(place):
            raise PipError(f"{place} is a name that only zephyr itself may use. Nothing was changed.")
        self._moves.append((str(source), str(place)))

    def commit(self) -> None:
        """Raises PipError; then everything is as it was."""
        comes = {place for _, place in self._moves}
        gone = _outermost([*self._gone, *comes])
        aside = {path: str(self._scratch / "old" / str(at)) for at, path in enumerate(gone)}
        made = _missing_directories(comes)
        self._check_directories(comes)
        try:
            (self._scratch / "old").mkdir()
            self._write_journal({"aside": aside, "comes": sorted(comes), "made": made})
            for path, kept in aside.items():
                _move(path, kept)
            for source, place in self._moves:
                os.makedirs(os.path.dirname(place), exist_ok=True)  # noqa: PTH103, PTH120
                _move(source, place)
        except BaseException as error:
            if not _undo(aside, comes, made):
                raise PipError(_not_put_back(self._scratch, error)) from error
            self._scratch.joinpath(_JOURNAL).unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise PipError(f"Could not install packages due to an OSError: {error}\n") from error
            raise
        self._scratch.joinpath(_JOURNAL).unlink()
        _remove_empty({os.path.dirname(path) for path in gone}, str(self._parent))  # noqa: PTH120

    def _check_directories(self, comes: Iterable[str]) -> None:
        """A file may take the place of a directory only where all goes that is in it."""
        for place in comes:
            if place in self._gone or not os.path.isdir(place) or os.path.islink(place):  # noqa: PTH112, PTH114
                continue
            for root, _, files in os.walk(place):
                if not all(os.path.join(root, name) in self._gone for name in files):  # noqa: PTH118
                    raise PipError(
                        f"{place} is a directory with files in it; no file takes its place. Nothing was changed."
                    )

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
    """Undoes what killed commands left half done in this directory, which the caller holds. Raises OSError.

    Who holds the directory knows that whoever left a scratch is gone, whichever process has its number by now.
    """
    for left in directory.glob(f"{_BEGINNING}*"):
        pid = left.name.removeprefix(_BEGINNING)
        if not pid.isdecimal() or (os.name == "nt" and int(pid) != os.getpid() and process_lives(int(pid))):
            continue
        try:
            job = json.loads((left / _JOURNAL).read_text(encoding="utf-8"))
            whole = _undo(job["aside"], set(job["comes"]), job["made"])
        except (FileNotFoundError, ValueError):
            whole = True  # no journal, or one that was not written to its end: nothing had moved
        if not whole:
            raise OSError(_not_put_back(left, "a command was stopped in the middle"))
        remove_tree(left)


def _not_put_back(scratch: Path, why: object) -> str:
    return (
        f"Not everything could be put back into its place ({why or 'interrupted'}). What is missing is kept in"
        f" {scratch}, and the next command tries again.\n"
    )


def _undo(aside: dict[str, str], comes: Iterable[str], made: list[str]) -> bool:
    """What came goes again, unless what was moved aside for it is still in its place. Whether all is back."""
    kept = {path for path, old in aside.items() if not os.path.lexists(old)}
    for place in comes:
        for path in (place + _PART, *(() if place in kept or _is_below(place, kept) else (place,))):
            with suppress(OSError):
                os.unlink(path)  # noqa: PTH108
    whole = True
    for path, old in aside.items():
        if os.path.lexists(old):
            try:
                os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
                _remove_hollow(path)
                _move(old, path)
            except OSError:
                whole = False
    for directory in sorted(made, key=len, reverse=True):
        with suppress(OSError):
            os.rmdir(directory)  # noqa: PTH106
    return whole


def _move(source: str, place: str) -> None:
    """Raises OSError. A kill leaves one of the two whole, also on another file system: never a half copy in place."""
    try:
        os.rename(source, place)  # noqa: PTH104
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    part = place + _PART
    if os.path.isdir(source) and not os.path.islink(source):  # noqa: PTH112, PTH114
        shutil.copytree(source, part, symlinks=True)
        os.rename(part, place)  # noqa: PTH104
        shutil.rmtree(source)
    else:
        shutil.copy2(source, part, follow_symlinks=False)
        os.rename(part, place)  # noqa: PTH104
        os.unlink(source)  # noqa: PTH108


def _outermost(paths: Iterable[str]) -> list[str]:
    """Those that are there, each once whichever way leads to it, and without what lies in another of them."""
    real: dict[str, str] = {}
    directories: dict[str, str] = {}
    for path in dict.fromkeys(paths):
        if os.path.lexists(path):
            directory, name = os.path.split(path)
            if directory not in directories:
                directories[directory] = os.path.realpath(directory)
            real.setdefault(os.path.join(directories[directory], name), path)  # noqa: PTH118
    named = set(real.values())
    return [path for place, path in real.items() if not (_is_below(path, named) or _is_below(place, real))]


def _is_below(path: str, tops: Collection[str]) -> bool:
    above = os.path.dirname(path)  # noqa: PTH120
    while tops and above != path:
        if above in tops:
            return True
        path, above = above, os.path.dirname(above)  # noqa: PTH120
    return False


def _remove_hollow(path: str) -> None:
    """A directory that holds nothing but directories."""
    if not os.path.islink(path):  # noqa: PTH114
        for root, _, _ in os.walk(path, topdown=False):
            with suppress(OSError):
                os.rmdir(root)  # noqa: PTH106


def _missing_directories(places: Iterable[str]) -> list[str]:
    found: dict[str, None] = {}
    for place in places:
        directory = os.path.dirname(place)  # noqa: PTH120
        while directory and not os.path.isdir(directory):  # noqa: PTH112
            found[directory] = None
            directory = os.path.dirname(directory)  # noqa: PTH120
    return list(found)


def _remove_empty(directories: set[str], top: str) -> None:
    """Directories below top that hold nothing any more, and those above them that then hold nothing.

    Others stay, empty or not: ~/.local/bin and /usr/local/bin were there before any package.
    """
    ahead = sorted(directories, key=len, reverse=True)
    while ahead:
        directory = ahead.pop(0)
        if not directory.startswith(top + os.sep):
            continue
        try:
            os.rmdir(directory)  # noqa: PTH106
        except OSError:
            continue
        ahead.append(os.path.dirname(directory))  # noqa: PTH120


def _existing(directory: Path) -> Path:
    while not directory.is_dir():
        directory = directory.parent
    return directory


def remove_tree(directory: Path) -> None:
    """Also one whose directories are read-only, as unpacked wheels are; what cannot be removed stays."""
    for root, _, _ in os.walk(directory):
        with suppress(OSError):
            os.chmod(root, 0o755)  # noqa: PTH101 - unpacked trees are read-only
    shutil.rmtree(directory, ignore_errors=True)
