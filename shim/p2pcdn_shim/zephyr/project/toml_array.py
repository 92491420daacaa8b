"""One array of a TOML file as a person laid it out: members come and go, comments and indentation stay. Pure.

tomlkit keeps such things everywhere else; in arrays with comments it writes what no parser reads again.
"""

from __future__ import annotations

import json
import re
import tomllib

from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

_STRING = r'"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\''
_VALUE = re.compile(rf"{_STRING}|\{{(?:{_STRING}|[^{{}}\"'])*\}}|[^\s,\[\]#\"'{{}}]+", re.DOTALL)
_TRIVIA = re.compile(r"(?:\s|#[^\r\n]*)*")
_REST_OF_LINE = re.compile(r"[ \t]*#[^\r\n]*")
_INDENT = "    "


class Member:
    """before: white space and comments in front of it. gap: between it and its comma. tail: a comment after that."""

    def __init__(self, before: str, source: str, gap: str = "", tail: str = "") -> None:
        self.before = before
        self.source = source
        self.gap = gap
        self.tail = tail

    @property
    def value(self) -> Any:
        return tomllib.loads(f"x = {self.source}")["x"]


class TomlArray:
    """An array's members, and what stands after the last one. Used by one edit.

    source: from `[` to `]`. Raises ValueError for arrays in arrays, which no list of requirements has.
    """

    def __init__(self, source: str) -> None:
        self._is_spread = "\n" in source
        self._line_end = "\r\n" if "\r\n" in source else "\n"
        self._has_last_comma = False
        self.members: list[Member] = []
        self._end = ""
        self._read(source.strip()[1:-1])

    @property
    def values(self) -> list[Any]:
        """What a parser sees."""
        return [member.value for member in self.members]

    def replace(self, at: int, text: str) -> None:
        """Puts a text in the place of a member; the comments about it stay."""
        self.members[at].source = _quoted(text)

    def insert(self, at: int, text: str) -> None:
        """Puts a text before the member at `at`, laid out as the others are."""
        new = Member("", _quoted(text))
        if not self.members:
            self._is_spread = self._has_last_comma = True
            new.before, self._end = f"{self._end.rstrip()}\n{_INDENT}", "\n"
        elif self._is_spread:
            new.before = f"\n{self._indent()}"
            if at == len(self.members):
                self._has_last_comma = True
                self._end = self._end if "\n" in self._end else f"\n{self._end}"
        elif at == 0:
            new.before, self.members[0].before = self.members[0].before, " "
        else:
            new.before = " "
        self.members.insert(at, new)

    def remove(self, at: int) -> None:
        """Takes a member away with the comment on its line; those above it stay."""
        gone = self.members.pop(at)
        above = gone.before.rpartition("\n")[0] if "#" in gone.before else ""
        if at < len(self.members):
            following = self.members[at]
            if not self._is_spread:
                following.before = gone.before if at == 0 else following.before
            following.before = above + following.before
        else:
            self._end = above + self._end

    def __str__(self) -> str:
        text = "["
        for at, member in enumerate(self.members):
            comma = "," if self._has_last_comma or at < len(self.members) - 1 else ""
            text = _joined(text, f"{member.before}{member.source}{member.gap}{comma}{member.tail}")
        return re.sub(r"\r?\n", self._line_end, _joined(text, f"{self._end}]"))

    def _indent(self) -> str:
        return next((one.before.rpartition("\n")[2] for one in self.members if "\n" in one.before), _INDENT)

    def _read(self, body: str) -> None:
        at = 0
        while True:
            before = _matched(_TRIVIA, body, at)
            at += len(before)
            if at == len(body):
                self._end = before
                self._take_end_of_last()
                return
            value = _matched(_VALUE, body, at)
            if not value:
                raise ValueError(f"{body[at : at + 20]!r} is no member that could be edited.")
            at += len(value)
            member = Member(before, value, _matched(_TRIVIA, body, at))
            self.members.append(member)
            at += len(member.gap)
            self._has_last_comma = at < len(body) and body[at] == ","
            if not self._has_last_comma:
                continue
            member.tail = _matched(_REST_OF_LINE, body, at + 1)
            at += 1 + len(member.tail)

    def _take_end_of_last(self) -> None:
        """Behind the last member, with no comma, its own comment and the end of the array are one run."""
        if self.members and not self._has_last_comma:
            last = self.members[-1]
            last.tail = _matched(_REST_OF_LINE, last.gap, 0)
            last.gap, self._end = "", last.gap[len(last.tail) :] + self._end


def _joined(text: str, more: str) -> str:
    """A comment ends with its line."""
    last_line = text.rpartition("\n")[2]
    in_comment = "#" in re.sub(_STRING, "", last_line)
    return text + ("" if not in_comment or re.match(r"[ \t]*\r?\n", more) else "\n") + more


def _matched(pattern: re.Pattern[str], text: str, at: int) -> str:
    match = pattern.match(text, at)
    return match[0] if match else ""


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False) if "'" in text or '"' not in text else f"'{text}'"
