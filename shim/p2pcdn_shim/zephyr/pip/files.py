"""Files that ask: requirements and constraints, nested and on servers; groups of pyproject.toml; scripts (PEP 723)."""

from __future__ import annotations

import optparse
import os
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.pip import options as table
from p2pcdn_shim.zephyr.pip.asked import Ask, ask_of, dependency, editable_ask
from p2pcdn_shim.zephyr.pip.controls import ALL, Control
from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.pip.web import NotThere
from p2pcdn_shim.zephyr.project.pyproject import read_group
from p2pcdn_shim.zephyr.project.requirements_txt import encoding_of, logical_lines, with_variables
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, NoReturn

    from p2pcdn_shim.zephyr.pip.voice import PipVoice
    from p2pcdn_shim.zephyr.pip.web import Web

_ON_A_SERVER = re.compile(r"(https?|file):", re.IGNORECASE)
_IN_FILES = (
    *("index_url", "extra_index_urls", "no_index", "constraints", "requirements", "editables", "find_links"),
    *("no_binary", "only_binary", "prefer_binary", "require_hashes", "no_require_hashes", "pre", "all_releases"),
    *("only_final", "hashes", "config_settings"),
)


class _Wrong(Exception):
    """A line whose options cannot be read."""


class _LineParser(optparse.OptionParser):
    def error(self, msg: str) -> NoReturn:
        raise _Wrong(f"{msg}\n")


class Reader:
    """Reads files for one command; what they say of indexes and files goes into the command's options."""

    def __init__(self, options: Any, voice: PipVoice, web: Web) -> None:
        self._options = options
        self._voice = voice
        self._web = web

    def asks(self, file: str, *, constraint: bool = False) -> Iterator[Ask]:
        """Raises PipError."""
        yield from self._file(file, constraint, [{_key(file): ""}])

    def _file(self, file: str, constraint: bool, above: list[dict[str, str]]) -> Iterator[Ask]:
        for number, line in logical_lines(self._text(file, constraint)):
            expanded = with_variables(line, os.environ)
            try:
                text, options = self._split(expanded)
            except _Wrong as error:
                raise PipError(f"Invalid requirement: {expanded}\n{error}") from error
            if text or options.editables:
                yield self._ask(text, options, file, number, constraint)
            elif options.requirements or options.constraints:
                nested = (options.requirements or options.constraints)[0]
                place = _nested(nested, file)
                self._check_circle(place, file, above[0])
                yield from self._file(place, not options.requirements, [{**above[0], _key(place): file}, *above])
            else:
                self._take(options, file, number)

    def _check_circle(self, place: str, file: str, known: dict[str, str]) -> None:
        if _key(place) in known:
            first = known[_key(place)]
            again = f" and again in {first}" if first else ""
            raise PipError(f"{place} recursively references itself in {file}{again}")

    def _text(self, file: str, constraint: bool) -> str:
        what = "constraint" if constraint else "requirements"
        if re.match(r"https?:", file, re.IGNORECASE):
            try:
                return self._web.text(file)
            except NotThere as error:
                raise PipError(f"{error}") from error
        path = Path(unquote(urlsplit(file).path)) if file.lower().startswith("file:") else Path(file)
        if file.lower().startswith("file:") and not path.exists():
            raise PipError(f"404 Client Error: FileNotFoundError for url: {file}")
        try:
            content = path.read_bytes()
            return content.decode(encoding_of(content))
        except OSError as error:
            raise PipError(f"Could not open {what} file: {error}") from error
        except UnicodeDecodeError as error:
            raise PipError(
                f"Could not open {what} file: {file} is not in the encoding that it says ({error})"
            ) from error

    def _split(self, line: str) -> tuple[str, Any]:
        words = line.split(" ")
        at = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
        text, rest = " ".join(words[:at]).strip(), " ".join(words[at:])
        parser = _LineParser(add_help_option=False)
        for name, row in [
            *table.rows(_IN_FILES),
            *((key, table.GENERAL[key]) for key in ("trusted_hosts", "features_enabled")),
        ]:
            parser.add_option(table.make(name, row))
        values = parser.get_default_values()
        values.format_control = self._options.format_control
        values.release_control = getattr(self._options, "release_control", None)
        try:
            words_ = shlex.split(rest)
        except ValueError as error:
            raise _Wrong(f"Could not split options: {rest}") from error
        options, _ = parser.parse_args(words_, values)
        return text, options

    def _ask(self, text: str, options: Any, file: str, number: int, constraint: bool) -> Ask:
        flag = "-c" if constraint else "-r"
        origin = f"{flag} {file} (line {number})"
        settings = options.config_settings or {}
        self._options.format_control = options.format_control  # these count behind a requirement, too
        if not text:
            return editable_ask(options.editables[0], origin=origin, constraint=constraint, settings=settings)
        hashes = {name: tuple(values) for name, values in (options.hashes or {}).items()}
        source = f"line {number} of {file}"
        return ask_of(
            text, self._voice, origin=origin, source=source, constraint=constraint, hashes=hashes, settings=settings
        )

    def _take(self, options: Any, file: str, number: int) -> None:
        """Options that stand alone on a line."""
        mine = self._options
        if options.hashes:
            self._voice.warn(f"{file} line {number} has --hash but no requirement, and will be ignored.")
        for name in ("require_hashes", "no_require_hashes", "prefer_binary", "no_index"):
            if getattr(options, name):
                setattr(mine, name, True)
        mine.features_enabled = list(dict.fromkeys([*mine.features_enabled, *options.features_enabled]))
        if mine.no_index:
            mine.index_url, mine.extra_index_urls = None, []
        else:
            if options.index_url:
                mine.index_url, mine.extra_index_urls = options.index_url, []
            mine.extra_index_urls = [*mine.extra_index_urls, *options.extra_index_urls]
        for value in options.find_links[:1]:
            beside = Path(os.path.abspath(file)).parent / value  # noqa: PTH100
            mine.find_links = [*mine.find_links, str(beside) if beside.exists() else value]
        mine.trusted_hosts = [*mine.trusted_hosts, *options.trusted_hosts]
        mine.format_control = options.format_control
        mine.release_control = options.release_control
        if options.pre:
            control = mine.release_control.copied() if mine.release_control is not None else Control()
            control.first.add(ALL)
            mine.release_control = control


