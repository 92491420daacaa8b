"""pip's settings, edited line by line: whatever else stands in them stays as it is."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

from p2pcdn_daemon.clients.client_config import ClientIndexes, leads_to, pip_files, pip_indexes, user_directory
from p2pcdn_daemon.clients.installer import User, addresses, read_text
from p2pcdn_daemon.configuration.config import ConfigError

_PIP_SECTIONS = ("global", "download", "install")
_PIP_KEY = re.compile(r"(?:--)?(?:index|pypi)[-_]url\s*[=:]", re.IGNORECASE)


class Pip:
    def path(self, user: User, project: Path | None) -> Path:
        return user_directory(user.environ) / "pip" / "pip.conf"

    def point(self, text: str, index_url: str, user: User) -> str:
        # A command's own section wins over [global], whichever file it stands in, so it must be answered in kind.
        elsewhere = [_ini(read_text(file) or "", file) for file in _other_pip_files(user)]
        own = _ini(text, self.path(user, None))
        for section in _PIP_SECTIONS:
            if section == "global" or any(_ini_indexes(parser, section) for parser in (own, *elsewhere)):
                text = _ini_set(text, section, index_url)
        return text

    def restore(self, text: str, before: str, index_url: str) -> str:
        earlier = _ini(before, Path("the settings before"))
        for section in _PIP_SECTIONS:
            if index_url in _ini_indexes(_ini(text, Path("pip.conf")), section):
                old = _ini_indexes(earlier, section)
                text = _ini_set(text, section, old[0]) if old else _ini_remove(text, section)
        return text

    def uses(self, text: str, index_url: str) -> bool:
        parser = _ini(text, Path("pip.conf"))
        said = [_ini_indexes(parser, section) for section in _PIP_SECTIONS]
        return said[0] == [index_url] and all(urls in ([], [index_url]) for urls in said)

    def indexes(self, text: str, user: User) -> ClientIndexes:
        return pip_indexes(user.environ, etc=user.etc)

    def notes(self, text: str, index_url: str, user: User) -> list[str]:
        now = pip_indexes(user.environ, etc=user.etc)
        notes = []
        first = now.defaults[0] if now.defaults else None
        if first is not None and not leads_to(first.url, addresses(index_url)):
            notes.append(f"pip still uses another index: {first.origin} names it, and that wins over this file.")
        if now.extras:
            notes.append(
                f"pip also asks the extra index of {now.extras[0].origin}, past this node. Make it an upstream of the "
                "node and remove it there to have its packages kept and shared."
            )
        return notes


def _other_pip_files(user: User) -> list[Path]:
    return [file for file in pip_files(user.environ, etc=user.etc) if file != Pip().path(user, None)]


def _ini(text: str, path: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise ConfigError(f"{path} cannot be read, by pip neither: {str(error).splitlines()[0]}") from error
    return parser


def _ini_indexes(parser: configparser.RawConfigParser, section: str) -> list[str]:
    if not parser.has_section(section):
        return []
    return [value.strip() for option, value in parser.items(section) if _PIP_KEY.match(option + "=")]


def _ini_set(text: str, section: str, value: str) -> str:
    """The text with that section's index set: in place of the old line, else below the header, else in a new one."""
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    line = f"index-url = {value}{newline}"
    header = _ini_header(lines, section)
    if header is None:
        if lines and not lines[-1].endswith(("\n", "\r")):
            lines[-1] += newline
        return "".join([*lines, *([newline] if lines else []), f"[{section}]{newline}", line])
    places = _ini_places(lines, header)
    if not places:
        if not lines[header].endswith(("\n", "\r")):
            lines[header] += newline
        lines.insert(header + 1, line)
        return "".join(lines)
    # Of two spellings of the option one is enough.
    for start, end in reversed(places[1:]):
        del lines[start:end]
    start, end = places[0]
    lines[start:end] = [line]
    return "".join(lines)


def _ini_remove(text: str, section: str) -> str:
    lines = text.splitlines(keepends=True)
    header = _ini_header(lines, section)
    if header is not None:
        for start, end in reversed(_ini_places(lines, header)):
            del lines[start:end]
    return "".join(lines)


def _ini_header(lines: list[str], section: str) -> int | None:
    return next((at for at, line in enumerate(lines) if re.match(rf"\[{re.escape(section)}\]", line)), None)


def _ini_places(lines: list[str], header: int) -> list[tuple[int, int]]:
    """From which line to which the section's index options go, with the indented lines that continue them."""
    places = []
    at = header + 1
    while at < len(lines) and not lines[at].startswith("["):
        start = at
        at += 1
        if _PIP_KEY.match(lines[start].lstrip()):
            while at < len(lines) and lines[at][:1] in (" ", "\t") and lines[at].strip():
                at += 1
            places.append((start, at))
    return places
