"""What an upstream's status means to us: one table, for pages and for files."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from p2pcdn.errors import Busy, NotFound, P2pcdnError, Refused, Unavailable

# An upstream that names no time to wait is asked again after this.
RETRY_AFTER_DEFAULT_S = 5.0
# Longer than this nobody waits for a package; a larger Retry-After is cut.
RETRY_AFTER_MAX_S = 3600.0


def refusal(
    status: int, headers: Mapping[str, str], url: str, what: str = "such project or file"
) -> P2pcdnError | None:
    """The error that an upstream's status stands for, or None for an answer with content (200, 206, 304).

    what: was asked for, as it stands behind "has no".

    A 401 is never handed on: pip would ask for a user name on the terminal. Only the upstream's own 404 and 410 become
    our 404, so that a client never takes an upstream that is down for a project that does not exist.
    """
    host = urlsplit(url).hostname or "the directory"
    if status in (200, 206, 304):
        return None
    if status in (404, 410):
        return NotFound(f"{_place(url) or host} has no {what}.")
    if status in (401, 403, 407, 451):
        return Refused(
            f"{_place(url) or host} refused us with {status}. If it wants a user name and a password: they may stand in"
            " its URL, in netrc, or in variables (ZEPHYR_INDEX_<NAME>_USERNAME and _PASSWORD for an index of zephyr's,"
            " P2PCDN_INDEX_… for the node's own; see docs/configuration.md)."
        )
    wait_s = _seconds(headers.get("retry-after"))
    sentence = f"{host} answered {status}; try again in {wait_s:.0f} s."
    if status == 429 or "retry-after" in headers:
        return Busy(sentence, retry_after_s=wait_s, down=status != 429)
    return Unavailable(sentence, retry_after_s=wait_s)


def _place(url: str) -> str:
    """The host, and the port that tells an index of this machine from others, without a user's name."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _seconds(retry_after: str | None) -> float:
    """Retry-After in seconds (RFC 9110, section 10.2.3); its date form counts as absent."""
    if retry_after is None or not retry_after.isascii() or not retry_after.isdigit():
        return RETRY_AFTER_DEFAULT_S
    return min(float(retry_after), RETRY_AFTER_MAX_S)
