"""Which pieces of a file: a bit for each, held as one whole number and written as base64url. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from functools import lru_cache, reduce
from itertools import islice
from operator import or_

from p2pcdn.errors import RemoteProtocolError


def encode(bits: int, pieces: int) -> str:
    """Bit i of `bits` is piece i; the text has a byte for each eight pieces, the lowest first, without padding."""
    return base64.urlsafe_b64encode(bits.to_bytes(-(-pieces // 8), "little")).decode("ascii").rstrip("=")


def decode(text: str, pieces: int) -> int:
    """Raises RemoteProtocolError unless it is exactly a bit for each of so many pieces."""
    size_bytes = -(-pieces // 8)
    if len(text) != -(-size_bytes * 4 // 3) or "+" in text or "/" in text:
        raise RemoteProtocolError(f"a bitfield of {pieces} pieces has another length")
    try:
        bits = int.from_bytes(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True), "little")
    except (binascii.Error, ValueError) as error:
        raise RemoteProtocolError("a bitfield is not base64url") from error
    if bits >> pieces:
        raise RemoteProtocolError(f"a bitfield names more than {pieces} pieces")
    return bits


def all_of(pieces: int) -> int:
    return (1 << pieces) - 1


def union(bits: Iterable[int]) -> int:
    """What stands in any of them."""
    return reduce(or_, bits, 0)


@lru_cache(maxsize=256)
def each_third(first: int, pieces: int) -> int:
    """The pieces `first`, `first + 3` and so on: one of the three classes of a crowd."""
    return sum(1 << index for index in range(first, pieces, 3))


@lru_cache(maxsize=256)
def every_sixth(klass: int, pieces: int) -> int:
    """Every other piece of a class, from its second one on."""
    return sum(1 << index for index in range(klass + 3, pieces, 6))


def ones(bits: int) -> Iterator[int]:
    """The numbers of the bits that are set, ascending."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def lowest(bits: int) -> int:
    """The number of the first bit that is set; there must be one."""
    return (bits & -bits).bit_length() - 1


def last(bits: int, count: int) -> int:
    """The last so many of those that are set; there must be as many."""
    return bits & -1 << next(islice(ones(bits), bits.bit_count() - count, None))
