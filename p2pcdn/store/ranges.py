"""A set of byte ranges: which bytes of a growing file are there. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Ranges:
    """Disjoint ranges [start, end), ascending; neighbours that touch are one."""

    __slots__ = ("_ends", "_starts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in ranges:
            self.add(start, end)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._starts, self._ends, strict=True)))

    def __repr__(self) -> str:
        return f"Ranges({list(self)})"

    def size_bytes(self) -> int:
        return sum(self._ends) - sum(self._starts)

    def end(self) -> int:
        """The end of the last range, or 0."""
        return self._ends[-1] if self._ends else 0

    def end_from(self, offset: int) -> int:
        """The end of what is there from offset on without a hole; offset itself where nothing is."""
        at = bisect_right(self._starts, offset) - 1
        return max(offset, self._ends[at]) if at >= 0 else offset

    def covers(self, start: int, end: int) -> bool:
        return start >= end or self.end_from(start) >= end

    def add(self, start: int, end: int) -> None:
        if start >= end:
            return
        first = bisect_left(self._ends, start)
        last = bisect_right(self._starts, end)
        if first < last:
            start = min(start, self._starts[first])
            end = max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]

    def remove(self, start: int, end: int) -> None:
        for left, right in self.within(start, end):
            at = bisect_right(self._starts, left) - 1
            old_start, old_end = self._starts[at], self._ends[at]
            kept = [(a, b) for a, b in ((old_start, left), (right, old_end)) if a < b]
            self._starts[at : at + 1] = [a for a, _ in kept]
            self._ends[at : at + 1] = [b for _, b in kept]

    def within(self, start: int, end: int) -> list[tuple[int, int]]:
        """What is there of [start, end)."""
        first = bisect_right(self._ends, start)
        last = bisect_left(self._starts, end)
        pairs = zip(self._starts[first:last], self._ends[first:last], strict=True)
        return [(max(start, a), min(end, b)) for a, b in pairs]

    def missing(self, start: int, end: int) -> list[tuple[int, int]]:
        """What is not there of [start, end)."""
        holes: list[tuple[int, int]] = []
        for a, b in self.within(start, end):
            if start < a:
                holes.append((start, a))
            start = b
        if start < end:
            holes.append((start, end))
        return holes
