"""One zephyr at a time in one environment, or one project: who waits is told for whom."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# "<pid> <command>": enough to say for whom one waits.
_OWNER_SIZE_BYTES_MAX = 4096


class Busy(Exception):
    """Somebody else has the right, and who wanted it does not wait."""


def do_not_wait(_: str) -> None:
    """The `wait` of a LockFile for whom there is another time. Raises Busy."""
    raise Busy


class LockFile:
    """The right to change what the file stands for; given back by `release`, or by the end of the process, however it
    ends.
    """

    def __init__(self, path: str, command: str, wait: Callable[[str], None], what: str = "this environment") -> None:
        """Waits for its turn; `wait` gets one sentence where somebody else has it. what: the file stands for."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            if not _lock(self._descriptor, patient=False):
                wait(f"{_owner(self._descriptor)} is changing {what}; waiting for it.")
                _lock(self._descriptor, patient=True)
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()} {command}\n".encode()[:_OWNER_SIZE_BYTES_MAX], 0)
        except BaseException:
            os.close(self._descriptor)
            raise

    def release(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor != -1:
            os.ftruncate(descriptor, 0)
            os.close(descriptor)


def _owner(descriptor: int) -> str:
    content = os.pread(descriptor, _OWNER_SIZE_BYTES_MAX, 0).decode("utf-8", "replace")
    number, _, command = content.strip().partition(" ")
    return f"{command} (process {number})" if command else "Another zephyr"


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int, *, patient: bool) -> bool:
        """A byte far behind the owner's line, for Windows locks forbid reading too. LK_LOCK waits ten seconds at
        most.
        """
        while True:
            os.lseek(descriptor, 1 << 20, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_LOCK if patient else msvcrt.LK_NBLCK, 1)
            except OSError:
                if not patient:
                    return False
            else:
                return True

else:
    import fcntl

    def _lock(descriptor: int, *, patient: bool) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if patient else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True
