"""Which indexes the user's installers take packages from: the settings of pip and uv, read as those two read them."""

from __future__ import annotations

import configparser
import ipaddress
import logging
import os
import re
import socket
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from p2pcdn_daemon.configuration.kinds import error_codes
from p2pcdn_daemon.configuration.places import home

log = logging.getLogger(__name__)

# Such a file has some dozens of lines; a larger one is another file.
CONFIG_SIZE_BYTES_MAX = 1024 * 1024

# Sections of pip's files that a download obeys, the weaker first; a command's own section wins over [global] whatever
# file it stands in, and the environment over both.
_PIP_SECTIONS = ("global", "download", "install")
_PIP_INDEX_KEYS = ("index-url", "pypi-url")
_PORTS = {"http": 80, "https": 443}

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class FoundUpstream:
    """An index that the user configured somewhere.

    url: with a slash at the end, without credentials.
    origin: what said so, for the user: a variable, or a file and line.
    username, password: as they stood in the URL, decoded; never printed.
    is_default: whether it is the one default index, and not a further one.
    ignore_error_codes: statuses by which it says that it has no such project (uv's setting).
    """

    url: str
    origin: str
    name: str | None = None
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    _written: str = field(default="", repr=False)
    is_default: bool = False
    ignore_error_codes: frozenset[int] = frozenset()

    @property
    def url_with_credentials(self) -> str:
        """As the user wrote it, with a slash at the end; never print it."""
        return self._written or self.url


@dataclass(frozen=True, slots=True)
class ClientIndexes:
    """What one installer is configured for, each list the strongest setting first.

    defaults: settings of the one default index; all but the first are overruled by it.
    extras: asked beside it; `before_default` says whether they win over it (uv) or are merged with it (pip).
    """

    defaults: tuple[FoundUpstream, ...]
    extras: tuple[FoundUpstream, ...]
    before_default: bool


def find_upstreams(
    environ: Mapping[str, str], ours: Collection[Address] = (), *, etc: Path = Path("/etc")
) -> tuple[FoundUpstream, ...]:
    """The user's own indexes, in the order in which a node asks them; at least one, none of them twice.

    ours: host and port of our own index faces; what leads there is skipped, and the setting that it overrules counts.
    The default is pip's, else uv's, else PyPI. uv's further indexes stand before it, because uv lets the first index
    that has a name own it: a name of the company's must not be taken from the public index. pip's stand after it.
    """
    pip, uv = pip_indexes(environ, etc=etc), uv_indexes(environ, etc=etc)
    theirs = [found for found in (*pip.defaults, *uv.defaults) if not leads_to(found.url, ours)]
    default = theirs[0] if theirs else pypi()
    found = _distinct(found for found in (*uv.extras, default, *pip.extras) if not leads_to(found.url, ours))
    return tuple(replace(one, is_default=one.url == default.url) for one in found)


def pypi() -> FoundUpstream:
    """PyPI's Simple API, for users who configured nothing."""
    from distlib.index import DEFAULT_INDEX

    return FoundUpstream(DEFAULT_INDEX.rstrip("/").removesuffix("/pypi") + "/simple/", "the default")


def leads_to(url: str, ours: Collection[Address]) -> bool:
    """Whether the URL leads to one of these addresses: to their port, at their host or at any name of this machine."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return False
    at_port = {address.lower() for address, own_port in ours if own_port == port}
    return bool(at_port) and (host in at_port or _is_this_machine(host))


def _is_this_machine(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        own = socket.gethostname().lower()
        return host in ("localhost", own, own.partition(".")[0]) or host.endswith(".localhost")
    mapped = getattr(address, "ipv4_mapped", None) or address
    return mapped.is_loopback or mapped.is_unspecified


def _distinct(found: Iterable[FoundUpstream]) -> Iterator[FoundUpstream]:
    seen: set[str] = set()
    for one in found:
        if one.url not in seen:
            seen.add(one.url)
            yield one


def make_found(text: str, origin: str, name: str | None = None) -> FoundUpstream | None:
    """A setting's value as an index; None, and a line in the log, for one that no installer could use."""
    text = text.strip()
    if text.startswith("/"):
        text = Path(text).as_uri()
    try:
        parts = urlsplit(text)
        port = parts.port
        usable = parts.scheme == "file" or (parts.scheme in _PORTS and bool(parts.hostname))
    except ValueError:
        usable = False
    if not usable or parts.query or not text.isprintable() or " " in text:
        log.warning("%s names an index that is no plain http, https or file URL; it is left aside.", origin)
        return None
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    if port is not None and port != _PORTS.get(parts.scheme):
        host = f"{host}:{port}"
    path = parts.path.rstrip("/") + "/"
    url = urlunsplit((parts.scheme, host, path, "", ""))
    user = parts.netloc.rpartition("@")[0]
    return FoundUpstream(
        url,
        origin,
        name,
        unquote(parts.username) if parts.username is not None else None,
        unquote(parts.password) if parts.password is not None else None,
        urlunsplit((parts.scheme, f"{user}@{host}" if user else host, path, "", "")),
    )


