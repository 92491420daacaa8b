"""zlib-ng reads what zlib reads, refuses what it refuses, and stops where it stops."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from p2pcdn import inflate

pytestmark = pytest.mark.skipif(inflate.Broken is zlib.error, reason="zlib-ng is not built for this machine")

STEP_SIZE_BYTES = 100
CONTENT = b"".join(b"line %d of a module\n" % (number * number) for number in range(300))


def packed(content: bytes, level: int) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


def read(library: Any, broken: type[Exception], stream: bytes) -> tuple[object, ...]:
    """All that a reader in bounded steps comes to know of a stream."""
    inflater, content = library.decompressobj(-zlib.MAX_WBITS), b""
    try:
        while stream and not inflater.eof:
            content += inflater.decompress(stream, STEP_SIZE_BYTES)
            stream = inflater.unconsumed_tail
        # What is left inside comes without further input.
        while not inflater.eof and (more := inflater.decompress(b"", STEP_SIZE_BYTES)):
            content += more
    except broken:
        return ("broken",)
    return content, inflater.eof, inflater.unused_data, library.crc32(content)


@settings(deadline=None)
@given(st.binary(max_size=2000), st.integers(0, 9), st.binary(max_size=3), st.integers(0, 3))
@example(CONTENT, 6, b"", 0)
@example(CONTENT, 9, b"more", 0)
@example(CONTENT, 1, b"", 1)
def test_streams_whole_cut_and_with_something_behind_them(content: bytes, level: int, behind: bytes, cut: int) -> None:
    whole = packed(content, level)
    stream = whole[: len(whole) - cut] + (b"" if cut else behind)
    assert read(inflate, inflate.Broken, stream) == read(zlib, zlib.error, stream)


@settings(deadline=None)
@given(st.data())
def test_streams_with_a_changed_byte(data: st.DataObject) -> None:
    stream = bytearray(packed(CONTENT, data.draw(st.integers(1, 9))))
    at = data.draw(st.integers(0, len(stream) - 1))
    stream[at] ^= data.draw(st.integers(1, 255))
    ours, theirs = read(inflate, inflate.Broken, bytes(stream)), read(zlib, zlib.error, bytes(stream))
    assert ours == theirs
