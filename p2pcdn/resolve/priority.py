"""Which package is decided next: what leaves no choice, then what conflicts often, then in the order of first sight.

As uv does (its documentation, "Resolver internals"): where one package's versions are refused again and again because
of a decision for another, the first is decided before the other from then on.
"""

from __future__ import annotations

# uv's figure: fewer, and an accident turns the order over; more, and the search goes on in the wrong corner.
CONFLICTS_BEFORE_SWAP = 5


class Priorities:
    """Remembers who was seen when, and who got in whose way."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}
        self._conflicts: dict[tuple[str, str], int] = {}
        self._early: dict[str, int] = {}
        self._late: dict[str, int] = {}

    def see(self, package: str) -> None:
        self._seen.setdefault(package, len(self._seen))

    def rank(self, package: str, *, single: bool, shut: bool) -> tuple[int, int, int]:
        """Smaller goes first. single: there is no choice; shut: what fits needs permission (`choice.py`)."""
        seen = self._seen[package]
        if shut:
            return 3, 0, seen
        if single:
            return 0, 0, seen
        if package in self._early:
            return 1, self._early[package], seen
        return 2, self._late.get(package, 0), seen

    def conflict(self, refused: str, because_of: str) -> bool:
        """A version was refused because of a decision. True where the two have just changed places."""
        pair = refused, because_of
        self._conflicts[pair] = self._conflicts.get(pair, 0) + 1
        if self._conflicts[pair] != CONFLICTS_BEFORE_SWAP or refused in self._early:
            return False
        self._early.setdefault(refused, len(self._early))
        if because_of in self._early:
            del self._early[because_of]
        self._late[because_of] = len(self._late) + 1
        return True