# --- pip: its `configuration` page ---


def pip_indexes(environ: Mapping[str, str], *, etc: Path = Path("/etc")) -> ClientIndexes:
    """What pip is configured for: `pip config list`, without what a project or a command line adds."""
    defaults: list[FoundUpstream] = []
    extras: list[FoundUpstream] = []
    strongest_extra: str | None = None
    for key, value, origin in _pip_settings(environ, etc):
        if key == "no-index" and value.strip().lower() in ("1", "true", "yes", "on", "y", "t"):
            return ClientIndexes((), (), before_default=False)
        if key in _PIP_INDEX_KEYS:
            defaults += _all_found(value.split()[:1], origin)
        elif key == "extra-index-url" and strongest_extra is None:
            strongest_extra = value
            extras += _all_found(value.split(), origin)
    return ClientIndexes(tuple(defaults), tuple(extras), before_default=False)


def pip_files(environ: Mapping[str, str], *, etc: Path = Path("/etc")) -> list[Path]:
    """pip's configuration files, the weakest first."""
    named = environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return []
    files = [directory / "pip" / "pip.conf" for directory in _xdg_directories(environ, etc)]
    files += [etc / "pip.conf", home(environ) / ".pip" / "pip.conf", user_directory(environ) / "pip" / "pip.conf"]
    if environ.get("VIRTUAL_ENV"):
        files.append(Path(environ["VIRTUAL_ENV"]) / "pip.conf")
    if named:
        files.append(Path(named))
    return files


def _pip_settings(environ: Mapping[str, str], etc: Path) -> Iterator[tuple[str, str, str]]:
    """Every setting with its key, value and origin, the strongest first."""
    for name, value in environ.items():
        if name.startswith("PIP_") and value:
            yield name[4:].lower().replace("_", "-"), value, name
    files = [(file, parser, text) for file in reversed(pip_files(environ, etc=etc)) for parser, text in _read_ini(file)]
    for section in reversed(_PIP_SECTIONS):
        for file, parser, text in files:
            for option, value in parser.items(section) if parser.has_section(section) else ():
                key = option.removeprefix("--").replace("_", "-")
                if value:
                    yield key, value, f"{file}, line {_ini_line(text, section, option)}"


def _read_ini(file: Path) -> Iterator[tuple[configparser.RawConfigParser, str]]:
    text = _read(file)
    if text is None:
        return
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error as error:
        log.warning("%s is left aside; pip could not read it either: %s", file, type(error).__name__)
        return
    yield parser, text


def _ini_line(text: str, section: str, option: str) -> int:
    within = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\[([^]]+)\]", line):
            within = header[1]
        elif within == section and re.match(rf"{re.escape(option)}\s*[=:]", line.strip(), re.IGNORECASE):
            return number
    return 1


# --- uv: its `configuration files` and `package indexes` pages ---


