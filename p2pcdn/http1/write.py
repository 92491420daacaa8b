"""Responses out as bytes: status line, headers, framing. No I/O."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from email.utils import formatdate
from http import HTTPStatus

from p2pcdn.errors import LocalProtocolError
from p2pcdn.http1.messages import Request, Response

LAST_CHUNK = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_REASONS = {status.value: status.phrase for status in HTTPStatus}


def encode_headers(headers: Sequence[tuple[str, str]]) -> bytes:
    """Header lines, each with its CR LF. Raises LocalProtocolError where a value has no place in one."""
    text = "".join([f"{name}: {value}\r\n" for name, value in headers])
    if text.count("\n") != len(headers) or text.count("\r") != len(headers):
        raise LocalProtocolError("A header holds a line break.")
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise LocalProtocolError("A header holds a letter outside of Latin-1.") from error


def has_body(status: int, method: str) -> bool:
    """Whether such an answer has a body on the wire (RFC 9112 6.3)."""
    return method != "HEAD" and status not in (204, 304) and status >= 200


class HeadWriter:
    """Makes heads; keeps the beginning of each status's head for the second in which its Date holds."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._second = -1
        self._beginnings: dict[int, bytes] = {}

    def head(self, request: Request, response: Response, size_bytes: int | None, keep_alive: bool) -> bytes:
        """The whole head, the empty line included. size_bytes None: chunked, or until the end for HTTP/1.0."""
        status = response.status
        second = int(self._now())
        if second != self._second:
            self._second = second
            self._beginnings = {}
        beginning = self._beginnings.get(status)
        if beginning is None:
            beginning = self._beginnings[status] = self._begin(status, second)
        headers = response.headers
        lines = encode_headers(headers) if headers else b""
        if size_bytes is not None:
            framing = b"content-length: %d\r\n" % size_bytes if status not in (204, 304) else b""
        else:
            framing = b"transfer-encoding: chunked\r\n" if request.version == "1.1" else b""
        if not keep_alive:
            framing += b"connection: close\r\n"
        elif request.version == "1.0":
            framing += b"connection: keep-alive\r\n"
        return b"%b%b%b%b\r\n" % (beginning, lines, response.head_lines, framing)

    def _begin(self, status: int, second: int) -> bytes:
        reason = _REASONS.get(status, "")
        return f"HTTP/1.1 {status} {reason}\r\ndate: {formatdate(second, usegmt=True)}\r\n".encode()
