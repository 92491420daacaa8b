"""pip's configuration: its files in their order, and PIP_* variables; read for options, shown and edited by
`config`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from configparser import Error as ParserError
from configparser import RawConfigParser
from pathlib import Path

from p2pcdn_shim.zephyr.pip.errors import PipError

NAME = "pip.ini" if os.name == "nt" else "pip.conf"
# PIP_VERSION and PIP_HELP are no settings.
_NOT_SETTINGS = ("version", "help")
# A later kind is stronger.
KINDS = ("global", "user", "site", "env", "env-var")


class Configuration:
    """Every setting with its kind and file. prefix: that of the environment that is worked on."""

    def __init__(self, prefix: str, environ: Mapping[str, str] = os.environ, *, isolated: bool = False) -> None:
        self._environ = environ
        self._prefix = prefix
        self._isolated = isolated
        self.parsers: dict[str, list[tuple[Path, RawConfigParser]]] = {kind: [] for kind in KINDS}

    def load(self, only: str | None = None) -> None:
        """Raises PipError for a file that cannot be read."""
        for kind, files in self.files():
            if only is None or kind == only:
                self.parsers[kind] = [(file, _read(file)) for file in files]

    def files(self) -> Iterator[tuple[str, list[Path]]]:
        """The files of each kind, whether they exist or not; the weakest first."""
        named = self._environ.get("PIP_CONFIG_FILE")
        if named == os.devnull:
            return
        yield "global", [directory / NAME for directory in self._global_directories()]
        if not self._isolated and not (named and Path(named).exists()):
            home = Path("~").expanduser()
            yield "user", [home / ("pip" if os.name == "nt" else ".pip") / NAME, self._user_directory() / NAME]
        yield "site", [Path(self._prefix) / NAME]
        yield "env", [Path(named)] if named else []

    def items(self) -> Iterator[tuple[str, str]]:
        """(section.name, value): a later one wins."""
        for kind in KINDS:
            for _, parser in self.parsers[kind]:
                yield from values_of(parser)
        if not self._isolated:
            yield from ((f":env:.{name}", value) for name, value in self.variables())

    def variables(self) -> Iterator[tuple[str, str]]:
        for key, value in self._environ.items():
            if key.startswith("PIP_") and key[4:].lower() not in _NOT_SETTINGS:
                yield plain(key[4:]), value

    def for_command(self, command: str) -> Iterator[tuple[str, str]]:
        """(option, value) as they count for a command; empty values do not."""
        known = dict(self.items())
        for section in ("global", command, ":env:"):
            for key, value in known.items():
                name, _, option = key.partition(".")
                if name == section and value:
                    yield option, value

    def _global_directories(self) -> list[Path]:
        if sys.platform == "darwin":
            return [Path("/Library/Application Support/pip")]
        if os.name == "nt":
            return [Path(self._environ.get("PROGRAMDATA", "C:\\ProgramData")) / "pip"]
        named = self._environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
        return [*(Path(one) / "pip" for one in named.split(os.pathsep) if one), Path("/etc")]

    def _user_directory(self) -> Path:
        if os.name == "nt":
            return Path(self._environ.get("APPDATA") or Path("~").expanduser()) / "pip"
        if sys.platform == "darwin" and (mac := Path("~/Library/Application Support/pip").expanduser()).is_dir():
            return mac
        return Path(self._environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()) / "pip"


def plain(name: str) -> str:
    """One spelling for a setting: `--Index_URL` is index-url."""
    return name.lower().replace("_", "-").removeprefix("--")


def values_of(parser: RawConfigParser) -> Iterator[tuple[str, str]]:
    for section in parser.sections():
        for name, value in parser.items(section):
            yield f"{section}.{plain(name)}", value


def _read(file: Path) -> RawConfigParser:
    parser = RawConfigParser()
    try:
        parser.read(file, encoding="utf-8")
    except UnicodeDecodeError as error:
        raise PipError(f"Configuration file contains invalid utf-8 characters in {file}.\n") from error
    except ParserError as error:
        raise PipError(f"Configuration file could not be loaded.\n{error}\n") from error
    return parser