def uv_indexes(environ: Mapping[str, str], *, etc: Path = Path("/etc")) -> ClientIndexes:
    """What uv is configured for by environment, user and system; not by a project."""
    defaults: list[FoundUpstream] = []
    extras: list[FoundUpstream] = []
    extras += _uv_named(environ.get("UV_INDEX", "").split(), "UV_INDEX")
    extras += _all_found(environ.get("UV_EXTRA_INDEX_URL", "").split(), "UV_EXTRA_INDEX_URL")
    defaults += _uv_named(environ.get("UV_DEFAULT_INDEX", "").split()[:1], "UV_DEFAULT_INDEX")
    defaults += _all_found(environ.get("UV_INDEX_URL", "").split()[:1], "UV_INDEX_URL")
    without_index = environ.get("UV_NO_INDEX", "").lower() in ("1", "true", "yes", "on")
    for file in uv_files(environ, etc=etc):
        text = _read(file)
        try:
            settings = tomllib.loads(text or "")
        except tomllib.TOMLDecodeError as error:
            log.warning("%s is left aside; uv could not read it either: %s", file, error)
            continue
        without_index = without_index or settings.get("no-index") is True
        lines = (text or "").splitlines()
        for table in _tables(settings.get("index")):
            _add_uv_index(table, file, lines, defaults, extras)
        pip = settings.get("pip")
        for part in (settings, pip if isinstance(pip, dict) else {}):
            for key, into in (("extra-index-url", extras), ("index-url", defaults)):
                said = part.get(key)
                values = [said] if isinstance(said, str) else said if isinstance(said, list) else []
                into += [one for value in values if (one := _found_in(file, lines, value)) is not None]
    if without_index:
        return ClientIndexes((), (), before_default=True)
    return ClientIndexes(tuple(defaults), tuple(extras), before_default=True)


def uv_files(environ: Mapping[str, str], *, etc: Path = Path("/etc")) -> list[Path]:
    """uv's configuration files outside a project, the strongest first; of the system's only the first that exists."""
    if environ.get("UV_NO_CONFIG", "").lower() in ("1", "true", "yes", "on"):
        return []
    if environ.get("UV_CONFIG_FILE"):
        return [Path(environ["UV_CONFIG_FILE"])]
    system = [*(directory / "uv" / "uv.toml" for directory in _xdg_directories(environ, etc)), etc / "uv" / "uv.toml"]
    return [user_directory(environ) / "uv" / "uv.toml", *[file for file in system if file.is_file()][:1]]


def _add_uv_index(
    table: dict[str, Any], file: Path, lines: list[str], defaults: list[FoundUpstream], extras: list[FoundUpstream]
) -> None:
    # An explicit index is only for the packages that a project pins to it; a flat one is a list of links, no index.
    if table.get("explicit") is True or table.get("format") == "flat":
        return
    name = table.get("name")
    found = _found_in(file, lines, table.get("url"), name if isinstance(name, str) else None)
    if found is not None:
        with suppress(ValueError):  # uv would not read it either
            found = replace(found, ignore_error_codes=error_codes(table.get("ignore-error-codes", [])))
        (defaults if table.get("default") is True else extras).append(found)


def _tables(value: object) -> list[dict[str, Any]]:
    return [table for table in value if isinstance(table, dict)] if isinstance(value, list) else []


def _found_in(file: Path, lines: list[str], value: object, name: str | None = None) -> FoundUpstream | None:
    if not isinstance(value, str):
        return None
    number = next((number for number, line in enumerate(lines, 1) if value in line), 1)
    return make_found(value, f"{file}, line {number}", name)


def _uv_named(values: Iterable[str], origin: str) -> list[FoundUpstream]:
    """`name=url` or `url`."""
    found = []
    for value in values:
        match = re.match(r"([A-Za-z0-9._-]+)=(.*)", value, re.DOTALL)
        name, url = (match[1], match[2]) if match else (None, value)
        found.append(make_found(url, origin, name))
    return [one for one in found if one is not None]


# --- both ---


def user_directory(environ: Mapping[str, str]) -> Path:
    """The user's directory of settings (XDG Base Directory Specification)."""
    named = environ.get("XDG_CONFIG_HOME", "")
    return Path(named) if named.startswith("/") else home(environ) / ".config"


def _xdg_directories(environ: Mapping[str, str], etc: Path) -> list[Path]:
    named = [Path(part) for part in environ.get("XDG_CONFIG_DIRS", "").split(":") if part.startswith("/")]
    return named or [etc / "xdg"]


def _all_found(values: Iterable[str], origin: str) -> list[FoundUpstream]:
    return [one for value in values if (one := make_found(value, origin)) is not None]


def _read(file: Path) -> str | None:
    """The file's text; None, and a line in the log where that is a surprise, for one that cannot be read."""
    try:
        with file.open("rb") as opened:
            content = opened.read(CONFIG_SIZE_BYTES_MAX + 1)
        if len(content) > CONFIG_SIZE_BYTES_MAX:
            raise ValueError("larger than 1 MiB")
        return content.decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read (%s); it is left aside.", file, type(error).__name__)
        return None
