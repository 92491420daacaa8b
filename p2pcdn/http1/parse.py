"""Bytes in, requests out: the reader of one connection. No I/O, no clock.

A head is taken only when it is whole, so a head costs its bytes and nothing else until then. Bodies are handed on as
they come.
"""

from __future__ import annotations

import re
from typing import Any

import httptools

from p2pcdn.http1 import refusals
from p2pcdn.http1.messages import Request
from p2pcdn.http1.refusals import Face, Refusal, Violation, judge

_BARE_LF = re.compile(rb"(?<!\r)\n")
_METHOD = re.compile(rb"[A-Z]{1,24}\Z")
_VERSION = re.compile(rb"HTTP/[0-9](?:\.[0-9])?\Z")
_TARGET = re.compile(rb"[!\"$-~]+\Z")  # visible ASCII without "#"
_ABSOLUTE = re.compile(rb"http://([^/?]*)(.*)\Z", re.IGNORECASE)
_DIGITS = re.compile(r"[0-9]{1,18}\Z")

# The spellings that clients use, so that most names are one look-up; others are lowered and decoded.
_NAMES = {
    spelling.encode(): name
    for name in [
        "host",
        "accept",
        "user-agent",
        "connection",
        "accept-encoding",
        "range",
        "if-none-match",
        "if-range",
        "cache-control",
        "pragma",
        "content-length",
        "content-type",
        "transfer-encoding",
        "expect",
        "origin",
        "sec-fetch-site",
    ]
    for spelling in (name, name.title())
}


