"""Messages on the pipes between a node and its solver: the length (4 bytes, big-endian), then a frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from p2pcdn import frames
from p2pcdn.errors import RemoteProtocolError

# The largest message has the version tables of some hundred projects, about 0.1 MB each.
MESSAGE_SIZE_BYTES_MAX = 256 * 1024 * 1024
LENGTH_SIZE_BYTES = 4


def packed(message: dict[str, Any]) -> bytes:
    frame = frames.encode(message)
    return len(frame).to_bytes(LENGTH_SIZE_BYTES, "big") + frame


def read(stream: BinaryIO) -> dict[str, Any] | None:
    """The next message; None where the other side is gone. Blocks. Raises RemoteProtocolError."""
    head = stream.read(LENGTH_SIZE_BYTES)
    if len(head) < LENGTH_SIZE_BYTES:
        return None
    length = _length(head)
    frame = stream.read(length)
    return None if len(frame) < length else _message(frame)


class Messages:
    """Bytes in, messages out. Used by one task."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def receive(self, chunk: bytes | bytearray) -> Iterator[dict[str, Any]]:
        """The messages that are whole now. Raises RemoteProtocolError."""
        self._waiting += chunk
        while len(self._waiting) >= LENGTH_SIZE_BYTES:
            end = LENGTH_SIZE_BYTES + _length(self._waiting[:LENGTH_SIZE_BYTES])
            if len(self._waiting) < end:
                return
            frame = bytes(self._waiting[LENGTH_SIZE_BYTES:end])
            del self._waiting[:end]
            yield _message(frame)


def _length(head: bytes | bytearray) -> int:
    length = int.from_bytes(head, "big")
    if length > MESSAGE_SIZE_BYTES_MAX:
        raise RemoteProtocolError(f"a message of {length} bytes is none of ours")
    return length


def _message(frame: bytes) -> dict[str, Any]:
    value = frames.decode(frame)
    if not isinstance(value, dict):
        raise RemoteProtocolError("a message is a map")
    return value
