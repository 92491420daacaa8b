"""How far a long command has come: one line on stderr that is drawn over, and nothing at all in a pipe."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from p2pcdn.sizes import format_size

# Drawn more often, the terminal would be the slowest part.
REDRAW_S = 0.1


class Progress:
    """Used by one command in one thread; wipes its line at the end."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._drawn_at = 0.0
        self._shows = sys.stderr.isatty()

    def __enter__(self) -> Progress:
        return self

    def show(self, done_bytes: int, of_bytes: int | None) -> None:
        """Says how many bytes (or files, where a total of them is small) are done."""
        now = time.monotonic()
        if not self._shows or now - self._drawn_at < REDRAW_S:
            return
        self._drawn_at = now
        text = f"{done_bytes * 100 // of_bytes} %" if of_bytes else format_size(done_bytes)
        sys.stderr.write(f"\r\x1b[K{self._verb}: {text}")
        sys.stderr.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._shows:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
