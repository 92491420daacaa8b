"""What an upstream's status means."""

from __future__ import annotations

import pytest

from p2pcdn.answers import RETRY_AFTER_MAX_S, refusal
from p2pcdn.errors import NotFound, Refused, Unavailable

URL = "https://index.example/simple/x/"


@pytest.mark.parametrize("status", [200, 206, 304])
def test_an_answer_with_content_is_no_refusal(status: int) -> None:
    assert refusal(status, {}, URL) is None


@pytest.mark.parametrize("status", [400, 408, 416, 418, 429, 500, 502, 503, 504, 520, 301, 999])
def test_only_the_upstreams_own_404_or_410_is_not_found(status: int) -> None:
    assert isinstance(refusal(status, {}, URL), Unavailable)
    assert isinstance(refusal(404, {}, URL), NotFound)
    assert isinstance(refusal(410, {}, URL), NotFound)


def test_what_is_not_there_is_named_with_the_port_and_without_the_user() -> None:
    error = refusal(404, {}, "http://user:secret@127.0.0.1:8000/files/x-1.0.whl", "file x-1.0.whl")
    assert str(error) == "127.0.0.1:8000 has no file x-1.0.whl."


@pytest.mark.parametrize("status", [401, 403, 407, 451])
def test_a_refusal_says_where_credentials_go_and_is_never_a_401(status: int) -> None:
    error = refusal(status, {}, URL)
    assert isinstance(error, Refused)
    assert "netrc" in str(error)
    assert "index.example" in str(error)


@pytest.mark.parametrize(
    ("text", "seconds"), [("7", 7), ("999999", RETRY_AFTER_MAX_S), ("Fri, 31 Dec 1999", 5), ("", 5)]
)
def test_retry_after_is_passed_on_within_bounds(text: str, seconds: float) -> None:
    error = refusal(429, {"retry-after": text}, URL)
    assert isinstance(error, Unavailable)
    assert error.retry_after_s == seconds
