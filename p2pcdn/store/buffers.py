"""Memory that is read into again and again: fresh memory costs a page fault for each 4 KiB of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from mmap import mmap

# As many files are hashed at once on most machines; what more of them use goes back to the system after each use.
BUFFERS_KEPT = 4


class Buffers:
    """Of one store; used on trio's thread. Mapped, not allocated: of a large one only the used part takes memory."""

    def __init__(self) -> None:
        self._idle: list[mmap] = []

    def __len__(self) -> int:
        return len(self._idle)

    @contextmanager
    def borrow(self, size_bytes: int) -> Iterator[memoryview]:
        """So many bytes, of which nobody knows the content; not to be used after the block."""
        buffer = self._idle.pop() if self._idle else mmap(-1, size_bytes)
        if len(buffer) < size_bytes:
            buffer = mmap(-1, size_bytes)
        with memoryview(buffer) as octets:
            yield octets[:size_bytes]
        if len(self._idle) < BUFFERS_KEPT:
            self._idle.append(buffer)

    def clear(self) -> None:
        """Gives back what nobody uses."""
        self._idle.clear()
