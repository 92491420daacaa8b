"""`p2pcdn setup pip|uv|poetry|pdm`: an installer's own settings file is pointed at this node, and back again.

Only the lines that name the index change; a record in our state directory remembers what stood there. Undo gives the
file back byte for byte where nobody has edited it since, and else takes back only what setup had put in.
"""

from __future__ import annotations

import base64
import configparser
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import quote, urlsplit, urlunsplit

import tomlkit
import tomlkit.items
from tomlkit.exceptions import TOMLKitError

from p2pcdn_daemon.client_config import (
    CONFIG_SIZE_BYTES_MAX,
    ClientIndexes,
    leads_to,
    make_found,
    pip_files,
    pip_indexes,
    user_directory,
    uv_indexes,
)
from p2pcdn_daemon.config import ConfigError

ETC = Path("/etc")

# What our source is called in a poetry project.
SOURCE_NAME = "p2pcdn"

_PIP_SECTIONS = ("global", "download", "install")
_PIP_KEY = re.compile(r"(?:--)?(?:index|pypi)[-_]url\s*[=:]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Change:
    """What `apply` or `undo` did.

    changed: False where all was as it should be. previous_upstreams: the indexes that the installer used instead of us
    until now, to become the node's own upstreams, in order; they may hold credentials, so they are not printed. Empty
    where nothing was configured: the node then finds by itself what it needs. notes: sentences for the user.
    """

    client: str
    path: Path
    changed: bool
    previous_upstreams: tuple[str, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()


class Client(Protocol):
    """How one installer's settings are read and edited; texts in, texts out. Raises ConfigError for unreadable ones."""

    def path(self, environ: Mapping[str, str], project: Path | None) -> Path: ...

    def point(self, text: str, index_url: str, environ: Mapping[str, str]) -> str:
        """The settings with the index set to index_url."""
        ...

    def restore(self, text: str, before: str, index_url: str) -> str:
        """The settings with what still names index_url as it was in `before`."""
        ...

    def uses(self, text: str, index_url: str) -> bool: ...

    def indexes(self, text: str, environ: Mapping[str, str]) -> ClientIndexes:
        """What the installer is configured for before it is pointed elsewhere; text is that of its file."""
        ...

    def notes(self, text: str, index_url: str, environ: Mapping[str, str]) -> list[str]:
        """What still leads past the node, or what the user must do; text is the settings as they became."""
        ...


def apply(
    client: str, index_url: str, *, project: Path | None = None, environ: Mapping[str, str] = os.environ
) -> Change:
    """Points an installer at index_url, this node's Simple API; a second time with the same URL changes nothing.

    project: the directory of a poetry project; the others have settings of the user's. A file that gets a URL with a
    token in its path becomes readable by its owner only. Raises ConfigError, one sentence, where that is impossible.
    """
    kind = _client(client)
    path = kind.path(environ, project)
    record_path = _record_path(client, path, environ)
    record = _Record.read(record_path)
    before = _read(path)
    text = before or ""
    if kind.uses(text, index_url):
        return Change(client, path, False, (), tuple(kind.notes(text, index_url, environ)))
    if record is not None and kind.uses(text, record.index_url):
        # Our URL of an earlier time, with another port or token: what stood there before us stays remembered.
        text = kind.restore(text, record.before or "", record.index_url)
        original, mode = record.before, record.mode
        previous: tuple[str, ...] = ()
    else:
        original, mode = before, _mode(path)
        previous = _previous(kind.indexes(text, environ), index_url)
    after = kind.point(text, index_url, environ)
    _Record(index_url, original, _digest(after), mode).write(record_path)
    _write(path, after, 0o600 if _is_private(index_url) or mode is None else mode)
    return Change(client, path, True, previous, tuple(kind.notes(after, index_url, environ)))


def undo(client: str, *, project: Path | None = None, environ: Mapping[str, str] = os.environ) -> Change:
    """Takes back what `apply` changed; without an earlier `apply` nothing changes and a note says so."""
    kind = _client(client)
    path = kind.path(environ, project)
    record_path = _record_path(client, path, environ)
    record = _Record.read(record_path)
    if record is None:
        return Change(client, path, False, (), (f"{path} was not changed by `p2pcdn setup {client}`.",))
    text = _read(path)
    notes: tuple[str, ...] = ()
    changed = True
    if text is not None and _digest(text) == record.after:
        _put_back(path, record.before, record.mode)
    elif text is not None and kind.uses(text, record.index_url):
        _write(path, kind.restore(text, record.before or "", record.index_url), record.mode or 0o600)
        notes = (f"{path} was edited since; only the index of this node was taken out of it.",)
    else:
        changed = False
        notes = (f"{path} does not name this node any more; it was left as it is.",)
    record_path.unlink(missing_ok=True)
    return Change(client, path, changed, (), notes)


def _client(name: str) -> Client:
    if name not in CLIENTS:
        raise ConfigError(f"{name!r} is not one of {', '.join(CLIENTS)}.")
    return CLIENTS[name]


def _previous(indexes: ClientIndexes, index_url: str) -> tuple[str, ...]:
    ours = _addresses(index_url)
    default = next((found for found in indexes.defaults if not leads_to(found.url, ours)), None)
    if default is None:
        return ()
    ordered = (*indexes.extras, default) if indexes.before_default else (default, *indexes.extras)
    return tuple(dict.fromkeys(found.url_with_credentials for found in ordered if not leads_to(found.url, ours)))


def _addresses(index_url: str) -> list[tuple[str, int]]:
    parts = urlsplit(index_url)
    return [(parts.hostname or "", parts.port or {"https": 443}.get(parts.scheme, 80))]


def _is_private(index_url: str) -> bool:
    """Whether the URL is a secret: it has a password, or a path with more than the public index's."""
    parts = urlsplit(index_url)
    return "@" in parts.netloc or parts.path.strip("/") not in ("", "simple")


# --- pip ---


class _Pip:
    def path(self, environ: Mapping[str, str], project: Path | None) -> Path:
        return user_directory(environ) / "pip" / "pip.conf"

    def point(self, text: str, index_url: str, environ: Mapping[str, str]) -> str:
        # A command's own section wins over [global], whichever file it stands in, so it must be answered in kind.
        elsewhere = [_ini(_read(file) or "", file) for file in _other_pip_files(environ)]
        own = _ini(text, self.path(environ, None))
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

    def indexes(self, text: str, environ: Mapping[str, str]) -> ClientIndexes:
        return pip_indexes(environ, etc=ETC)

    def notes(self, text: str, index_url: str, environ: Mapping[str, str]) -> list[str]:
        now = pip_indexes(environ, etc=ETC)
        notes = []
        first = now.defaults[0] if now.defaults else None
        if first is not None and not leads_to(first.url, _addresses(index_url)):
            notes.append(f"pip still uses another index: {first.origin} names it, and that wins over this file.")
        if now.extras:
            notes.append(
                f"pip also asks the extra index of {now.extras[0].origin}, past this node. Make it an upstream of the "
                "node and remove it there to have its packages kept and shared."
            )
        return notes


def _other_pip_files(environ: Mapping[str, str]) -> list[Path]:
    return [file for file in pip_files(environ, etc=ETC) if file != CLIENTS["pip"].path(environ, None)]


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


# --- uv ---


class _Uv:
    def path(self, environ: Mapping[str, str], project: Path | None) -> Path:
        return user_directory(environ) / "uv" / "uv.toml"

    def point(self, text: str, index_url: str, environ: Mapping[str, str]) -> str:
        settings = _toml(text, "uv.toml")
        places = _uv_places(settings)
        for table, key in places:
            table[key] = index_url
        if not any(key == "url" for _, key in places):
            if "index" not in settings:
                settings.append("index", tomlkit.aot())
            indexes: Any = settings["index"]
            table = tomlkit.table() if isinstance(indexes, tomlkit.items.AoT) else tomlkit.inline_table()
            table.append("url", index_url)
            table.append("default", True)
            indexes.append(table)
        return tomlkit.dumps(settings)

    def restore(self, text: str, before: str, index_url: str) -> str:
        settings, earlier = _toml(text, "uv.toml"), _toml(before, "uv.toml")
        old = {key: str(table[key]) for table, key in reversed(_uv_places(earlier))}
        for table, key in _uv_places(settings):
            if table[key] != index_url:
                continue
            if key in old:
                table[key] = old[key]
            elif key == "url":
                cast(Any, settings["index"]).remove(table)
            else:
                table.remove(key)
        if "index" in settings and not settings["index"]:
            settings.remove("index")
        return tomlkit.dumps(settings)

    def uses(self, text: str, index_url: str) -> bool:
        places = _uv_places(_toml(text, "uv.toml"))
        return bool(places) and all(table[key] == index_url for table, key in places)

    def indexes(self, text: str, environ: Mapping[str, str]) -> ClientIndexes:
        return uv_indexes(environ, etc=ETC)

    def notes(self, text: str, index_url: str, environ: Mapping[str, str]) -> list[str]:
        now = uv_indexes(environ, etc=ETC)
        notes = []
        first = now.defaults[0] if now.defaults else None
        if first is not None and not leads_to(first.url, _addresses(index_url)):
            notes.append(f"uv still uses another index: {first.origin} names it, and that wins over this file.")
        if now.extras:
            notes.append(
                f"uv also asks the index of {now.extras[0].origin}, past this node and before it. Make it an upstream "
                "of the node and remove it there to have its packages kept and shared."
            )
        notes.append("A uv.lock that another index made keeps its own URLs: `uv sync --frozen` goes past this node.")
        return notes


def _uv_places(settings: tomlkit.TOMLDocument) -> list[tuple[Any, str]]:
    """Every place that names the default index: tables and keys."""
    tables = settings.get("index")
    places: list[tuple[Any, str]] = [
        (table, "url")
        for table in (tables if isinstance(tables, list) else [])
        if table.get("default") and "url" in table
    ]
    pip = settings.get("pip")
    return places + [(part, "index-url") for part in (settings, pip) if isinstance(part, dict) and "index-url" in part]


# --- pdm ---


class _Pdm:
    def path(self, environ: Mapping[str, str], project: Path | None) -> Path:
        named = environ.get("PDM_CONFIG_FILE")
        return Path(named) if named else user_directory(environ) / "pdm" / "config.toml"

    def point(self, text: str, index_url: str, environ: Mapping[str, str]) -> str:
        settings = _toml(text, "pdm's config.toml")
        if "pypi" not in settings:
            settings.append("pypi", tomlkit.table())
        cast(Any, settings["pypi"])["url"] = index_url
        return tomlkit.dumps(settings)

    def restore(self, text: str, before: str, index_url: str) -> str:
        settings, old = _toml(text, "pdm's config.toml"), _pdm_pypi(_toml(before, "pdm's config.toml")).get("url")
        pypi: Any = settings["pypi"]
        if old is not None:
            pypi["url"] = old
        else:
            pypi.remove("url")
            if not pypi:
                settings.remove("pypi")
        return tomlkit.dumps(settings)

    def uses(self, text: str, index_url: str) -> bool:
        return _pdm_pypi(_toml(text, "pdm's config.toml")).get("url") == index_url

    def indexes(self, text: str, environ: Mapping[str, str]) -> ClientIndexes:
        pypi = _pdm_pypi(_toml(text, "pdm's config.toml"))
        url = pypi.get("url")
        if not isinstance(url, str):
            return ClientIndexes((), (), before_default=False)
        found = make_found(_with_user(url, pypi.get("username"), pypi.get("password")), "pdm's config.toml")
        return ClientIndexes((found,) if found else (), (), before_default=False)

    def notes(self, text: str, index_url: str, environ: Mapping[str, str]) -> list[str]:
        if environ.get("PDM_PYPI_URL") not in (None, index_url):
            return ["pdm still uses another index: PDM_PYPI_URL names it, and that wins over this file."]
        return ["A project whose [[tool.pdm.source]] is called pypi keeps its own index."]


def _pdm_pypi(settings: tomlkit.TOMLDocument) -> Mapping[str, Any]:
    pypi = settings.get("pypi")
    return pypi if isinstance(pypi, dict) else {}


def _with_user(url: str, username: object, password: object) -> str:
    parts = urlsplit(url)
    if not isinstance(username, str) or "@" in parts.netloc:
        return url
    user = quote(username, safe="") + (":" + quote(password, safe="") if isinstance(password, str) else "")
    return urlunsplit(parts._replace(netloc=f"{user}@{parts.netloc}"))


# --- poetry ---


class _Poetry:
    """poetry has no index for all projects, so the project gets a source; beside a primary one PyPI is left out."""

    def path(self, environ: Mapping[str, str], project: Path | None) -> Path:
        path = (project or Path.cwd()) / "pyproject.toml"
        if not path.is_file():
            raise ConfigError(
                f"There is no {path}: poetry has no index for all projects, so name a project's directory."
            )
        return path

    def point(self, text: str, index_url: str, environ: Mapping[str, str]) -> str:
        settings = _toml(text, "pyproject.toml")
        for source in _poetry_sources(settings):
            # Named PyPI and primary, it would be asked beside us; explicit, it is there for packages pinned to it.
            if str(source.get("name", "")).lower() == "pypi" and source.get("priority", "primary") == "primary":
                source["priority"] = "explicit"
        tool = settings.setdefault("tool", tomlkit.table(is_super_table=True))
        poetry = cast(Any, tool).setdefault("poetry", tomlkit.table(is_super_table=True))
        if "source" not in poetry:
            poetry.append("source", tomlkit.aot())
        source = tomlkit.table()
        source.append("name", SOURCE_NAME)
        source.append("url", index_url)
        source.append("priority", "primary")
        poetry["source"].append(source)
        return tomlkit.dumps(settings)

    def restore(self, text: str, before: str, index_url: str) -> str:
        settings = _toml(text, "pyproject.toml")
        earlier = {str(source.get("name", "")): source for source in _poetry_sources(_toml(before, "pyproject.toml"))}
        sources = _poetry_sources(settings)
        for source in list(sources):
            old = earlier.get(str(source.get("name", "")))
            if source.get("name") == SOURCE_NAME:
                sources.remove(source)
            elif old is not None and source.get("priority") == "explicit" and str(source["name"]).lower() == "pypi":
                if "priority" in old:
                    source["priority"] = str(old["priority"])
                else:
                    source.remove("priority")
        if not sources:
            cast(Any, settings["tool"])["poetry"].remove("source")
        return tomlkit.dumps(settings)

    def uses(self, text: str, index_url: str) -> bool:
        return any(
            source.get("name") == SOURCE_NAME and source.get("url") == index_url
            for source in _poetry_sources(_toml(text, "pyproject.toml"))
        )

    def indexes(self, text: str, environ: Mapping[str, str]) -> ClientIndexes:
        # A project's sources are the project's: they stay where they are, and no other project shall get them.
        return ClientIndexes((), (), before_default=False)

    def notes(self, text: str, index_url: str, environ: Mapping[str, str]) -> list[str]:
        others = [
            str(source.get("name"))
            for source in _poetry_sources(_toml(text, "pyproject.toml"))
            if source.get("name") != SOURCE_NAME and source.get("priority", "primary") == "primary"
        ]
        notes = [
            "Run `poetry lock` next: poetry.lock names the source of each package. Commit neither this change nor that."
        ]
        if others:
            notes.append(f"poetry also asks the project's own source {others[0]}, past this node.")
        return notes


def _poetry_sources(settings: tomlkit.TOMLDocument) -> Any:
    node: Any = settings
    for key in ("tool", "poetry", "source"):
        node = node.get(key) if isinstance(node, dict) else None
    return node if isinstance(node, list) else []


CLIENTS: dict[str, Client] = {"pip": _Pip(), "uv": _Uv(), "poetry": _Poetry(), "pdm": _Pdm()}


def _toml(text: str, what: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        raise ConfigError(f"{what} cannot be read: {error}") from error


# --- the record, and files ---


@dataclass(frozen=True, slots=True)
class _Record:
    """What undo needs: before is the file's text (None: there was none), after the sha256 of what setup wrote."""

    index_url: str
    before: str | None
    after: str
    mode: int | None

    @classmethod
    def read(cls, path: Path) -> _Record | None:
        try:
            said = json.loads(path.read_text("utf-8"))
            before = None if said["before"] is None else base64.b64decode(said["before"]).decode()
            return cls(str(said["index_url"]), before, str(said["after"]), said["mode"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}, which says how to undo, cannot be read: {error}") from error

    def write(self, path: Path) -> None:
        before = None if self.before is None else base64.b64encode(self.before.encode()).decode("ascii")
        said = {"index_url": self.index_url, "before": before, "after": self.after, "mode": self.mode}
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(path, json.dumps(said), 0o600)


def _record_path(client: str, path: Path, environ: Mapping[str, str]) -> Path:
    named = environ.get("XDG_STATE_HOME", "")
    state = Path(named) if named.startswith("/") else Path(environ.get("HOME") or Path.home()) / ".local" / "state"
    return state / "p2pcdn" / "setup" / f"{client}-{hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:16]}.json"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode & 0o777
    except FileNotFoundError:
        return None


def _read(path: Path) -> str | None:
    """The text with its line ends as they are; None where there is no file."""
    try:
        with path.open("rb") as opened:
            content = opened.read(CONFIG_SIZE_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > CONFIG_SIZE_BYTES_MAX:
        raise ConfigError(f"{path} is larger than 1 MiB; it was left as it is.")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8; it was left as it is.") from error


def _put_back(path: Path, before: str | None, mode: int | None) -> None:
    if before is None:
        path.unlink()
    else:
        _write(path, before, mode or 0o600)


def _write(path: Path, text: str, mode: int) -> None:
    """Replaces the file in one step; where it is a link, the file behind it (dotfiles are often links)."""
    target = path.resolve()
    temporary: str | None = None
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(text.encode())
            os.fchmod(opened.fileno(), mode)
            if os.geteuid() == 0 and target.exists():
                os.fchown(opened.fileno(), target.stat().st_uid, target.stat().st_gid)
            opened.flush()
            os.fsync(opened.fileno())
        Path(temporary).replace(target)
    except OSError as error:
        if temporary is not None:
            with suppress(FileNotFoundError):
                Path(temporary).unlink()
        raise ConfigError(f"{path} cannot be written: {error.strerror}.") from error
