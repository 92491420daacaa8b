"""In which order wheels are installed: dependencies first, as pip does, so that the same file wins. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from p2pcdn.envs.model import Chosen


def dependencies_first(chosen: Sequence[Chosen]) -> list[Chosen]:
    """By what the lock says of dependencies, and by name where it says nothing; a circle begins at its first name."""
    by_name = {one.package.name: one for one in chosen}
    ordered: dict[str, Chosen] = {}
    for name in sorted(by_name):
        _put(name, by_name, ordered)
    return list(ordered.values())


def _put(first: str, by_name: dict[str, Chosen], ordered: dict[str, Chosen]) -> None:
    """Without recursion: a chain of dependencies may be as long as the lock."""
    seen: set[str] = set()
    ahead = [(first, False)]
    while ahead:
        name, expanded = ahead.pop()
        if expanded:
            ordered.setdefault(name, by_name[name])
        elif name not in seen and name not in ordered:
            seen.add(name)
            ahead.append((name, True))
            ahead.extend((child, False) for child in sorted(_children(by_name[name]), reverse=True) if child in by_name)


def _children(one: Chosen) -> Iterable[str]:
    return {str(dependency.get("name")) for dependency in one.package.dependencies}
