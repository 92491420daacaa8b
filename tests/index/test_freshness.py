"""What Cache-Control and Age make of a page's life."""

from __future__ import annotations

import pytest

from p2pcdn.index.freshness import FRESH_DEFAULT_S, FRESH_MAX_S, Freshness, freshness_of


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, Freshness(FRESH_DEFAULT_S, 0)),
        ({"cache-control": "max-age=600, public"}, Freshness(600, 0)),
        ({"cache-control": "max-age=600", "age": "100"}, Freshness(500, 0)),
        ({"cache-control": "max-age=10", "age": "100"}, Freshness(0, 0)),
        ({"cache-control": 'Max-Age="60", stale-while-revalidate=30'}, Freshness(60, 30)),
        ({"cache-control": "no-store"}, Freshness(0, 0)),
        ({"cache-control": "max-age=600, no-cache"}, Freshness(0, 0)),
        ({"cache-control": "max-age=99999999999"}, Freshness(FRESH_MAX_S, 0)),
        ({"cache-control": "max-age=-1, stale-while-revalidate=x", "age": "soon"}, Freshness(FRESH_DEFAULT_S, 0)),
        ({"cache-control": "max-age=" + "9" * 400}, Freshness(FRESH_DEFAULT_S, 0)),
    ],
)
def test_a_page_lives_as_long_as_its_upstream_says(headers: dict[str, str], expected: Freshness) -> None:
    assert freshness_of(headers) == expected
