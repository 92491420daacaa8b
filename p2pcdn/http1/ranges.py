"""Range and validator headers, as plain functions (RFC 9110 sections 13 and 14)."""

from __future__ import annotations

import re
from typing import Final, Literal

UNSATISFIABLE: Final = "unsatisfiable"

_SINGLE = re.compile(r"bytes=[ \t]*(?:([0-9]+)-([0-9]*)|-([0-9]+))[ \t]*\Z", re.IGNORECASE | re.ASCII)
_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_LIST = re.compile(rf"[ \t,]*(?:{_ETAG.pattern}[ \t]*(?:,[ \t,]*|\Z))*\Z")
# Longer numbers are no positions in any file, and cost time to read.
_DIGITS_MAX = 20


def parse_range(header: str | None, size_bytes: int) -> tuple[int, int] | Literal["unsatisfiable"] | None:
    """The bytes [start, end) that are wanted of size_bytes; None is all of them, with 200 (RFC 9110 14.2).

    Several ranges, other units and what is no range at all are answered as if there were no Range.
    UNSATISFIABLE is answered with 416 and `Content-Range: bytes */size`.
    """
    match = _SINGLE.match(header) if header else None
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        wanted = _number(suffix)
        return (max(0, size_bytes - wanted), size_bytes) if wanted and size_bytes else UNSATISFIABLE
    start = _number(first)
    end = _number(last) + 1 if last else size_bytes
    if last and end <= start:
        return None  # "5-2" is no range (RFC 9110 14.1.1)
    return (start, min(end, size_bytes)) if start < size_bytes else UNSATISFIABLE


def if_range_matches(if_range: str | None, etag: str | None) -> bool:
    """Whether Range holds: no If-Range, or the same strong ETag (RFC 9110 13.1.5). A date never matches."""
    if if_range is None:
        return True
    return etag is not None and etag.startswith('"') and if_range.strip() == etag


def etag_matches(if_none_match: str | None, etag: str | None) -> bool:
    """Whether If-None-Match names this ETag, by weak comparison, so that 304 is the answer (RFC 9110 13.1.2)."""
    if if_none_match is None or etag is None:
        return False
    if if_none_match == etag or if_none_match.strip() == "*":
        return True
    if not _LIST.match(if_none_match):
        return False
    return etag.removeprefix("W/") in (found.removeprefix("W/") for found in _ETAG.findall(if_none_match))


def content_range(start: int, end: int, size_bytes: int) -> str:
    """The Content-Range of bytes [start, end) (RFC 9110 14.4)."""
    return f"bytes {start}-{end - 1}/{size_bytes}"


def _number(digits: str) -> int:
    return int(digits) if len(digits) <= _DIGITS_MAX else 10**_DIGITS_MAX
