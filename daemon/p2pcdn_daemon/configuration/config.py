"""Every setting of a node, once: its name, its default, what it means; and how file, environment and flags overlie it.

A key is the same word everywhere: `store-size` in the file, `P2PCDN_STORE_SIZE` in the environment, `--store-size` as a
flag. The click options, `p2pcdn config` and the table in docs/configuration.md are made from the fields of `Config`.
This file imports nothing heavy: `p2pcdn status` reads it too.
"""

# ruff: noqa: RUF009 - `_setting` makes a field, as dataclasses.field does.
from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from p2pcdn_daemon.configuration import places
from p2pcdn_daemon.configuration.quantities import format_size, parse_duration, parse_size

# A configuration file holds some dozens of lines; a larger one is another file.
CONFIG_SIZE_BYTES_MAX = 1024 * 1024
# Upstreams, peers, host names: more of them than this is a mistake, and each costs memory and sockets.
VALUES_MAX = 256

SHARES = ("never", "group", "lan")


class ConfigError(ValueError):
    """The configuration cannot be used; the message is the sentence for the user. Commands exit with 2."""


@dataclass(frozen=True, slots=True)
class UpstreamSetting:
    """One upstream index as the user wrote it. url may hold credentials: never print it, print `public_url`."""

    url: str
    name: str | None = None
    share: str | None = None
    proxy: str | None = None
    ca_file: Path | None = None

    @property
    def public_url(self) -> str:
        """The URL without its user name and password."""
        return without_credentials(self.url)


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind of value is read from text and shown again.

    read raises ValueError with a sentence that begins with the value. metavar stands in --help.
    """

    metavar: str
    read: Callable[[str], Any]
    show: Callable[[Any], str] = str
    form: str = "text"


def _text(text: str) -> str:
    if not text or any(not sign.isprintable() for sign in text):
        raise ValueError(f"{text[:60]!r} is empty or has control characters.")
    return text


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) or int(text) > 65_535:
        raise ValueError(f"{text[:60]!r} is not a port from 0 to 65535.")
    return int(text)


def _path(text: str) -> Path:
    try:
        return Path(_text(text)).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{text[:60]!r} begins at a home directory that is not there.") from error


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"{text[:60]!r} is not one of {', '.join(choices)}.")
        return text.lower()

    return read


_YES = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def _yes_or_no(text: str) -> bool:
    if text.lower() not in _YES:
        raise ValueError(f"{text[:60]!r} is neither true nor false.")
    return _YES[text.lower()]


def _keep_for(text: str) -> float | None:
    return None if text.lower() == "forever" else parse_duration(text)


def _host_and_port(text: str) -> str:
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host or (":" in host and not bracketed) or any(sign.isspace() for sign in text):
        raise ValueError(f"{text[:60]!r} is not HOST:PORT (an IPv6 address in brackets: [fe80::1]:7273).")
    if _port(port) == 0:
        raise ValueError(f"{text[:60]!r} names port 0, where no peer can listen.")
    return text


def _peer_dns(text: str) -> str:
    if not text.startswith("_"):
        return _host_and_port(text)
    if not _SERVICE_NAME.fullmatch(text) or len(text) > 253:
        raise ValueError(f"{text[:60]!r} is neither NAME:PORT nor the name of SRV records (_peer._tcp.p2pcdn.example).")
    return text.lower()


# RFC 2782: _Service._Proto.Name
_SERVICE_NAME = re.compile(r"_[A-Za-z0-9-]{1,62}\._(?:tcp|udp)(?:\.[A-Za-z0-9_-]{1,63})+\.?", re.ASCII | re.IGNORECASE)


def _rate(text: str) -> int:
    return 0 if text.lower() == "none" else parse_size(text.strip().removesuffix("/s"))


def _upstream(text: str) -> UpstreamSetting:
    if text.startswith(("/", "~", "./", "../")):
        return UpstreamSetting(url=_path(text).absolute().as_uri())
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not (valid or text.startswith("file://")) or any(sign.isspace() for sign in text):
        shown = without_credentials(text)[:80]
        raise ValueError(f"{shown!r} is not an http, https or file URL of an index, nor the path of a directory.")
    return UpstreamSetting(url=text)


def without_credentials(url: str) -> str:
    """The URL with neither user name nor password, however badly it is written.

    A password with a raw slash in it makes something else a host. So where what stands for one is none, all that comes
    before the last @ is taken for a secret.
    """
    scheme, slashes, rest = url.partition("://") if "://" in url else ("", "", url)
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if slashes and "@" in authority:
        return f"{scheme}{slashes}{authority.rpartition('@')[2]}{rest[len(authority) :]}"
    if scheme == "file" or (slashes and _HOST_AND_PORT.fullmatch(authority)):
        return url
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}"


_HOST_AND_PORT = re.compile(r"([^:]+|\[[0-9A-Fa-f:.%]+\])(:[0-9]*)?")


HOST = Kind("HOST", _text, form="host name or address")
LINK = Kind("NAME", _text, form="name of an interface")
PORT = Kind("PORT", _port, form="number")
PATH = Kind("PATH", _path, form="path")
SIZE = Kind("SIZE", parse_size, format_size, form="size (20GB, 500MiB)")
RATE = Kind(
    "SIZE", _rate, lambda bytes_s: f"{format_size(bytes_s)}/s" if bytes_s else "none", form="size per second (20MB)"
)
AGE = Kind(
    "DURATION", _keep_for, lambda age_s: "forever" if age_s is None else f"{age_s:.0f}s", form="duration (30d, 12h)"
)
FLAG = Kind("", _yes_or_no, lambda on: "true" if on else "false", form="true or false")
SHARE = Kind("|".join(SHARES), _one_of(*SHARES), form="never, group or lan")
LEVEL = Kind("LEVEL", _one_of("debug", "info", "warning", "error"), form="debug, info, warning or error")
FORMAT = Kind("text|json", _one_of("text", "json"), form="text or json")
PEER = Kind("HOST:PORT", _host_and_port, form="HOST:PORT")
PEER_DNS = Kind("NAME[:PORT]", _peer_dns, form="NAME:PORT or name of SRV records")
METERED = Kind("auto|yes|no", _one_of("auto", "yes", "no"), form="auto, yes or no")
READERS = Kind("1|2|3|4", lambda text: int(_one_of("1", "2", "3", "4")(text)), form="1, 2, 3 or 4")
UPSTREAM = Kind("URL", _upstream, lambda upstream: cast(UpstreamSetting, upstream).public_url, form="URL or directory")


def _setting(default: Any, kind: Kind, help: str, *, default_text: str = "", off: str = "", many: bool = False) -> Any:
    """A field of `Config`. default_text: what the docs say where the default is found out at run time. off: the flag
    that takes back one that is true. many: the flag may be repeated, the environment separates by spaces."""
    return field(default=default, metadata={"kind": kind, "help": help, "text": default_text, "off": off, "many": many})


@dataclass(frozen=True)
class Config:
    """The settings of one node, each with where it came from. Sizes are bytes, durations seconds."""

    host: str = _setting(
        "localhost", HOST, "Where the index listens; localhost means 127.0.0.1 and ::1, all every address."
    )
    port: int = _setting(7272, PORT, "The port of the index; 0 picks a free one and prints it.")
    peer_host: str = _setting("all", HOST, "Where neighbours reach this node; all means every address.")
    peer_port: int = _setting(7273, PORT, "The port for neighbours; 0 picks a free one.")
    group_key_file: Path | None = _setting(
        None,
        PATH,
        "The file of the group's key (`p2pcdn group`); the key itself may stand in `P2PCDN_GROUP_KEY`.",
        default_text="`group.key` beside the configuration file; without one this node is in no group",
    )
    sealed_port: int | None = _setting(
        None,
        PORT,
        "In a group, the port for private files, over TLS; 0 picks a free one.",
        default_text="the one after `peer-port`, or a free one",
    )
    control_socket: Path | None = _setting(
        None,
        PATH,
        "The unix socket over which the commands reach the node; 107 bytes at most.",
        default_text="`$XDG_RUNTIME_DIR/p2pcdn/control.sock`; for root and the system service "
        "`/run/p2pcdn/control.sock`; always `control.sock` in the store as well",
    )
    store: Path = _setting(
        Path(),
        PATH,
        "The directory in which everything is kept; made with mode 0700.",
        default_text="`~/.cache/p2pcdn`; for the system service `/var/lib/p2pcdn`",
    )
    store_size: int = _setting(20 * 10**9, SIZE, "How much the store may hold; the least recently used goes first.")
    keep_for: float | None = _setting(None, AGE, "How long a file is kept after it was last used.")
    pages_size: int = _setting(10**9, SIZE, "How much of the store project pages may take.")
    upstream: tuple[UpstreamSetting, ...] = _setting(
        (),
        UPSTREAM,
        "An index to take packages from; the first that has a project owns it.",
        default_text="the index that pip or uv is configured for, else PyPI",
        many=True,
    )
    file_host: tuple[str, ...] = _setting(
        (),
        HOST,
        "One more host, or HOST:PORT, that pages may name for their files though its address is private.",
        default_text="the hosts of the indexes",
        many=True,
    )
    offline: bool = _setting(False, FLAG, "Asks no upstream; pages list only what is near.", off="online")
    share: str | None = _setting(
        None,
        SHARE,
        "To whom files are given, for every index without credentials.",
        default_text="`lan` for public indexes, `group` for one on a private address, `never` for one with credentials",
    )
    no_mdns: bool = _setting(False, FLAG, "Neither announces this node by multicast nor looks for others.", off="mdns")
    mdns_interface: tuple[str, ...] = _setting(
        (),
        LINK,
        "A network interface to use multicast on.",
        default_text="those of the default routes",
        many=True,
    )
    peer: tuple[str, ...] = _setting((), PEER, "A neighbour to ask, found or not.", default_text="none", many=True)
    peers_file: Path | None = _setting(
        None, PATH, "A file of neighbours, one HOST:PORT a line, read again when it changes.", default_text="none"
    )
    peer_dns: tuple[str, ...] = _setting(
        (),
        PEER_DNS,
        "A DNS name of neighbours, asked again and again: all addresses of NAME:PORT, or SRV records.",
        default_text="none",
        many=True,
    )
    upload_limit: int = _setting(0, RATE, "How much neighbours get from this node in a second, all of them together.")
    metered: str = _setting(
        "auto",
        METERED,
        "Whether the link costs by the byte: then neighbours get nothing. auto: yes for a mobile modem.",
    )
    origin_readers: int = _setting(
        1,
        READERS,
        "How many nodes of a room may read one file from its upstream at once, each its part; more than 1 only where"
        " one connection to the upstream is slower than the line.",
    )
    allow_host: tuple[str, ...] = _setting(
        (),
        HOST,
        "One more name under which clients may reach the index, such as a container's.",
        default_text="only the names of this machine's loopback",
        many=True,
    )
    log_level: str = _setting("info", LEVEL, "How much is logged to stderr.")
    log_format: str = _setting("text", FORMAT, "How the log is written.")

    sources: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None

    def source(self, key: str) -> str:
        """Where a value came from: "default", "file /path", "environment P2PCDN_PORT", "flag --port"."""
        return self.sources.get(key, "default")

    def shown(self, key: str) -> str | list[str] | None:
        """A value as text, without credentials."""
        setting = SETTINGS[key]
        value = getattr(self, setting.field_name)
        if setting.many:
            return [setting.kind.show(one) for one in value]
        return None if value is None and setting.kind is not AGE else setting.kind.show(value)


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table."""

    key: str
    kind: Kind
    default: Any
    default_text: str
    help: str
    off: str
    many: bool

    @property
    def field_name(self) -> str:
        return self.key.replace("-", "_")

    @property
    def variable(self) -> str:
        return "P2PCDN_" + self.field_name.upper()

    @property
    def flag(self) -> str:
        return "--" + self.key

    def default_for_docs(self) -> str:
        """The default as the documentation and --help say it."""
        return self.default_text or f"`{self.kind.show(self.default)}`"


