"""How far a long command has come: one line on stderr that is drawn over, and nothing at all in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType

from p2pcdn_shim.zephyr.terminal.voice import Voice, harmless
from p2pcdn_shim.zephyr.terminal.width import columns_of

# Drawn more often, the terminal would be the slowest part.
REDRAW_S = 0.1


class Progress:
    """`with Progress(voice, "Fetching") as progress: progress.show(3, 10, "numpy")`. Used by one thread.

    at_once: the verb is seen before anything is counted.
    """

    def __init__(self, voice: Voice, verb: str, *, at_once: bool = False) -> None:
        self._verb = _in_a_line(verb)
        self._at_once = at_once
        self._shows = voice.shows_progress
        self._drawn_at_s = float("-inf")

    def __enter__(self) -> Progress:
        if self._at_once:
            self.now(self._verb)
        return self

    def show(self, done: int, of: int | None, what: str = "") -> None:
        """done, of: in whatever unit, of the whole; what: the thing at hand."""
        now_s = time.monotonic()
        if not self._shows or now_s - self._drawn_at_s < REDRAW_S:
            return
        self._drawn_at_s = now_s
        counted = f"{done}/{of}" if of else str(done)
        self._draw(line_of(self._verb, counted, _in_a_line(what), columns_of(sys.stderr)))

    def now(self, verb: str, names: Sequence[str] = ()) -> None:
        """What goes on, where nothing is counted: seen at once, for it may take long."""
        if self._shows:
            self._draw(line_of_names(_in_a_line(verb), [*map(_in_a_line, names)], columns_of(sys.stderr)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._shows:
            self._draw("")

    def _draw(self, text: str) -> None:
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def _in_a_line(text: str) -> str:
    """What others called something, of which the terminal obeys nothing."""
    return " ".join(harmless(text).split())


def line_of(verb: str, counted: str, what: str, columns: int) -> str:
    """What of "Fetching: 3/10 numpy-2.3.0-cp311-cp311-linux_x86_64.whl" fits, without the last column, whose letter
    would move the cursor down. From the right, whole parts are left out: tags, version, name, how many, the verb.
    """
    start = f"{verb}: {counted}"
    while what and len(f"{start} {what}") >= columns:
        what = what.rpartition("-")[0]
    line = f"{start} {what}" if what else start
    if len(line) >= columns:
        line = verb
    return line if len(line) < columns else ""


def line_of_names(verb: str, names: Sequence[str], columns: int) -> str:
    """What of "Building numpy, scipy" fits: from the right, whole names are left out."""
    lines = (f"{verb} {', '.join(names[:number])}".rstrip() for number in range(len(names), -1, -1))
    return next((line for line in lines if len(line) < columns), "")
