"""Why a store stopped writing: a disk without room recovers by itself, a disk that lies does not."""

from __future__ import annotations

import errno
import logging

import lmdb

from p2pcdn.errors import StoreStopped

_FULL = (errno.ENOSPC, errno.EDQUOT)
# So many files are open now; that says nothing of the disk.
_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
_log = logging.getLogger("p2pcdn.store")


class Health:
    """Written by trio's thread only.

    After a failed fsync the kernel may call pages clean that never reached the disk; writing on would acknowledge
    what is lost (ATC '20, "Can applications recover from fsync failures?"). So `broken` lasts until a restart.
    """

    def __init__(self) -> None:
        self.full: str | None = None
        self.broken: str | None = None
        self._full_of = ""

    def sentence(self) -> str:
        """ "ok", or why writing stopped."""
        return self.broken or self.full or "ok"

    def failed(self, error: OSError | lmdb.Error, what: str) -> StoreStopped:
        """Remembers a failed write and gives the error to raise."""
        if is_full(error):
            self._full_of = what
            return self.no_room(f"The disk is full: {what} could not be written. New files pass through unkept.")
        if is_out_of_descriptors(error):
            sentence = f"No more files can be opened now: {what} could not be written. It passes through unkept."
            _log.warning("%s", sentence)
            return StoreStopped(sentence)
        if self.broken is None:
            self.broken = f"Writing {what} failed ({error}). Nothing more is kept until the node is restarted."
            _log.error("%s", self.broken)
        return StoreStopped(self.broken)

    def no_room(self, sentence: str) -> StoreStopped:
        if self.full is None:
            _log.warning("%s", sentence)
        self.full = sentence
        return StoreStopped(sentence)

    def written(self, what: str) -> None:
        """It could be written; so if that was what the disk had no room for, there is room now."""
        if self.full is not None and self._full_of == what:
            self.room_again()

    def room_again(self) -> None:
        if self.full is not None:
            _log.info("There is room on the disk again; files are kept.")
        self.full = None

    def refuse_if_broken(self) -> None:
        if self.broken is not None:
            raise StoreStopped(self.broken)


def is_full(error: OSError | lmdb.Error) -> bool:
    return (error.errno if isinstance(error, OSError) else error.code) in _FULL


def is_out_of_descriptors(error: OSError | lmdb.Error) -> bool:
    """Whether this process, or the machine, has as many files open as it may; others will be closed."""
    return isinstance(error, OSError) and error.errno in _NO_DESCRIPTOR
