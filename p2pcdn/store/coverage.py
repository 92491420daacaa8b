"""Which bytes of a growing file are there, who vouches for them, and which of them readers were shown. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from p2pcdn.store.ranges import Ranges

Spans = Iterable[tuple[int, int]]


class Coverage:
    """Each kind holds the next: what is there, what readers may have of it, and what is firm.

    Firm is what the upstream gave. For the rest only a peer vouches, and it gives way to other bytes. Readers may have
    what is firm, and what a member of our group vouches for.
    """

    __slots__ = ("firm", "open", "present", "shown")

    def __init__(self, present: Spans = (), firm: Spans = ()) -> None:
        self.present = Ranges(present)
        self.firm = Ranges(firm)
        self.open = Ranges(self.firm)
        self.shown = Ranges()  # to readers, before it was firm

    def add(self, start: int, end: int, *, provisional: bool, vouched: bool) -> None:
        """These bytes came. provisional: only a peer vouches for them; vouched: it is a member of our group."""
        self.present.add(start, end)
        if not provisional:
            self.firm.add(start, end)
        if vouched or not provisional:
            self.open.add(start, end)

    def remove(self, start: int, end: int) -> None:
        """These bytes are about to change, or do not count any more."""
        self.present.remove(start, end)
        self.firm.remove(start, end)
        self.open.remove(start, end)

    def wanted(self, start: int, end: int, *, provisional: bool) -> list[tuple[int, int]]:
        """Of bytes that come, those to be written: a peer's fill holes only, others replace what a peer gave, too."""
        return (self.present if provisional else self.firm).missing(start, end)

    def show(self, start: int, end: int) -> None:
        """A reader is given these bytes."""
        for left, right in self.firm.missing(start, end):
            self.shown.add(left, right)

    def is_provisional(self) -> bool:
        """Whether only a peer vouches for some of the bytes."""
        return self.firm.size_bytes() < self.present.size_bytes()

    def provisional(self) -> list[tuple[int, int]]:
        """The bytes for which only a peer vouches."""
        return [hole for start, end in self.present for hole in self.firm.missing(start, end)]

    def has_shown_unproven(self) -> bool:
        """Whether a reader was given bytes that are not firm now."""
        return any(self.firm.missing(start, end) for start, end in self.shown)
