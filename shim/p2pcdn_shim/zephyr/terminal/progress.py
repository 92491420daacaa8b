"""How far a long command has come: one line on stderr that is drawn over, and nothing at all in a pipe."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from p2pcdn_shim.zephyr.terminal.voice import Voice

# Drawn more often, the terminal would be the slowest part.
REDRAW_S = 0.1
# What fits beside the numbers on a terminal of 80 columns; a longer name is cut.
WHAT_LENGTH_MAX = 40


class Progress:
    """`with Progress(voice, "Fetching") as progress: progress.show(3, 10, "numpy")`. Used by one thread."""

    def __init__(self, voice: Voice, verb: str) -> None:
        self._verb = verb
        self._shows = voice.shows_progress
        self._drawn_at_s = float("-inf")

    def __enter__(self) -> Progress:
        return self

    def show(self, done: int, of: int | None, what: str = "") -> None:
        """done, of: in whatever unit, of the whole; what: the thing at hand."""
        now_s = time.monotonic()
        if not self._shows or now_s - self._drawn_at_s < REDRAW_S:
            return
        self._drawn_at_s = now_s
        counted = f"{done}/{of}" if of else str(done)
        self._draw(f"{self._verb}: {counted} {what[:WHAT_LENGTH_MAX]}".rstrip())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._shows:
            self._draw("")

    def _draw(self, text: str) -> None:
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
