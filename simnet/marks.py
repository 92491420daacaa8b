"""Rare branches that a campaign must have reached at least once over all its seeds; else it proves less."""

from __future__ import annotations

from collections import Counter

_seen: Counter[str] = Counter()


def sometimes(name: str, condition: object = True) -> None:
    """Notes that it happened. Scenarios list the names they promise in their MARKS."""
    if condition:
        _seen[name] += 1


def seen() -> dict[str, int]:
    """How often each happened since `forget`."""
    return dict(_seen)


def forget() -> None:
    """A new campaign begins."""
    _seen.clear()
