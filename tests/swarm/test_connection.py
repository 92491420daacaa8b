"""The client's reader: bytes in, one answer out, however they are cut; and nothing but the documented error."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from p2pcdn.errors import LocalProtocolError, RemoteProtocolError
from p2pcdn.swarm.wire.connection import HEAD_SIZE_BYTES_MAX, HEADERS_MAX, Answer, Reading, buffer_size, encode_request

BODY_MAX = 1000
RIGHT = b"HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 5\r\n\r\nhello"


def read(content: bytes, cut: int = 1 << 30) -> Answer | None:
    """Feeds the bytes in cuts, as a socket would: never more than the space."""
    reading = Reading(memoryview(bytearray(buffer_size(BODY_MAX))), BODY_MAX)
    while content:
        space = reading.space()
        part = content[: min(cut, len(space))]
        content = content[len(part) :]
        space[: len(part)] = part
        answer = reading.received(len(part))
        if answer is not None:
            assert not content, "it did not look at the rest"
            return answer
    return None


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 50, 1 << 20])
def test_an_answer_is_the_same_however_it_is_cut(cut: int) -> None:
    answer = read(RIGHT, cut)
    assert answer is not None
    assert (answer.status, bytes(answer.body), answer.keep_alive) == (200, b"hello", True)


def test_a_refusal_says_when_to_come_back_within_reason() -> None:
    answer = read(b"HTTP/1.1 503 Full\r\nRetry-After-Ms: 999999999\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
    assert answer is not None
    assert (answer.status, answer.retry_after_s, answer.keep_alive) == (503, 5.0, False)


WRONG = {
    "no status line": b"hello\r\n\r\n",
    "an older version": b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "an informational answer": b"HTTP/1.1 100 Continue\r\n\r\n",
    "no length": b"HTTP/1.1 200 OK\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\na",
    "a negative length": b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
    "a length with a plus": b"HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\na",
    "an enormous length": b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % 10**30,
    "a body over the limit": b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (BODY_MAX + 1),
    "chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n",
    "a coding": b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 0\r\n\r\n",
    "a folded line": b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 0\r\n\r\n",
    "a bare line feed": b"HTTP/1.1 200 OK\r\nx: a\ncontent-length: 0\r\n\r\n",
    "a space before the colon": b"HTTP/1.1 200 OK\r\ncontent-length : 0\r\n\r\n",
    "a NUL": b"HTTP/1.1 200 OK\r\nx: \0\r\ncontent-length: 0\r\n\r\n",
    "too many headers": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * (HEADERS_MAX + 1) + b"content-length: 0\r\n\r\n",
    "a head without end": b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * HEAD_SIZE_BYTES_MAX,
    "a second answer": RIGHT + RIGHT,
    "a byte too many": RIGHT + b"x",
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("cut", [1 << 20, 4096])
def test_what_is_not_one_answer_is_refused(wrong: str, cut: int) -> None:
    with pytest.raises(RemoteProtocolError):
        read(WRONG[wrong], cut)


def test_the_end_in_the_middle_of_an_answer_is_an_error() -> None:
    reading = Reading(memoryview(bytearray(buffer_size(BODY_MAX))), BODY_MAX)
    with pytest.raises(RemoteProtocolError):
        reading.received(0)


@given(st.binary(max_size=600), st.integers(1, 700))
@example(RIGHT, 1)
@settings(max_examples=300)
def test_any_bytes_are_an_answer_a_wish_for_more_or_the_documented_error(content: bytes, cut: int) -> None:
    with contextlib.suppress(RemoteProtocolError):
        read(content, cut)


@given(st.data(), st.integers(1, 100))
@settings(max_examples=300)
def test_a_damaged_answer_is_never_more_than_its_limits(data: st.DataObject, cut: int) -> None:
    damaged = bytearray(RIGHT)
    for at, octet in data.draw(st.lists(st.tuples(st.integers(0, len(RIGHT) - 1), st.integers(0, 255)), max_size=4)):
        damaged[at] = octet
    try:
        reading = Reading(memoryview(bytearray(buffer_size(BODY_MAX))), BODY_MAX)
        reading.space()[: len(damaged)] = damaged
        answer = reading.received(len(damaged))
    except RemoteProtocolError:
        return
    assert answer is None or len(answer.body) <= BODY_MAX


@pytest.mark.parametrize("target", ["/a b", "/a\r\nx: y", "/ä", "/\0"])
def test_we_ask_for_nothing_that_is_no_path(target: str) -> None:
    with pytest.raises(LocalProtocolError):
        encode_request(target, "host")
