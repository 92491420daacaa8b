"""Puts one directory in the place of another: at once where the system can, else by two renames under a journal.

These are the calls that Python's `os` lacks; ctypes is loaded (3 ms) only where one is made.
"""

from __future__ import annotations

import errno
import os
import sys

# renameat2(2) of Linux 3.15, renamex_np(2) of macOS 10.12: both names change their meaning in one step.
_RENAME_EXCHANGE, _RENAME_SWAP, _AT_FDCWD = 2, 2, -100
# No such call, or a file system that does not know the flag.
_CANNOT_EXCHANGE = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP})


def swap(new: str, place: str, journal: str) -> None:
    """`new` becomes `place`, and what was there lies at `new` afterwards; where nothing was there, `new` is gone.

    A kill leaves the old or the new at `place`; only where the system cannot exchange may it be neither, until
    `finish_swap` runs. Raises OSError; then nothing has changed.
    """
    try:
        exchange(new, place)
    except FileNotFoundError:
        os.rename(new, place)
    except OSError as error:
        if error.errno not in _CANNOT_EXCHANGE:
            raise
        _swap_in_two_steps(new, place, journal)


def finish_swap(place: str, journal: str) -> None:
    """Goes on where a killed `swap` in two steps stopped: what the journal names is the new one, and it is to be at
    `place`.
    """
    try:
        with open(journal, encoding="utf-8") as file:
            new = file.read().removesuffix("\n")
    except FileNotFoundError:
        return
    aside = new + ".aside"
    # A journal without a name was never finished, and nothing was moved before it was.
    if new and os.path.lexists(aside):
        if not os.path.lexists(place):
            os.rename(new, place)
        os.rename(aside, new)
    os.unlink(journal)


def exchange(one: str, other: str) -> None:
    """Both names change places, in one step. Raises OSError, with ENOSYS where the system has no such call."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None
    first, second = os.fsencode(one), os.fsencode(other)
    if libc is not None and sys.platform == "darwin" and hasattr(libc, "renamex_np"):
        failed = libc.renamex_np(first, second, _RENAME_SWAP)
    elif libc is not None and hasattr(libc, "renameat2"):
        failed = libc.renameat2(_AT_FDCWD, first, _AT_FDCWD, second, _RENAME_EXCHANGE)
    else:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), one)
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), one, None, other)


def write_out(directory: str) -> None:
    """Waits until all that was written to the file system of this directory is on the disk (syncfs(2)). Raises
    OSError.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None
    if libc is None or not hasattr(libc, "syncfs"):
        _sync_all()
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if libc.syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), directory)
    finally:
        os.close(descriptor)


def _sync_all() -> None:
    """macOS has sync alone; Windows has nothing for a whole volume without special rights."""
    if hasattr(os, "sync"):
        os.sync()


def _swap_in_two_steps(new: str, place: str, journal: str) -> None:
    with open(journal, "w", encoding="utf-8") as file:
        file.write(f"{new}\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.rename(place, new + ".aside")
    except OSError:
        os.unlink(journal)
        raise
    try:
        finish_swap(place, journal)
    except OSError:
        os.rename(new + ".aside", place)
        os.unlink(journal)
        raise