def _rows() -> dict[str, Setting]:
    rows = {}
    for row in fields(Config):
        if "kind" in row.metadata:
            about = row.metadata
            key = row.name.replace("_", "-")
            rows[key] = Setting(
                key, about["kind"], row.default, about["text"], about["help"], about["off"], about["many"]
            )
    return rows


SETTINGS: Mapping[str, Setting] = _rows()

# Environment variables of ours that are no settings.
GROUP_KEY_VARIABLE = "P2PCDN_GROUP_KEY"
OTHER_VARIABLES = frozenset({"P2PCDN_CONFIG", "P2PCDN_DEBUG", GROUP_KEY_VARIABLE})
# The credentials of an index have variables of their own (docs/configuration.md).
_INDEX_VARIABLE = re.compile(r"P2PCDN_INDEX_[A-Z0-9_]+_(USERNAME|PASSWORD)")


def resolve(
    flags: Mapping[str, Any], environ: Mapping[str, str] = os.environ, *, config_file: str | None = None
) -> Config:
    """Lays flags over environment over file over defaults.

    flags: by key; None, () or a missing key means that the flag was not given. config_file: what --config named.
    Raises ConfigError.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    path = _file_of(config_file, environ)
    if path is not None:
        for key, value in _read_file(path).items():
            values[key], sources[key] = value, f"file {path}"
    for setting in SETTINGS.values():
        text = environ.get(setting.variable, "")
        if text:
            value = _read_words(setting, text, setting.variable)
            values[setting.key], sources[setting.key] = value, f"environment {setting.variable}"
    for key, given in flags.items():
        if given is None or given == ():
            continue
        setting = SETTINGS[key]
        values[key], sources[key] = _read_flag(setting, given), f"flag {setting.flag}"
    values["store"] = (values.get("store") or _default_store(environ)).absolute()
    return Config(**{SETTINGS[key].field_name: value for key, value in values.items()}, sources=sources, file=path)


def _default_store(environ: Mapping[str, str]) -> Path:
    try:
        return places.default_store(environ)
    except RuntimeError as error:
        raise ConfigError("This user has no home directory; name a directory for the store by --store.") from error


def unknown_variables(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Variables that look like settings of ours and are none: probably misspelled."""
    known = {setting.variable for setting in SETTINGS.values()} | OTHER_VARIABLES
    ours = (name for name in environ if name.startswith("P2PCDN_") and not _INDEX_VARIABLE.fullmatch(name))
    return sorted(name for name in ours if name not in known)


