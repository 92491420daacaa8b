"""CBOR out and in."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcdn import frames
from p2pcdn.errors import RemoteProtocolError

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.binary() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.binary(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, derandomize=True, database=None)
@given(values)
def test_what_is_written_is_read(value: Any) -> None:
    content = frames.encode(value)
    assert frames.decode(content) == value
    assert frames.encode(frames.decode(content)) == content


@settings(max_examples=500, derandomize=True, database=None)
@given(st.binary(max_size=40))
def test_what_is_not_canonical_is_refused_and_nothing_else_is_raised(content: bytes) -> None:
    try:
        value = frames.decode(content)
    except RemoteProtocolError:
        return
    assert frames.encode(value) == content


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\x00\x00", b"\x18\x01", b"\x1b" + b"\x00" * 7 + b"\x01", b"\x5f\x41a\xff", b"\x9f\xff", b"\xbf\xff",
        b"\xa2\x01\x01\x01\x02", b"\xa2\x02\x01\x01\x01", b"\xc0\x60", b"\xc1\x00", b"\xc2\x41\x01", b"\xd8\x1c\x80",
        b"\xd9\xd9\xf7\x00", b"\xf7", b"\xe0", b"\xf8\x14", b"\x61\xff", b"\x82\x01", b"\x5b\x7f" + b"\xff" * 7,
        b"\x9b\x7f" + b"\xff" * 7, b"\xfb\x3f\xf0" + b"\x00" * 6, b"\xff",
    ],
)  # fmt: skip
def test_other_forms_are_refused(content: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        frames.decode(content)


def test_a_key_is_text_or_bytes() -> None:
    with pytest.raises(RemoteProtocolError):
        frames.decode(cbor2.dumps({1: 2}, canonical=True))


def test_depth_has_a_limit() -> None:
    value: Any = 0
    for _ in range(frames.DEPTH_MAX - 1):
        value = [value]
    assert frames.decode(frames.encode(value)) == value
    for _ in range(3):
        value = [value]
    with pytest.raises(RemoteProtocolError):
        frames.decode(frames.encode(value))
    with pytest.raises(RemoteProtocolError):
        frames.decode(b"\x81" * 1_000_000 + b"\x00")


def test_a_map_is_written_in_one_order() -> None:
    assert frames.encode({"b": 1, "a": 2}) == frames.encode({"a": 2, "b": 1})
    with pytest.raises(RemoteProtocolError):
        frames.decode(cbor2.dumps({"b": 1, "a": 2}))
