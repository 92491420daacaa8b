"""Range, If-Range and If-None-Match, by RFC 9110's own examples and by the fields of garbage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcdn.http1 import UNSATISFIABLE, content_range, etag_matches, if_range_matches, parse_range


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, None),
        ("bytes=0-499", (0, 500)),
        ("bytes=500-999", (500, 1000)),
        ("bytes=9500-", (9500, 10000)),
        ("bytes=-500", (9500, 10000)),
        ("bytes=-20000", (0, 10000)),
        ("bytes=9999-20000", (9999, 10000)),
        ("Bytes=0-0", (0, 1)),
        ("bytes= 0-0 ", (0, 1)),
        ("bytes=10000-", UNSATISFIABLE),
        ("bytes=10000-10001", UNSATISFIABLE),
        ("bytes=-0", UNSATISFIABLE),
        ("bytes=" + "9" * 5000 + "-", UNSATISFIABLE),
        ("bytes=0-" + "9" * 5000, (0, 10000)),
        ("bytes=5-2", None),
        ("bytes=0-1,5-6", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=٣-٤", None),
        ("lines=0-1", None),
        ("", None),
    ],
)
def test_a_single_range_is_understood_and_all_else_is_the_whole_file(header, wanted):
    assert parse_range(header, 10000) == wanted


def test_nothing_of_an_empty_file_can_be_asked_for():
    assert parse_range("bytes=0-", 0) is UNSATISFIABLE
    assert parse_range("bytes=-5", 0) is UNSATISFIABLE


@given(st.text(max_size=30) | st.from_regex(r"bytes=[0-9]*-[0-9]*", fullmatch=True), st.integers(0, 10**15))
def test_a_range_lies_within_the_file(header, size_bytes):
    found = parse_range(header, size_bytes)
    if isinstance(found, tuple):
        assert 0 <= found[0] < found[1] <= size_bytes


@pytest.mark.parametrize(
    ("if_range", "etag", "holds"),
    [
        (None, '"a"', True),
        ('"a"', '"a"', True),
        ('"a"', '"b"', False),
        ('W/"a"', 'W/"a"', False),
        ('W/"a"', '"a"', False),
        ('"a"', None, False),
        ("Sat, 29 Oct 1994 19:43:31 GMT", '"a"', False),
    ],
)
def test_if_range_compares_strongly(if_range, etag, holds):
    assert if_range_matches(if_range, etag) is holds


@pytest.mark.parametrize(
    ("if_none_match", "etag", "matches"),
    [
        (None, '"a"', False),
        ('"a"', '"a"', True),
        ('W/"a"', '"a"', True),
        ('"a"', 'W/"a"', True),
        ('"b"', '"a"', False),
        ("*", '"a"', True),
        ("*", None, False),
        ('"b", W/"a" ,"c"', '"a"', True),
        ('"b,\\"", "a,b"', '"a,b"', False),
        ('"x", "a,b"', '"a,b"', True),
        ("a", '"a"', False),
        ('"b" "a"', '"a"', False),
        ('"a', '"a"', False),
    ],
)
def test_if_none_match_compares_weakly(if_none_match, etag, matches):
    assert etag_matches(if_none_match, etag) is matches


@given(st.text(max_size=200))
def test_no_list_of_etags_is_too_strange(header):
    etag_matches(header, '"a"')


def test_a_content_range_counts_from_zero_and_names_the_last_byte():
    assert content_range(0, 500, 1234) == "bytes 0-499/1234"
