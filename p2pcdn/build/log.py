"""What a build wrote: all of it in a file, the last lines in hand for the sentence that says why it failed."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import IO

from p2pcdn.world import Threads

# What fits a screen under an error.
LINES_TOLD = 20
LINE_LENGTH_MAX = 300
# The newest logs; a build is looked into on the day it failed.
LOGS_KEPT_MAX = 50


class BuildLog:
    """Belongs to the task of one build. Written through threads: a disk may be slow."""

    def __init__(self, path: Path, file: IO[bytes], threads: Threads) -> None:
        self.path = path
        self._file = file
        self._threads = threads
        self._tail: deque[str] = deque(maxlen=LINES_TOLD)
        self._unfinished = b""

    async def write(self, part: bytes) -> None:
        *lines, self._unfinished = (self._unfinished + part).split(b"\n")
        self._unfinished = self._unfinished[-LINE_LENGTH_MAX:]
        self._tail.extend(_readable(line) for line in lines)
        await self._threads.run(self._file.write, part)

    def last_lines(self) -> str:
        lines = [*self._tail, *([_readable(self._unfinished)] if self._unfinished else [])]
        return "\n".join(lines[-LINES_TOLD:]).strip()

    def close(self) -> None:
        self._file.close()


def open_log(directory: Path, name: str, threads: Threads) -> BuildLog:
    """A new log, and room for it: the oldest ones go. It runs in a thread."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    logs = sorted(directory.glob("*.log"), key=_age)
    for old in logs[: max(0, len(logs) - LOGS_KEPT_MAX + 1)]:
        old.unlink(missing_ok=True)
    path = directory / f"{name}.log"
    return BuildLog(path, path.open("xb", buffering=0), threads)


def _age(log: Path) -> float:
    """When it was written; one that another build has just removed is the oldest."""
    try:
        return log.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def shortened(text: str, length_max: int) -> str:
    """The text, or its beginning, which shows that there is more."""
    return text if len(text) <= length_max else f"{text[:length_max]}..."


def _readable(line: bytes) -> str:
    """Without what would steer a terminal."""
    text = shortened(line.decode("utf-8", "replace").rstrip("\r"), LINE_LENGTH_MAX)
    return "".join(letter if letter.isprintable() or letter == "\t" else "?" for letter in text)
