"""Which form a client gets."""

from __future__ import annotations

import pytest

from p2pcdn.simple import MediaType, negotiate

JSON, HTML, LEGACY = MediaType.JSON, MediaType.HTML, MediaType.LEGACY_HTML
V1 = "application/vnd.pypi.simple.v1+"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        # what clients send: pip, uv, poetry, a browser, curl, and clients that send nothing
        (f"{V1}json, {V1}html; q=0.1, text/html; q=0.01", JSON),
        (f"{V1}json, {V1}html;q=0.2, text/html;q=0.01", JSON),
        (f"{V1}json, */*;q=0.1", JSON),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", LEGACY),
        ("*/*", LEGACY),
        (None, LEGACY),
        ("", LEGACY),
        # RFC 9110: weights, specificity, case, white space, parameters
        (f"{V1}json;q=0.1, {V1}html;q=0.9", HTML),
        (f"{V1}json;q=0, */*", LEGACY),
        (f"{V1}json;q=0", None),
        (f"text/html;q=0, {V1}json;q=0.001", JSON),
        ("text/*", LEGACY),
        ("application/*", JSON),
        (f"application/*;q=0.5, {V1}json;q=0.4", HTML),
        (f"*/*;q=0.9, {V1}html;q=0.9", HTML),
        (f"{V1}json, text/html", JSON),
        (f"{V1}JSON;Q=1.000".upper(), JSON),
        (f'{V1}html;x="a,b;q=0";q=0.5, text/html;q=0.4', HTML),
        (f" {V1}json ; charset=utf-8 ; q = 0.3 ;ext=1,\ttext/html; q=0.2", JSON),
        (f"{V1}json;q=0.1, {V1}json;q=0.9, text/html;q=0.5", JSON),
        # PEP 691: latest; other versions; nothing that we have
        ("application/vnd.pypi.simple.latest+json", JSON),
        ("application/vnd.pypi.simple.latest+html;q=0.5", HTML),
        ("application/vnd.pypi.simple.v2+json, text/html;q=0.01", LEGACY),
        ("application/vnd.pypi.simple.v2+json", None),
        ("application/json", None),
        ("image/png", None),
        # what is no weight does not count, and does not break
        (f"{V1}json;q=high, text/html;q=0.1", LEGACY),
        (f"{V1}json;q=nan, {V1}html;q=inf, text/html;q=0.1", LEGACY),
        (f"{V1}json;q=1.5, {V1}html;q=-1", LEGACY),
        (",,;;,=,/", None),
        ("nonsense", LEGACY),
    ],
)
def test_the_accept_header_decides(accept: str | None, expected: MediaType | None) -> None:
    assert negotiate(accept, None) is expected


@pytest.mark.parametrize(
    ("format_", "expected"),
    [
        (V1 + "json", JSON),
        (V1.replace("+", " ") + "json", JSON),
        ("application/vnd.pypi.simple.latest+html", HTML),
        ("TEXT/HTML", LEGACY),
        ("json", None),
        ("", None),
        ("*/*", None),
    ],
)
def test_the_format_of_the_url_wins(format_: str, expected: MediaType | None) -> None:
    assert negotiate("text/html", format_) is expected


def test_a_header_without_end_is_read_in_bounded_work() -> None:
    assert negotiate("x/y," * 200_000 + V1 + "json", None) is None
    assert negotiate(V1 + "json," + "x/y;q=0.1," * 200_000, None) is JSON
