"""Which hosts may be asked without TLS: this machine, and those that the user trusts by name."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

# As pip has it. Not `*.localhost`: where the system's resolver asks a server for it, that answers what it likes.
_LOOPBACK = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|::1")
_PORTS = {"http": 80, "https": 443}


def is_trusted(url: str, trusted_hosts: Collection[str]) -> bool:
    """Whether its host may be asked over plain http. trusted_hosts: HOST or HOST:PORT."""
    return is_named(url, trusted_hosts) or bool(_LOOPBACK.fullmatch(_host(url)))


def is_named(url: str, trusted_hosts: Collection[str]) -> bool:
    """Whether the user trusts its host by name."""
    host = _host(url)
    if not host or not trusted_hosts:
        return False
    parts = urlsplit(url)
    bracketed = f"[{host}]" if ":" in host else host
    named = {bracketed, f"{bracketed}:{parts.port or _PORTS.get(parts.scheme, 80)}"}
    return not named.isdisjoint(one.lower() for one in trusted_hosts)


def _host(url: str) -> str:
    """In lower case; "" for a URL that cannot be read."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return ""
    return (parts.hostname or "").lower()
