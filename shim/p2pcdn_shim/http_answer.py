"""A question and its answer on a stream, as far as a node goes in HTTP/1.1 (RFC 9112); bytes become lines here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

# The plan of a thousand packages has some 20 MB; an answer larger than this is none of a node's.
ANSWER_SIZE_BYTES_MAX = 256 * 1024 * 1024
# One line of a streamed answer: a progress report is short, the last line may hold a whole plan.
LINE_SIZE_BYTES_MAX = 64 * 1024 * 1024
# The node's heads have some ten fields.
HEAD_SIZE_BYTES_MAX = 64 * 1024
CHUNK_SIZE_BYTES = 256 * 1024


class Broken(Exception):
    """What came is no whole answer."""


class Silent(Broken):
    """It ended without a word: a node that leaves does so to whoever comes just then."""


def send_question(stream: socket, method: str, target: str, body: bytes) -> None:
    """One request, after whose answer the connection ends. body: JSON, of a POST."""
    head = f"{method} {target} HTTP/1.1\r\nHost: p2pcdn\r\nConnection: close\r\n"
    if method == "POST":
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    # A node that stops reading has often said why before.
    with suppress(BrokenPipeError, ConnectionResetError):
        stream.sendall(head.encode("ascii") + b"\r\n" + body)


class Answer:
    """One answer as it comes in. Used by one question."""

    def __init__(self, stream: socket) -> None:
        self._stream = stream
        self._waiting = bytearray()
        self.status, self.reason = self._status_line()
        self._fields = self._read_fields()

    def read(self) -> bytes:
        """The whole body."""
        body = bytearray()
        for chunk in self.chunks():
            body += chunk
            if len(body) > ANSWER_SIZE_BYTES_MAX:
                raise Broken(f"it is larger than {ANSWER_SIZE_BYTES_MAX} bytes")
        return bytes(body)

    def lines(self) -> Iterator[bytes]:
        """The body's lines that are not empty, each as soon as it is whole."""
        waiting = bytearray()
        for chunk in self.chunks():
            waiting += chunk
            *whole, rest = waiting.split(b"\n") if b"\n" in chunk else [waiting]
            waiting = bytearray(rest)
            if len(waiting) > LINE_SIZE_BYTES_MAX:
                raise Broken(f"a line is longer than {LINE_SIZE_BYTES_MAX} bytes")
            yield from (bytes(line) for line in whole if line.strip())
        if waiting.strip():
            yield bytes(waiting)

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes."""
        if self._fields.get("transfer-encoding", "").lower() == "chunked":
            yield from self._chunked()
        elif "content-length" in self._fields:
            yield from self._counted(_number(self._fields["content-length"], 10))
        else:
            while chunk := self._some(CHUNK_SIZE_BYTES):
                yield chunk

    def _chunked(self) -> Iterator[bytes]:
        while length := _number(self._line().partition(";")[0], 16):
            yield from self._counted(length)
            if self._line():
                raise Broken("a chunk is longer than it said")
        self._read_fields()

    def _counted(self, length: int) -> Iterator[bytes]:
        while length:
            chunk = self._some(min(length, CHUNK_SIZE_BYTES))
            if not chunk:
                raise Broken("it ended early")
            length -= len(chunk)
            yield chunk

    def _status_line(self) -> tuple[int, str]:
        version, _, rest = self._line().partition(" ")
        code, _, reason = rest.partition(" ")
        if not version.startswith("HTTP/1.") or not (code.isdecimal() and len(code) == 3):
            raise Broken("it is not HTTP; does another program listen there?")
        return int(code), reason

    def _read_fields(self) -> dict[str, str]:
        fields: dict[str, str] = {}
        size_bytes = 0
        while line := self._line():
            size_bytes += len(line)
            if size_bytes > HEAD_SIZE_BYTES_MAX:
                raise Broken("its head is too large")
            name, _, value = line.partition(":")
            fields[name.strip().lower()] = value.strip()
        return fields

    def _line(self) -> str:
        waiting = self._waiting
        while (end := waiting.find(b"\n")) < 0 and len(waiting) < HEAD_SIZE_BYTES_MAX:
            if not (chunk := self._stream.recv(CHUNK_SIZE_BYTES)):
                break
            waiting += chunk
        if end < 0:
            raise Broken("it ended early") if waiting else Silent("it said nothing")
        line = bytes(waiting[:end])
        del waiting[: end + 1]
        return line.rstrip(b"\r").decode("latin-1")

    def _some(self, length: int) -> bytes:
        """As much as is there at once, at most so many bytes; b"" at the end."""
        if not self._waiting:
            return self._stream.recv(length)
        chunk = bytes(self._waiting[:length])
        del self._waiting[:length]
        return chunk


def _number(text: str, base: int) -> int:
    try:
        number = int(text.strip(), base)
    except ValueError as error:
        raise Broken(f"{text[:20]!r} is no length") from error
    if number < 0:
        raise Broken(f"{text[:20]!r} is no length")
    return number
