"""The client's side of the exchange between peers: HTTP/1.1 as bytes in, answers out. No I/O, no clock.

One request is asked at a time and answered once. The answer is read into a buffer that is used again and again: the
caller reads from its socket into `space()`, says how much came by `received`, and gets the answer when it is whole.
A small reader of our own, because peers speak a narrow dialect of HTTP, and because h11 and httpx copy each byte
several times (four times the CPU, measured).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from p2pcdn.errors import LocalProtocolError, RemoteProtocolError
from p2pcdn.swarm.wire.messages import RETRY_AFTER, RETRY_AFTER_MS_MAX

# Our own server's heads have 200 bytes. Whoever sends more than this has something else in mind.
HEAD_SIZE_BYTES_MAX = 8 * 1024
HEADERS_MAX = 50
# A refusal says why, in a sentence, and may be longer than the few bytes that were asked for.
REFUSAL_SIZE_BYTES_MAX = 1024

_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([2-5][0-9]{2}) [\t -~\x80-\xff]{0,200}")
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}):[ \t]*([\t -~\x80-\xff]{0,2048})")
_LENGTH = re.compile(r"0|[1-9][0-9]{0,11}", re.ASCII)
_MILLISECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer. body: a view into the buffer, good until the next request. retry_after_s: with a 503.

    headers: names in lower case. device: the key that its giver has proven; empty in open mode.
    """

    status: int
    body: memoryview
    keep_alive: bool
    retry_after_s: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict, compare=False)
    device: bytes = b""


@dataclass(frozen=True, slots=True)
class Head:
    """What a head says. end: where the body begins in the bytes that were read."""

    status: int
    size_bytes: int
    keep_alive: bool
    retry_after_s: float | None
    end: int
    headers: Mapping[str, str] = field(default_factory=dict, compare=False)


# Sees an answer grow: its head, and what is here of its body. Gives how many bytes more it wants to see at once.
Watch = Callable[[Head, memoryview], int]


def encode_request(target: str, host: str, ticket: str = "") -> bytes:
    """The request for a path. host: as it stands in a URL, with brackets where it is an IPv6 address.

    ticket: with the first request of a connection between members of a group (meeting.py).
    """
    if not target.isascii() or not target.isprintable() or " " in target:
        raise LocalProtocolError(f"not a target: {target[:80]!r}")
    line = f"ticket: {ticket}\r\n" if ticket else ""
    return f"GET {target} HTTP/1.1\r\nhost: {host}\r\n{line}\r\n".encode("latin-1")


def buffer_size(body_size_bytes_max: int) -> int:
    """How large a buffer must be for an answer with such a body."""
    # One byte more: a surplus is seen, and not taken for the beginning of the next answer.
    return HEAD_SIZE_BYTES_MAX + max(body_size_bytes_max, REFUSAL_SIZE_BYTES_MAX) + 1


class Reading:
    """The reading of one answer into a buffer."""

    def __init__(
        self, buffer: memoryview, body_size_bytes_max: int, watch: Watch | None = None, device: bytes = b""
    ) -> None:
        """buffer: at least `buffer_size(body_size_bytes_max)` long. An answer whose body is longer is an error.

        watch: called with what is here, once there is a head. wanted_bytes: for so many more it is worth to look again.
        device: what the answer's giver has proven, or will have when the answer is taken.
        """
        self._watch = watch
        self._device = device
        self.wanted_bytes = 1
        self._buffer = buffer
        self.body_size_bytes_max = body_size_bytes_max
        self._filled = 0
        self.head: Head | None = None

    @property
    def begun(self) -> bool:
        return self._filled > 0

    def space(self) -> memoryview:
        """Where the next bytes belong; never empty before the answer is whole."""
        return self._buffer[self._filled :]

    def received(self, size_bytes: int) -> Answer | None:
        """So many bytes came into `space()`, 0 at the end of the stream. The answer, or None: there must come more.

        Raises RemoteProtocolError for anything that is not exactly one answer within the limits.
        """
        if size_bytes == 0:
            raise RemoteProtocolError("the connection ended in the middle of an answer")
        searched = max(0, self._filled - 3)
        self._filled += size_bytes
        head = self.head
        if head is None:
            head = self.head = self._find_head(searched)
            if head is None:
                return None
        whole = head.end + head.size_bytes
        missing_bytes = whole - self._filled
        if missing_bytes < 0:
            raise RemoteProtocolError("more bytes came than the answer was said to have")
        wanted_bytes = (
            missing_bytes if self._watch is None else self._watch(head, self._buffer[head.end : self._filled])
        )
        self.wanted_bytes = max(1, min(wanted_bytes, missing_bytes))
        if missing_bytes:
            return None
        body = self._buffer[head.end : whole]
        return Answer(head.status, body, head.keep_alive, head.retry_after_s, head.headers, self._device)

    def _find_head(self, searched: int) -> Head | None:
        seen = bytes(self._buffer[: min(self._filled, HEAD_SIZE_BYTES_MAX)])
        end = seen.find(b"\r\n\r\n", searched)
        if end < 0:
            if len(seen) == HEAD_SIZE_BYTES_MAX:
                raise RemoteProtocolError(f"the head of an answer has more than {HEAD_SIZE_BYTES_MAX} bytes")
            return None
        head = read_head(seen[: end + 4])
        refused = head.status >= 300
        most = max(self.body_size_bytes_max, REFUSAL_SIZE_BYTES_MAX) if refused else self.body_size_bytes_max
        if head.size_bytes > most:
            raise RemoteProtocolError(f"an answer of {head.size_bytes} bytes came where {most} are the most")
        return head


def read_head(content: bytes) -> Head:
    """Reads a head that ends with its empty line. Raises RemoteProtocolError.

    Content-Length is demanded, exactly once (RFC 9112, section 6.3); any transfer coding is refused, and so is what
    changes the meaning of a body (content codings, upgrades, informational answers).
    """
    status_line, *lines = content[:-4].split(b"\r\n")
    match = _STATUS_LINE.fullmatch(status_line)
    if match is None:
        raise RemoteProtocolError("an answer does not begin like HTTP/1.1")
    if len(lines) > HEADERS_MAX:
        raise RemoteProtocolError(f"an answer has more than {HEADERS_MAX} headers")
    headers: dict[str, str] = {}
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None:
            raise RemoteProtocolError("a header of an answer is malformed")
        name = header[1].decode("ascii").lower()
        if name in headers and name in _ONCE:
            raise RemoteProtocolError(f"an answer has {name} twice")
        headers[name] = header[2].decode("latin-1").rstrip(" \t")
    return _head(int(match[1]), headers, len(content))


_ONCE = frozenset(("content-length", "connection", RETRY_AFTER, "ticket-proof"))
_REFUSED = ("transfer-encoding", "content-encoding", "upgrade", "trailer")


def _head(status: int, headers: dict[str, str], end: int) -> Head:
    for name in _REFUSED:
        if name in headers:
            raise RemoteProtocolError(f"an answer has {name}, which has no place between peers")
    length = headers.get("content-length", "")
    if not _LENGTH.fullmatch(length):
        raise RemoteProtocolError("an answer does not say how long it is")
    wait = headers.get(RETRY_AFTER, "")
    wait_ms = int(wait) if _MILLISECONDS.fullmatch(wait) else None
    retry_after_s = None if wait_ms is None else min(wait_ms, RETRY_AFTER_MS_MAX) / 1000
    return Head(status, int(length), headers.get("connection", "").lower() != "close", retry_after_s, end, headers)
