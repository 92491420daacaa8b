"""Puts files of a tree into an environment: by reflink, else by hard link, else by copy."""

from __future__ import annotations

import errno
import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# FICLONE of linux/fs.h: _IOW(0x94, 9, int).
_FICLONE = 0x40049409
COPY_SIZE_BYTES = 1024 * 1024
# Linux begins to write what is to be dropped from memory (mm/fadvise.c); no other call of Python's says so.
_DROP = os.POSIX_FADV_DONTNEED if sys.platform == "linux" else None
WAYS = ("reflink", "hardlink", "copy")
# The ways that a mode tries. "own": what is installed is its owner's to edit, and shares no inode.
_ORDERS = {mode: WAYS[at:] for at, mode in enumerate(WAYS)} | {"own": ("reflink", "copy")}

# What says that this way does not work between these two file systems; anything else is an error of its own.
_CANNOT = {
    "reflink": frozenset(
        {errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.ETXTBSY}
    ),
    # EPERM: the file system has no links, or fs.protected_hardlinks forbids them to files of somebody else.
    "hardlink": frozenset({errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}),
    "copy": frozenset[int](),
}
_WHY = {
    errno.EXDEV: "they are on different file systems",
    errno.EPERM: "the system does not let this user link them",
}


class Linker:
    """Links files of one source directory after the other. What a pair of file systems cannot do is asked once.

    mode: the best way that is wanted, one of WAYS, or "own". Several threads may use it.
    """

    def __init__(self, mode: str, root: str) -> None:
        self._order = _ORDERS[mode]
        self._device = os.stat(root).st_dev
        self._known: dict[tuple[int, int], int] = {}
        self._done: list[tuple[str, int]] = []
        self._told: dict[tuple[int, int], str] = {}

    @property
    def counts(self) -> dict[str, int]:
        """How many files went each way."""
        counts = dict.fromkeys(WAYS, 0)
        for way, files in self._done:
            counts[way] += files
        return counts

    @property
    def told(self) -> list[str]:
        """Sentences for the user."""
        return list(self._told.values())

    def pair(self, tree: str) -> tuple[int, int]:
        """The two file systems that a tree and the environment are on: the key of what is remembered."""
        return os.stat(tree).st_dev, self._device

    def link_all(self, pair: tuple[int, int], source: str, target: str, names: Sequence[str]) -> None:
        """Puts source + name to target + name. Raises OSError for what no other way would mend."""
        at = 0
        while at < len(names):
            at = self._link_some(pair, source, target, names, at)

    def _link_some(self, pair: tuple[int, int], source: str, target: str, names: Sequence[str], begin: int) -> int:
        """Goes on until the way does not work; returns how far it came."""
        number = self._known.get(pair, 0)
        way = self._order[number]
        put = _PUT[way]
        at = begin
        try:
            for at in range(begin, len(names)):
                put(source + names[at], target + names[at])
        except OSError as error:
            self._done.append((way, at - begin))
            if error.errno not in _CANNOT[way]:
                raise
            if error.errno == errno.EMLINK:
                # This file alone has as many links as its file system counts (65,000 on ext4).
                copy(source + names[at], target + names[at])
                self._done.append(("copy", 1))
                return at + 1
            self._known[pair] = number + 1  # by whichever thread: it finds the same
            if way == "hardlink":
                why = _WHY.get(error.errno or 0, os.strerror(error.errno or 0))
                self._told.setdefault(pair, f"Files of {source} are copied and not linked: {why}.")
            return at
        self._done.append((way, len(names) - begin))
        return len(names)


def reflink(source: str, target: str) -> None:
    """A copy that shares its blocks with the source until one of them is written to (btrfs, xfs; ioctl_ficlone(2))."""
    import fcntl

    reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = os.fstat(reading)
        writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.ioctl(writing, _FICLONE, reading)
            _dress(writing, status)
        except OSError:
            os.unlink(target)
            raise
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def copy(source: str, target: str) -> None:
    """The bytes, the right to execute and the time: byte code is valid for a source of this time only (PEP 3147)."""
    reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = os.fstat(reading)
        writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            while chunk := os.read(reading, COPY_SIZE_BYTES):
                write_all(writing, chunk)
            _dress(writing, status)
            _start_writing(writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def write_file(path: str, content: bytes, mode: int = 0o666) -> None:
    """Makes a new file, whose bytes are on their way to the disk at once.

    Left to itself, ext4 gives a file its blocks some 30 s later, but renames its directory after 5 s: after a power cut
    between the two, the new generation would be full of empty files. Nobody waits here: the kernel orders the two
    itself.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        write_all(descriptor, content)
        _start_writing(descriptor)
    finally:
        os.close(descriptor)


def _start_writing(descriptor: int) -> None:
    if _DROP is not None:
        os.posix_fadvise(descriptor, 0, 0, _DROP)


def write_all(descriptor: int, content: bytes) -> None:
    written = os.write(descriptor, content)
    while written < len(content):
        content = content[written:]
        written = os.write(descriptor, content)


def _dress(descriptor: int, status: os.stat_result) -> None:
    """A copy belongs to its environment alone, so its owner may write to it."""
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode) | stat.S_IWUSR)
    os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))


_PUT: dict[str, Callable[[str, str], None]] = {"reflink": reflink, "hardlink": os.link, "copy": copy}
