"""Which hosts may be asked without TLS: this machine, and those that the user trusts by name."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

_LOOPBACK = re.compile(r"localhost|127\.[0-9.]+|::1|.*\.localhost")


def is_trusted(url: str, trusted_hosts: Collection[str]) -> bool:
    """Whether its host may be asked over plain http. trusted_hosts: HOST or HOST:PORT, in lower case."""
    try:
        parts = urlsplit(url)
        port = parts.port or 80
    except ValueError:
        return False
    host = (parts.hostname or "").lower()
    bracketed = f"[{host}]" if ":" in host else host
    named = {bracketed, f"{bracketed}:{port}"}
    return bool(_LOOPBACK.fullmatch(host)) or not named.isdisjoint(trusted_hosts)
