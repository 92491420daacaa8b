"""Lines of RECORD, and hashes as it writes them (the specification "Recording installed projects")."""

from __future__ import annotations

import hashlib

# Nothing heavier than hashlib: zephyr writes the rows of scripts on its hot path.
from binascii import b2a_base64

_TO_QUOTE = frozenset(',"\r\n')


def record_row(path: str, digest: str = "", size_bytes: int = 0) -> str:
    """One line. digest: of sha256, as `record_digest` gives it; none, and no size, for RECORD itself and for byte
    code.
    """
    if not _TO_QUOTE.isdisjoint(path):
        path = '"' + path.replace('"', '""') + '"'
    return f"{path},sha256={digest},{size_bytes}\n" if digest else f"{path},,\n"


def record_digest(content: bytes) -> str:
    """The sha256 in urlsafe base64 without padding."""
    return urlsafe(hashlib.sha256(content).digest())


def urlsafe(digest: bytes) -> str:
    return b2a_base64(digest, newline=False).rstrip(b"=").translate(_URLSAFE).decode()


_URLSAFE = bytes.maketrans(b"+/", b"-_")
