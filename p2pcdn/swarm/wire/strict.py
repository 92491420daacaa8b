"""Values out of what a peer sent, strictly: what is not exactly as it should be raises RemoteProtocolError. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from p2pcdn import frames
from p2pcdn.errors import RemoteProtocolError

# Larger files are no packages, and a number that is larger is no size.
SIZE_BYTES_MAX = 64 * 1024**3
# A BLAKE3 hash or a public key, within a pattern.
HEX = r"[0-9a-f]{64}"

_ADDRESS = re.compile(r"(?:[0-9A-Za-z._-]{1,255}|\[[0-9A-Za-z:.%_-]{2,64}\]):[1-9][0-9]{0,4}", re.ASCII)


def read_address(value: Any) -> str:
    """host:port, as text."""
    if type(value) is not str or not _ADDRESS.fullmatch(value) or int(value.rpartition(":")[2]) > 65535:
        raise RemoteProtocolError("an address is not host:port")
    return value


def read_list(content: bytes, asked: int, size_bytes_max: int) -> list[Any]:
    """A list with so many items."""
    value = decode(content, size_bytes_max)
    if type(value) is not list or len(value) != asked:
        raise RemoteProtocolError(f"{asked} blobs were asked for, and the answer has another number of parts")
    return value


def read_map(content: bytes, size_bytes_max: int) -> Mapping[str, Any]:
    """A map with words for its keys."""
    value = decode(content, size_bytes_max)
    if type(value) is not dict or not all(type(key) is str for key in value):
        raise RemoteProtocolError("an answer is not a map")
    return value


def decode(content: bytes, size_bytes_max: int) -> Any:
    """What a frame holds, if it is not too long."""
    if len(content) > size_bytes_max:
        raise RemoteProtocolError(f"an answer has {len(content)} bytes, more than {size_bytes_max}")
    return frames.decode(content)
