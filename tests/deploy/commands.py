"""What recipes say to p2pcdn: the commands in their scripts, lists and code, and the variables that they set."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from p2pcdn_daemon.cli import commands
from p2pcdn_daemon.configuration.config import SETTINGS
from p2pcdn_daemon.configuration.layers import OTHER_VARIABLES

# Where a command begins: at the line's start, after an operator, in a list of YAML, in backquotes; perhaps by its path.
_COMMAND = re.compile(
    r"""(?:^|&&|\||;|\$\(|`|\brun:|(?<=\s)--?(?=\s))[ \t]*"?(?:[\w$"{}/.-]*/)?p2pcdn"?[ \t]+([^\n`]*)"""
)
_LIST = re.compile(r"\[((?:CMD, *p2pcdn, *)?\"?[a-z]+\"?(?:, *[^\]]*)?)\]")
_VARIABLE = re.compile(r"\bP2PCDN_[A-Z0-9_<>]+")
_OF_AN_INDEX = re.compile(r"P2PCDN_INDEX_(?:<NAME>|[A-Z0-9_]+)_(?:USERNAME|PASSWORD)")


def said(path: Path) -> Iterator[list[str]]:
    """The words after `p2pcdn` of every command in a file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        fences = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        codes = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
        text = "\n".join([*fences, *codes])
    for line in text.splitlines():
        line = re.sub(r"^\s*#\s*", "", line)
        if match := _COMMAND.search(line):
            yield _until_operator(shlex.split(match[1].split(" #")[0].replace(')"', "").rstrip(")"), posix=True))
        for found in _LIST.findall(line):
            words = _words(found)
            if words[:2] == ["CMD", "p2pcdn"]:
                yield words[2:]
            elif words and words[0] in commands.commands:
                yield words


def wrong(words: list[str]) -> str | None:
    """Why the CLI would not take these words; None where it would. Values are not read."""
    group: click.Group = commands
    for place, word in enumerate(words):
        command = group.commands.get(word)
        if command is None:
            return f"there is no command {word!r} in {words}"
        if not isinstance(command, click.Group):
            known = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
            rest = words[place + 1 :]
            flags = [one.partition("=")[0] for one in rest[: rest.index("--") if "--" in rest else None]]
            missing = [flag for flag in flags if flag.startswith("-") and flag not in {*known, "--help"}]
            return f"`p2pcdn {word}` has no {missing} in {words}" if missing else None
        group = command
    return None


def unknown_variables(path: Path) -> set[str]:
    """Variables that look like ours and are none."""
    known = {setting.variable for setting in SETTINGS.values()} | OTHER_VARIABLES
    found = set(_VARIABLE.findall(path.read_text(encoding="utf-8")))
    return {name for name in found if name not in known and not _OF_AN_INDEX.fullmatch(name)}


def _until_operator(words: list[str]) -> list[str]:
    ends = [place for place, word in enumerate(words) if word in ("&&", "||", "|", ";", "&", ">", "2>")]
    return words[: ends[0]] if ends else words


def _words(inner: str) -> list[str]:
    try:
        return [str(word) for word in json.loads(f"[{inner}]")]
    except ValueError:
        return [word.strip().strip("\"'") for word in inner.split(",")]
