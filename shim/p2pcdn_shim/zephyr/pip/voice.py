"""How `zephyr pip` speaks: answers and progress on stdout, warnings and errors on stderr, as pip's users expect."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from p2pcdn_shim.zephyr.terminal.voice import harmless
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

# What stands before the host of a URL.
_LOGIN = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<login>[^\s/?#'\"]*)@")
_RED, _YELLOW, _PLAIN = "\033[31m", "\033[33m", "\033[0m"


class PipVoice:
    """One run's way of speaking. verbosity: -v counted, less -q counted. log: gets everything, with a time."""

    def __init__(self, verbosity: int = 0, *, color: bool = True, log: Path | None = None) -> None:
        self.verbosity = verbosity
        self._color = color
        self._log = log
        self.log = log
        self._indent = 0
        # It speaks of what is needed for a build, and not of what the user asked for.
        self.nested = False

    @contextmanager
    def indented(self, by: int = 2) -> Iterator[None]:
        self._indent += by
        try:
            yield
        finally:
            self._indent -= by

    def answer(self, text: str) -> None:
        """What was asked for: -q does not silence it."""
        print(text)
        self._write_log(without_passwords(text))

    def info(self, text: str) -> None:
        self._say(text, 0, sys.stdout)

    def detail(self, text: str) -> None:
        """With -v."""
        self._say(text, 1, sys.stdout)

    def debug(self, text: str) -> None:
        """With -vv."""
        self._say(text, 2, sys.stdout)

    def detail_error(self, text: str) -> None:
        """With -v, on stderr: what a build wrote."""
        self._say(text, 1, sys.stderr)

    def warn(self, text: str) -> None:
        self._say(self._marked(f"WARNING: {harmless(text)}", _YELLOW), -1, sys.stderr)

    def error(self, text: str) -> None:
        self._say(self._marked(f"ERROR: {harmless(text)}", _RED), -2, sys.stderr)

    def plain_error(self, text: str) -> None:
        """On stderr, without a mark."""
        self._say(text, -2, sys.stderr)

    def _marked(self, text: str, color: str) -> str:
        return f"{color}{text}{_PLAIN}" if self._color and sys.stderr.isatty() else text

    def _say(self, text: str, level: int, stream: TextIO) -> None:
        blanks = " " * self._indent
        lines = "\n".join(blanks + line for line in without_passwords(text).split("\n"))
        if self.verbosity >= level:
            print(lines, file=stream)
        self._write_log(lines)

    def _write_log(self, lines: str) -> None:
        if self._log is None:
            return
        from datetime import datetime

        moment = datetime.now().isoformat(timespec="milliseconds").replace(".", ",")
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("a", encoding="utf-8") as file:
                file.writelines(f"{moment} {line}\n" for line in lines.split("\n"))
        except OSError:
            self._log = None


def without_passwords(text: str) -> str:
    """With stars for the passwords of all URLs in it; a name alone may be one, but not for ssh (git@)."""
    return _LOGIN.sub(_hidden, text)


def is_public(text: str) -> bool:
    """Whether there is no password in a URL of it."""
    return without_passwords(text) == text


def _hidden(match: re.Match[str]) -> str:
    user, colon, _ = match["login"].partition(":")
    if not colon and "http" not in match["scheme"].lower():
        return match[0]
    return f"{match['scheme']}://{user}:****@" if colon else f"{match['scheme']}://****@"
