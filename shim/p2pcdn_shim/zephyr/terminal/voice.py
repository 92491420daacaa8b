"""What zephyr says and where: answers on stdout, the rest on stderr; fewer words with --quiet, JSON with --json."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


def packages(number: int) -> str:
    """So many of them, in words."""
    return counted(number, "package")


def counted(number: int, what: str) -> str:
    """So many of what is named in the singular."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def document(value: Any) -> str:
    """The value as one JSON document that stdout can write: a path may have octets that are no letters."""
    import json

    text = json.dumps(value, indent=2, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return json.dumps(value, indent=2)
    return text


def harmless(text: str) -> str:
    """With all spelled out that a terminal would obey: packages and indexes have their words in our sentences."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in "\n\t" else repr(sign)[1:-1] for sign in text)


class Voice:
    """One run's way of speaking. verbosity: 0, or how often -v was given.

    printed: what went to stdout. has_warned: whether anything went to stderr.
    """

    def __init__(self, *, verbosity: int = 0, quiet: bool = False, as_json: bool = False) -> None:
        self.verbosity = verbosity
        self.quiet = quiet
        self.as_json = as_json
        self.printed = ""
        self.has_warned = False

    def answer(self, lines: Iterable[str], value: Any) -> None:
        """What was asked for: the lines, or with --json the value as one JSON document. --quiet does not silence it."""
        if self.as_json:
            lines = [document(value)]
        elif sys.stdout.isatty():  # a program that reads it gets it as it is
            lines = map(harmless, lines)
        for line in lines:
            print(line)
            self.printed += f"{line}\n"

    def did(self, sentence: str, value: Any) -> None:
        """What was changed, for who did not ask for a list: silent with --quiet, the value with --json."""
        if self.as_json or not self.quiet:
            self.answer([sentence], value)

    def note(self, sentence: str) -> None:
        """What the user should know besides; silent with --quiet."""
        if not self.quiet:
            self.warn(sentence)

    def row(self, text: str) -> None:
        """A row of a list that stands beside what was done; silent with --quiet."""
        if not self.quiet:
            self._tell(f"  {harmless(text)}")

    def warn(self, sentence: str) -> None:
        """What the user must know."""
        self._tell(f"zephyr: {harmless(sentence)}")

    def _tell(self, line: str) -> None:
        self.has_warned = True
        sys.stdout.flush()
        print(line, file=sys.stderr)

    def detail(self, sentence: str, *, level: int = 1) -> None:
        """What only who asked with so many -v wants to know."""
        if self.verbosity >= level:
            self.warn(sentence)

    @property
    def shows_progress(self) -> bool:
        """A line that is drawn over is for a person who looks."""
        return not (self.quiet or self.as_json) and sys.stderr is not None and sys.stderr.isatty()
