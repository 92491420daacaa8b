"""CBOR as we write and read it: canonical out, and nothing but the canonical in (RFC 8949, section 4.2; no tags)."""

from __future__ import annotations

from typing import Any, NoReturn

import cbor2

from p2pcdn.errors import RemoteProtocolError

# Our deepest message is a map of lists of maps; sixteen levels leave room and stop a stack attack.
DEPTH_MAX = 16


def encode(value: Any) -> bytes:
    """The canonical encoding of a value made of dict (keys str, bytes), list, str, bytes, int, float, bool and None."""
    return cbor2.dumps(value, canonical=True)


def decode(content: bytes) -> Any:
    """The value in exactly these bytes. Raises RemoteProtocolError for anything that `encode` would not write."""
    try:
        value = cbor2.loads(
            content,
            max_depth=DEPTH_MAX,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
            semantic_decoders=_NO_TAGS,
            tag_hook=_refuse_tag,
        )
        # Trailing bytes and long forms of small numbers end here: they do not survive the way back.
        canonical = encode(value)
        _refuse_other_kinds(value)
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, MemoryError, RecursionError) as error:
        raise RemoteProtocolError(f"not a frame: {error}") from error
    if canonical != content:
        raise RemoteProtocolError("not a frame: it is not in the canonical form")
    return value


def decode_own(content: bytes) -> Any:
    """The value in what `encode` wrote on this machine, and a checksum or a pipe of ours kept: a third of the time."""
    return cbor2.loads(content)


def _refuse_other_kinds(value: Any) -> None:
    """`undefined` and the unassigned simple values are canonical, and are nothing that we write."""
    if type(value) is dict or type(value) is list:
        for inner in value.values() if type(value) is dict else value:
            if type(inner) not in _KINDS:
                _refuse_other_kinds(inner)
    elif type(value) not in _KINDS:
        raise ValueError(f"{value!r} is no value of a frame")


_KINDS = frozenset((str, bytes, int, float, bool, type(None)))


def _refuse_tag(*_: Any) -> NoReturn:
    raise ValueError("tags are not used")


# Every tag that cbor2 would decode by itself: dates, bignums, decimals, shared references, regular expressions, sets.
_NO_TAGS = dict.fromkeys(
    (0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799), _refuse_tag
)
