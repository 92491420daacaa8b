"""How long an upstream's page may be given without asking again (RFC 9111, section 4.2; RFC 5861)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# PyPI gives its pages 600 s. An index that says nothing is taken to mean the same.
FRESH_DEFAULT_S = 600.0
# "Removed stays removed" holds within a page's life, so no upstream can make that longer than a day.
FRESH_MAX_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Freshness:
    """fresh_s: seconds from the check on. stale_while_revalidate_s: seconds after that while a new one is fetched."""

    fresh_s: float
    stale_while_revalidate_s: float


def freshness_of(headers: Mapping[str, str]) -> Freshness:
    """What Cache-Control and Age say; `no-store` and `no-cache` mean that every use is checked."""
    directives = dict(_directives(headers.get("cache-control", "")))
    if "no-store" in directives or "no-cache" in directives:
        return Freshness(0.0, 0.0)
    life_s = _seconds(directives.get("max-age"), FRESH_DEFAULT_S)
    age_s = _seconds(headers.get("age"), 0.0)
    return Freshness(
        fresh_s=min(max(life_s - age_s, 0.0), FRESH_MAX_S),
        stale_while_revalidate_s=min(_seconds(directives.get("stale-while-revalidate"), 0.0), FRESH_MAX_S),
    )


def _directives(text: str) -> list[tuple[str, str | None]]:
    pairs = (part.strip().partition("=") for part in text.lower().split(","))
    return [(name.strip(), value.strip(' "') if equals else None) for name, equals, value in pairs]


def _seconds(text: str | None, default: float) -> float:
    return float(text) if text and text.isascii() and text.isdigit() and len(text) < 12 else default
