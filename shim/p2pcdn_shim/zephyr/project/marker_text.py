"""Markers (PEP 508) read as far as it takes to decide some of their comparisons and to write down what is left."""

from __future__ import annotations

import re
from collections.abc import Callable

from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    # Left side, operator, right side, as they are written: what is decided of the comparison, None where nothing is.
    Decide = Callable[[str, str, str], bool | None]

_TOKEN = re.compile(r"""\s*('[^']*'|"[^"]*"|[()]|===|[~=!<>]=|[<>]|[A-Za-z_.]+|\Z)""")
# A marker of a thousand packages' lock nests three deep; a deeper one is an attack on our stack.
DEPTH_MAX = 50


def left_of(text: str, decide: Decide) -> str | bool:
    """What is left of a marker: its text, True where it always holds, False where it never does.

    Raises ValueError for what is no marker.
    """
    reader = _Reader(text, decide)
    left = reader.either(0)
    if reader.token:
        raise ValueError(f"{text!r} is no marker")
    return left if isinstance(left, bool) else _without_brackets(left)


class _Reader:
    """Reads from left to right; `and` binds more tightly than `or`."""

    def __init__(self, text: str, decide: Decide) -> None:
        self._text = text
        self._decide = decide
        self._at = 0
        self.token = ""
        self._next()

    def either(self, depth: int) -> str | bool:
        parts = [self._every(depth)]
        while self.token == "or":
            self._next()
            parts.append(self._every(depth))
        return _joined(parts, "or")

    def _every(self, depth: int) -> str | bool:
        parts = [self._one(depth)]
        while self.token == "and":
            self._next()
            parts.append(self._one(depth))
        return _joined(parts, "and")

    def _one(self, depth: int) -> str | bool:
        if self.token != "(":
            return self._comparison()
        if depth == DEPTH_MAX:
            raise ValueError("a marker nests too deeply")
        self._next()
        inner = self.either(depth + 1)
        self._take(")")
        return inner

    def _comparison(self) -> str | bool:
        left, operator = self._take(), self._take()
        if operator == "not":
            operator = f"not {self._take('in')}"
        right = self._take()
        decided = self._decide(left, operator, right)
        return f"{_quoted(left)} {operator} {_quoted(right)}" if decided is None else decided

    def _take(self, wanted: str = "") -> str:
        token = self.token
        if not token or (wanted and token != wanted):
            raise ValueError(f"{self._text!r} is no marker")
        self._next()
        return token

    def _next(self) -> None:
        match = _TOKEN.match(self._text, self._at)
        if match is None:
            raise ValueError(f"{self._text!r} is no marker")
        self.token, self._at = match[1], match.end()


def _joined(parts: list[str | bool], word: str) -> str | bool:
    decides = word == "or"
    if any(part is decides for part in parts):
        return decides
    texts = [part for part in parts if not isinstance(part, bool)]
    if not texts:
        return not decides
    return texts[0] if len(texts) == 1 else f"({f' {word} '.join(texts)})"


def _quoted(value: str) -> str:
    """A text in double quotes, where it has none itself."""
    return f'"{value[1:-1]}"' if value[0] == "'" and '"' not in value else value


def _without_brackets(text: str) -> str:
    return text[1:-1] if text.startswith("(") and text.endswith(")") else text