def _key(file: str) -> str:
    return file if _ON_A_SERVER.match(file) else os.path.abspath(file)  # noqa: PTH100


def _nested(name: str, file: str) -> str:
    if re.match(r"(https?|file):", file, re.IGNORECASE):
        return urljoin(file, name)
    if _ON_A_SERVER.match(name):
        return name
    return os.path.abspath(os.path.join(os.path.dirname(file), name))  # noqa: PTH100, PTH118, PTH120


def group_asks(groups: list[tuple[str, str]]) -> Iterator[Ask]:
    """The requirements of dependency groups (PEP 735): (pyproject.toml, name) each. Raises PipError."""
    for path, name in groups:
        try:
            texts = read_group(Path(path), name)
        except UsageError as error:
            raise PipError(f"[dependency-groups] resolution failed for {name!r} from {path!r}: {error}") from error
        yield from (dependency(text, "") for text in texts)


_BLOCK = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")


def script_metadata(file: str) -> dict[str, Any]:
    """The `script` block of a script (PEP 723). Raises PipError."""
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PipError(f"Could not read the script {file!r}: {error}") from error
    blocks = [match for match in _BLOCK.finditer(text) if match["type"] == "script"]
    if len(blocks) > 1:
        raise PipError(f"Multiple 'script' blocks found in {file!r}")
    if not blocks:
        raise PipError(f"File does not contain 'script' metadata: {file!r}")
    content = "".join(
        line[2:] if line.startswith("# ") else line[1:] for line in blocks[0]["content"].splitlines(keepends=True)
    )
    try:
        told = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise PipError(f"Failed to parse TOML in {file!r}") from error
    texts = told.get("dependencies", [])
    if not isinstance(texts, list) or not all(
        isinstance(one, str) for one in (*texts, told.get("requires-python", ""))
    ):
        raise PipError(f"The 'script' metadata of {file!r} has a wrong type: dependencies is a list of texts, and"
                       " requires-python a text.")  # fmt: skip
    return told