# -- flags and environment --------------------------------------------------------------------------------------------


def _read_flag(setting: Setting, given: Any) -> Any:
    if isinstance(given, bool):
        return given
    if setting.many:
        return _bounded(setting.flag, tuple(_read_one(setting, one, setting.flag) for one in given))
    return _read_one(setting, str(given), setting.flag)


def _read_words(setting: Setting, text: str, where: str) -> Any:
    if not setting.many:
        return _read_one(setting, text.strip(), where)
    return _bounded(where, tuple(_read_one(setting, word, where) for word in text.split()))


def _read_one(setting: Setting, text: str, where: str) -> Any:
    try:
        return setting.kind.read(text)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error


def _bounded(where: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(values) > VALUES_MAX:
        raise ConfigError(f"{where}: {len(values)} values are more than {VALUES_MAX}.")
    return values


# -- the file ---------------------------------------------------------------------------------------------------------


def _file_of(flag: str | None, environ: Mapping[str, str]) -> Path | None:
    """The file that was named, which must be there, or the default one where it is there."""
    named = flag or environ.get("P2PCDN_CONFIG")
    if named:
        return Path(named).expanduser().absolute()
    try:
        usual = places.default_config_file(environ)
    except RuntimeError:
        return None  # no home, no file in it
    try:
        return usual if usual.exists() else None
    except OSError as error:
        raise ConfigError(f"The configuration file {usual} cannot be read: {error.strerror}.") from error


def _read_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(CONFIG_SIZE_BYTES_MAX + 1)
        if len(content) > CONFIG_SIZE_BYTES_MAX:
            raise ConfigError(f"The configuration file {path} is larger than {CONFIG_SIZE_BYTES_MAX >> 20} MiB.")
        tables = tomllib.loads(content.decode())
    except OSError as error:
        raise ConfigError(f"The configuration file {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"The configuration file {path} is not valid TOML: {_one_line(error)}.") from error
    return {key: _from_file(path, key, value) for key, value in tables.items()}


def _from_file(path: Path, key: str, value: Any) -> Any:
    setting = SETTINGS.get(key)
    if setting is None:
        raise ConfigError(f"{path}: there is no setting {key!r}{_nearest(key, SETTINGS)}.")
    where = f"{path}: {key}"
    if setting.kind is UPSTREAM:
        rows = value if isinstance(value, list) else [value]
        return _bounded(where, tuple(_upstream_row(path, row) for row in rows))
    if setting.many:
        rows = value if isinstance(value, list) else [value]
        return _bounded(where, tuple(_read_one(setting, _word(where, row), where) for row in rows))
    return _beside(path, _read_one(setting, _word(where, value), where))


def _upstream_row(path: Path, row: Any) -> UpstreamSetting:
    where = f"{path}: upstream"
    if not isinstance(row, dict):
        return cast(UpstreamSetting, _read_one(SETTINGS["upstream"], _word(where, row), where))
    known = {"url": None, "name": None, "share": None, "proxy": None, "ca-file": None}
    for key in row:
        if key not in known:
            raise ConfigError(f"{where}: there is no key {key!r}{_nearest(key, known)}.")
    if "url" not in row:
        raise ConfigError(f"{where}: a url is missing.")
    words = {key: _word(f"{where}: {key}", value) for key, value in row.items()}
    try:
        return UpstreamSetting(
            url=_upstream(words["url"]).url,
            name=_text(words["name"]) if "name" in words else None,
            share=SHARE.read(words["share"]) if "share" in words else None,
            proxy=_proxy(words["proxy"]) if "proxy" in words else None,
            ca_file=_beside(path, _path(words["ca-file"])) if "ca-file" in words else None,
        )
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error


def _proxy(text: str) -> str:
    try:
        valid = urlsplit(text).scheme in ("http", "https", "socks5", "socks5h") and bool(urlsplit(text).hostname)
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(f"{without_credentials(text)[:80]!r} is not the URL of a proxy.")
    return text


def _word(where: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise ConfigError(f"{where}: a {type(value).__name__} cannot stand here.")


def _beside(path: Path, value: Any) -> Any:
    """A relative path in the file begins at the file's directory, wherever the command was typed."""
    return path.parent / value if isinstance(value, Path) and not value.is_absolute() else value


def _nearest(word: str, known: Mapping[str, Any] | Sequence[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word.replace("_", "-"), list(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


# -- documentation ----------------------------------------------------------------------------------------------------


def documentation_table() -> str:
    """The table of docs/configuration.md, in Markdown."""
    lines = ["| key | what it means | default | form | environment | flag |", "|---|---|---|---|---|---|"]
    for setting in SETTINGS.values():
        flag = f"`{setting.flag}`" + (f" / `--{setting.off}`" if setting.off else "")
        form = setting.kind.form + (", several" if setting.many else "")
        cells = (f"`{setting.key}`", setting.help, setting.default_for_docs(), form, f"`{setting.variable}`", flag)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