class Reader:
    """What one connection has received and not yet used. Belongs to that connection's task."""

    def __init__(self, face: Face, peer: str = "", peer_uid: int | None = None) -> None:
        self._face = face
        self._peer = peer
        self._peer_uid = peer_uid
        self._connection: dict[str, Any] = {}
        self._buffer = b""
        self._parser = httptools.HttpRequestParser(self)
        self._fields: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] = []
        self._left_bytes: int | None = 0  # of the running body; None while it is chunked
        self._body_bytes = 0
        self.body_done = True

    @property
    def started(self) -> bool:
        """Whether a part of a head is here."""
        return bool(self._buffer)

    def receive(self, content: bytes) -> None:
        """Takes bytes from the wire."""
        self._buffer = self._buffer + content if self._buffer else content

    def next_request(self) -> Request | Refusal | tuple[Refusal, Request] | None:
        """The next request, or why it is refused (with the request, where it could be read), or None: more bytes."""
        buffer = self._buffer
        if buffer.startswith(b"\r\n"):  # one empty line before a request is forgiven (RFC 9112 2.2)
            buffer = self._buffer = buffer[2:]
        end = buffer.find(b"\r\n\r\n") + 4
        if end == 3:
            return self._refuse_unfinished(buffer)
        if end > self._face.limits.head_size_bytes_max:
            return refusals.HEAD_SIZE
        if end == len(buffer):
            head, self._buffer = buffer, b""
        else:
            head, self._buffer = buffer[:end], buffer[end:]
        return self._refuse_bytes(head) or self._read_head(head)

    def _refuse_unfinished(self, buffer: bytes) -> Refusal | None:
        if len(buffer) > self._face.limits.head_size_bytes_max:
            return refusals.HEAD_SIZE
        if buffer.startswith(b"\n") or _BARE_LF.search(buffer):
            return refusals.BARE_LF
        return None

    def _refuse_bytes(self, head: bytes) -> Refusal | None:
        lines = head.count(b"\r\n")
        if head.count(b"\n") != lines:
            return refusals.BARE_LF
        if head.count(b"\r") != lines:
            return refusals.BARE_CR
        if b"\0" in head:
            return refusals.NUL
        if b"\n " in head or b"\n\t" in head:
            return refusals.OBS_FOLD
        return refusals.HEADERS_COUNT if lines - 2 > self._face.limits.headers_max else None

    def _read_head(self, head: bytes) -> Request | Refusal | tuple[Refusal, Request]:
        words = head[: head.index(b"\r\n")].split(b" ")
        if len(words) != 3:
            return refusals.REQUEST_LINE
        method, target, version = words
        if version != b"HTTP/1.1" and version != b"HTTP/1.0":
            return refusals.VERSION if _VERSION.match(version) else refusals.REQUEST_LINE
        if method != b"GET" and not _METHOD.match(method):
            return refusals.METHOD_SYNTAX
        if not _TARGET.match(target):
            return refusals.TARGET
        if not target.startswith(b"/") and not _ABSOLUTE.match(target) and method not in _OTHER_TARGETS:
            return refusals.TARGET_FORM
        self._fields = []
        upgrade = False
        try:
            self._parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            upgrade = True  # an offer that we do not take up
            self._parser = httptools.HttpRequestParser(self)
        except httptools.HttpParserInvalidMethodError:
            return refusals.METHOD_SYNTAX
        except httptools.HttpParserError:
            return _why_malformed(head)
        return self._make_request(method, target, version, upgrade)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser; also for trailers, which nobody here reads."""
        if self.body_done:
            self._fields.append((name, value))

    def on_body(self, content: bytes) -> None:
        """Called by the parser."""
        if not self.body_done:
            self._parts.append(content)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self.body_done = True

    def _make_request(
        self, method: bytes, target: bytes, version: bytes, upgrade: bool
    ) -> Request | Refusal | tuple[Refusal, Request]:
        headers: dict[str, str] = {}
        for raw_name, raw_value in self._fields:
            name = _NAMES.get(raw_name) or raw_name.lower().decode("latin-1")
            value = raw_value.decode("latin-1").rstrip(" \t")
            if name in headers:
                if name in _ONCE:
                    return _ONCE[name]
                value = f"{headers[name]}, {value}"
            headers[name] = value
        target_host = None
        location = target
        if not target.startswith(b"/"):
            absolute = _ABSOLUTE.match(target)
            if absolute:
                target_host = absolute[1].decode()
                location = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
        path, _, query = location.decode().partition("?")
        size = _body_size(headers, version)
        if isinstance(size, Refusal):
            return size
        if upgrade and size != 0:
            return refusals.MALFORMED
        request = Request(method.decode(), target, path, query, headers, peer=self._peer, peer_uid=self._peer_uid)
        request.connection = self._connection
        request.body_size_bytes = size
        if version == b"HTTP/1.0":
            request.version = "1.0"
            request.keep_alive = "keep-alive" in _words(headers.get("connection", ""))
        elif "connection" in headers:
            request.keep_alive = "close" not in _words(headers["connection"])
        if size is None:  # where it ends, only the parser knows: what follows it is not looked at
            request.keep_alive = False
        refusal = judge(request, target_host, self._face)
        if refusal is not None:
            return refusal, request
        self._left_bytes = size
        self._body_bytes = 0
        self.body_done = size == 0
        return request

    def take_body(self) -> list[bytes]:
        """What is here of the running body, in order; `body_done` says whether that was its end.

        Raises Violation where it is badly chunked or too large.
        """
        content, self._buffer = self._buffer, b""
        if self._left_bytes is not None:
            content, self._buffer = content[: self._left_bytes], content[self._left_bytes :]
            self._left_bytes -= len(content)
        self._body_bytes += len(content)
        if self._body_bytes > self._face.limits.body_size_bytes_max:
            raise Violation(refusals.BODY_SIZE)
        if not content:
            return []
        self._parts = []
        try:
            self._parser.feed_data(content)
        except httptools.HttpParserError as error:
            raise Violation(refusals.BODY_MALFORMED) from error
        return self._parts


# Fields that say who is asked or where the body ends: a second one is a second opinion.
_ONCE = {"host": refusals.TWO_HOSTS, "content-length": refusals.TWO_LENGTHS, "transfer-encoding": refusals.TE}
# CONNECT names an authority, OPTIONS may name "*"; a face that allows neither says so with 405.
_OTHER_TARGETS = (b"CONNECT", b"OPTIONS")


def _body_size(headers: dict[str, str], version: bytes) -> int | Refusal | None:
    """The size that the headers give the body; None is chunked (RFC 9112 6.3)."""
    length = headers.get("content-length")
    coding = headers.get("transfer-encoding")
    if coding is not None:
        if length is not None:
            return refusals.TE_AND_CL
        return None if coding.lower() == "chunked" and version == b"HTTP/1.1" else refusals.TE
    if length is None:
        return 0
    return int(length) if _DIGITS.match(length) else refusals.LENGTH


def _why_malformed(head: bytes) -> Refusal:
    """The exact row for a head that the parser would not have."""
    names = [line.partition(b":")[0].strip().lower() for line in head.split(b"\r\n")[1:]]
    lengths = names.count(b"content-length")
    codings = names.count(b"transfer-encoding")
    if lengths and codings:
        return refusals.TE_AND_CL
    if lengths > 1:
        return refusals.TWO_LENGTHS
    if codings:
        return refusals.TE
    return refusals.LENGTH if lengths else refusals.MALFORMED


def _words(value: str) -> list[str]:
    return [word.strip() for word in value.lower().split(",")]
