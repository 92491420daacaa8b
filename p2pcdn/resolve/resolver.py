"""The door of the room: what was asked, what is known, and the next thing to do."""

from __future__ import annotations

from collections.abc import Iterable

from p2pcdn.resolve.model import Metadata, Need, Solution, Table, Target, Wanted


class Resolver:
    """One resolution for one target. Not for two threads at once."""

    def __init__(self, wanted: Wanted, target: Target) -> None:
        """Raises BadRequirement."""

    def step(self) -> Need | Solution:
        """Goes on as far as what is known leads. Raises NoSolution."""
        raise NotImplementedError

    def learn(self, tables: Iterable[Table] = (), metadata: Iterable[Metadata] = ()) -> None:
        """Takes what came, wanted or not; what is known already stays as it is."""
