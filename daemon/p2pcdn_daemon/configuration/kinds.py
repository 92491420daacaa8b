"""The kinds of values that settings have: how each is read from text, checked, and shown again."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from p2pcdn.sizes import format_size
from p2pcdn_daemon.configuration.quantities import parse_duration, parse_size
from p2pcdn_daemon.configuration.urls import without_credentials

SHARES = ("never", "group", "lan")


@dataclass(frozen=True, slots=True)
class UpstreamSetting:
    """One upstream index as the user wrote it. url may hold credentials: never print it, print `public_url`."""

    url: str
    name: str | None = None
    share: str | None = None
    proxy: str | None = None
    ca_file: Path | None = None
    ignore_error_codes: frozenset[int] = frozenset()

    @property
    def public_url(self) -> str:
        """The URL without its user name and password."""
        return without_credentials(self.url)


def error_codes(value: object) -> frozenset[int]:
    """Statuses that stand for "no such project", as uv's setting of that name has them. Raises ValueError."""
    if not isinstance(value, list) or not all(type(code) is int and 400 <= code < 600 for code in value):
        raise ValueError("ignore-error-codes is a list of HTTP statuses from 400 to 599.")
    return frozenset(value)


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


def _proxy(text: str) -> str:
    try:
        valid = urlsplit(text).scheme in ("http", "https", "socks5", "socks5h") and bool(urlsplit(text).hostname)
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(f"{without_credentials(text)[:80]!r} is not the URL of a proxy.")
    return text


TEXT = Kind("TEXT", _text)
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
# As many as the question between nodes can say (`swarm.wire.advice`), for which no command that asks loads the swarm.
READERS_MAX = 8
_READERS = [str(number) for number in range(1, READERS_MAX + 1)]
READERS = Kind("NUMBER", lambda text: int(_one_of(*_READERS)(text)), form=f"1 to {READERS_MAX}")
PROXY = Kind("URL", _proxy, form="URL of a proxy")
UPSTREAM = Kind("URL", _upstream, lambda upstream: cast(UpstreamSetting, upstream).public_url, form="URL or directory")
