"""Who asks whom: a tree for each class of pieces over the members of one crowd, kept as they come, fail and go. Pure.

A piece's class is its number modulo three. In each tree those stand near the root who pass its class on, a third of the
members; each has three hands, and so sends as much as it receives. A piece reaches the last of a thousand in seven
steps (SplitStream, SOSP 2003, has the idea of disjoint trees; docs/decisions/0006). Whoever comes or goes moves few
others: a parent that changes is a wire that is cold for a moment.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence

# Classes of pieces, children of a node, and requests that a node has under way: all the same number, so that what a
# node may ask for is what it can get (notes: symmetry beats depth).
CLASSES = 3
HANDS = 3
# Whom one member may complain about: more, and it is perhaps its own fault.
COMPLAINTS_MAX = 4


class Seat:
    """A member's places in the trees. Changed by its `Plan` only.

    gives: whether it may be a parent. passes_on: the class that it gives to others; None where it gives none.
    source: it has all of it, or reads it: it needs no parent. reads: it is one that reads it for all.
    hands: for each class, how many children it takes. refused: whom it does not want to ask again.
    accused: whether somebody who was told to ask it complained. last: it comes last: it has no parents, and seeks none.
    last_later: it will, when it is no source any more.
    """

    __slots__ = (
        "accused", "children", "gives", "hands", "last", "last_later", "parents", "passes_on", "reads", "refused",
        "source",
    )  # fmt: skip

    def __init__(self, *, gives: bool) -> None:
        self.gives = gives
        self.passes_on: int | None = None
        self.source = self.reads = False
        self.hands = [0] * CLASSES
        self.parents: list[Seat | None] = [None] * CLASSES
        self.children: list[dict[Seat, None]] = [{} for _ in range(CLASSES)]
        self.refused: set[Seat] = set()
        self.accused = self.last = self.last_later = False


class Plan:
    """The trees of one file. Used by its crowd."""

    def __init__(self) -> None:
        self._seats: dict[Seat, None] = {}
        self._passing = Counter[int]()  # how many pass each class on
        self._homeless: list[dict[Seat, None]] = [{} for _ in range(CLASSES)]

    def join(self, *, gives: bool, source: bool) -> Seat:
        """A new member. source: has all of it, or reads it for the others."""
        seat = Seat(gives=gives)
        self._seats[seat] = None
        if source:
            self.becomes_source(seat)
            return seat
        self._takes_part(seat)
        return seat

    def leave(self, seat: Seat) -> None:
        self._asks_nobody(seat)
        self._dismiss(seat)
        del self._seats[seat]
        for other in self._seats:
            other.refused.discard(seat)
        self._settle()

    def becomes_source(self, seat: Seat, *, reads: bool = False, classes: Sequence[int] = range(CLASSES)) -> None:
        """It reads the file for all from now on, or came with all of it: one child of each of these classes asks it."""
        self._asks_nobody(seat)
        self._dismiss(seat)
        seat.source, seat.reads = True, reads
        seat.hands = [HANDS // CLASSES if klass in classes else 0 for klass in range(CLASSES)]
        self._settle()

    def wants_to_give(self, seat: Seat, *, gives: bool) -> None:
        """Its machine was put on a wire, or taken off: from now on others may ask it first, or not any more."""
        if seat.gives == gives:
            return
        seat.gives = gives
        if seat.source:
            return
        if gives:
            self._passes_on(seat)
        else:
            self._dismiss(seat)
        self._settle()

    def is_whole(self, seat: Seat) -> None:
        """It has all of it now, and gives on to whom it gave."""
        seat.source = True
        self._asks_nobody(seat)
        self._settle()

    def is_no_source(self, seat: Seat) -> None:
        """It read for all, or had all of it, and does not any more: it is a member like others again."""
        if not seat.source:
            return
        seat.source = seat.reads = False
        self._dismiss(seat)
        if seat.last_later:
            self.comes_last(seat)
        else:
            self._takes_part(seat)

    def is_too_slow(self, seat: Seat, *, classes: Sequence[int] = range(CLASSES)) -> None:
        """A source that is slower than another one, or may be: nobody asks it first for these classes any more."""
        self._dismiss(seat, classes)
        self._settle()

    def complains(self, seat: Seat, of: Seat) -> bool:
        """It asked its parent as it was told, and got something wrong, or nothing. Whether that changed anything.

        The parent has a hand less from then on: a liar soon has none, and who is accused wrongly loses one. The last
        source that a class has keeps its hand, for another child: without it nobody would get anything of that class.
        So does the last that reads, whoever says beside it that he has it all: only his word stands for that.
        """
        theirs = [klass for klass in range(CLASSES) if seat.parents[klass] is of]
        if not theirs or len(seat.refused) >= COMPLAINTS_MAX:
            return False
        seat.refused.add(of)
        of.accused = True
        for klass in theirs:
            self._let_go(seat, klass)
            if not of.source or self._has_source_beside(of, klass):
                of.hands[klass] -= 1
            else:
                self._give_hand_of_last_source(of, seat, klass)
            self._seek(seat, klass)
        self._settle()
        return True

    def comes_last(self, seat: Seat) -> None:
        """It gives nothing that is right, so nobody's hand is kept for it: it has what the others leave.

        A source keeps its own rules, as long as it is one.
        """
        if seat.source or seat.last:
            seat.last_later = seat.source
            return
        seat.accused = seat.last = True
        self._asks_nobody(seat)
        self._dismiss(seat)
        self._settle()

    # --- below

    def _takes_part(self, seat: Seat) -> None:
        """One without parents and children passes on, where it may, what fewest do, and finds its parents."""
        self._passes_on(seat)
        for klass in range(CLASSES):
            self._seek(seat, klass)
        self._settle()

    def _passes_on(self, seat: Seat) -> None:
        if seat.gives and not seat.accused:
            seat.passes_on = klass = min(range(CLASSES), key=lambda klass: self._passing[klass])
            seat.hands[klass] = HANDS
            self._passing[klass] += 1

    def _dismiss(self, seat: Seat, classes: Sequence[int] = range(CLASSES)) -> None:
        """It gives to nobody any more; who asked it seeks another, those first who pass on what they get."""
        if seat.passes_on is not None:
            self._passing[seat.passes_on] -= 1
            seat.passes_on = None
        for klass in classes:
            seat.hands[klass] = 0
        for klass in classes:
            left = _givers_first(seat.children[klass], klass)
            for child in left:
                self._let_go(child, klass)
            for child in left:
                self._seek(child, klass)

    def _has_hand_free(self) -> bool:
        return any(len(seat.children[klass]) < seat.hands[klass] for seat in self._seats for klass in range(CLASSES))

    def _has_source_beside(self, source: Seat, klass: int) -> bool:
        others = (seat for seat in self._seats if seat.source and seat.hands[klass] and seat is not source)
        return any(seat.reads or not source.reads for seat in others)

    def _give_hand_of_last_source(self, source: Seat, before: Seat, klass: int) -> None:
        """To another one that passes on, with all that is below it; else there is a tree without a root."""
        heirs = [seat for seat in self._seats if seat.hands[klass] and not seat.source and source not in seat.refused]
        heir = next((seat for seat in heirs if seat is not before), None)
        if heir is not None:
            self._let_go(heir, klass)
            self._homeless[klass].pop(heir, None)
            self._take(source, heir, klass)

    def _asks_nobody(self, seat: Seat) -> None:
        """It has no parents any more, and seeks none."""
        for klass in range(CLASSES):
            self._let_go(seat, klass)
            self._homeless[klass].pop(seat, None)

    def _let_go(self, child: Seat, klass: int) -> None:
        parent = child.parents[klass]
        if parent is not None:
            del parent.children[klass][child]
            child.parents[klass] = None

    def _take(self, parent: Seat, child: Seat, klass: int) -> None:
        assert child.parents[klass] is None
        parent.children[klass][child] = None
        child.parents[klass] = parent

    def _settle(self) -> None:
        """Whoever found no hand free tries again, those first who pass on what they get; then others may find one."""
        before = -1
        while before != (before := sum(map(len, self._homeless))) and before:
            free = self._has_hand_free()
            for klass, homeless in enumerate(self._homeless):
                for child in _givers_first(homeless, klass):
                    if not free and not child.hands[klass]:
                        break  # it can take nobody's place: where few give, all the others would search in vain
                    del homeless[child]
                    self._seek(child, klass)
                    free = free and (child in homeless or self._has_hand_free())
        self._share_shortage()

    def _share_shortage(self) -> None:
        """Where hands are short in one class and not in another, the classes share that: the slowest one counts."""
        while True:
            by_shortage = sorted(range(CLASSES), key=lambda klass: len(self._homeless[klass]))
            least, most = by_shortage[0], by_shortage[-1]
            if len(self._homeless[most]) - len(self._homeless[least]) < 2 or not self._move_hand(least, most):
                return

    def _move_hand(self, klass: int, to: int) -> bool:
        """From a child that passes nothing on to one that has no parent in the other class."""
        child = max(self._homeless[to], key=lambda seat: sum(seat in homeless for homeless in self._homeless))
        for parent in self._seats:
            # Whatever it passes on itself: in a shortage many hands are lent ones.
            leaf = None if parent.passes_on is None else self._leaf_of(parent, klass)
            if leaf is not None and parent not in child.refused and not self._is_below(parent, child, to):
                self._let_go(leaf, klass)
                parent.hands[klass] -= 1
                parent.hands[to] += 1
                del self._homeless[to][child]
                self._take(parent, child, to)
                self._seek(leaf, klass)
                return True
        return False

    def _seek(self, child: Seat, klass: int) -> None:
        """Finds a parent as near to the root as there is a hand. Who passes on takes the place of one who does not."""
        if child.source or child.last:
            return
        for parent in self._by_depth(klass):
            if parent is child or parent in child.refused:
                continue
            free = len(parent.children[klass]) < parent.hands[klass]
            leaf = None if free or not child.hands[klass] else self._leaf_of(parent, klass)
            if (free or leaf is not None) and not self._is_below(parent, child, klass):
                if leaf is not None:
                    self._let_go(leaf, klass)
                self._take(parent, child, klass)
                if leaf is not None:
                    self._seek(leaf, klass)
                return
        lender = self._lender(child, klass)
        if lender is None:
            self._homeless[klass][child] = None
        else:
            self._take(lender, child, klass)

    def _lender(self, child: Seat, klass: int) -> Seat | None:
        """One that has a hand free for another class, and lends it to this one; the nearest to the root."""
        lenders = [
            seat
            for seat in self._seats
            if (own := seat.passes_on) is not None
            and len(seat.children[own]) < seat.hands[own]
            and seat is not child
            and seat not in child.refused
            and not self._is_below(seat, child, klass)
        ]
        if not lenders:
            return None
        lender = min(lenders, key=lambda seat: self._depth(seat, klass))
        assert lender.passes_on is not None
        lender.hands[lender.passes_on] -= 1
        lender.hands[klass] += 1
        return lender

    def _by_depth(self, klass: int) -> Iterator[Seat]:
        """All who take children, level by level; trees without a root come last."""
        queue = deque(seat for seat in self._seats if seat.source)
        queue.extend(self._homeless[klass])
        while queue:
            seat = queue.popleft()
            if seat.hands[klass]:
                yield seat
            queue.extend(child for child in seat.children[klass] if child.hands[klass])

    def _leaf_of(self, parent: Seat, klass: int) -> Seat | None:
        return next((child for child in parent.children[klass] if not child.hands[klass]), None)

    def _depth(self, seat: Seat, klass: int) -> float:
        """How many steps from a source; infinitely many where there is none above."""
        depth, one = 0, seat
        while not one.source:
            above = one.parents[klass]
            if above is None:
                return math.inf
            depth, one = depth + 1, above
        return depth

    def _is_below(self, seat: Seat, above: Seat, klass: int) -> bool:
        """Whether the one gets this class by way of the other."""
        one: Seat | None = seat
        while one is not None:
            if one is above:
                return True
            one = one.parents[klass]
        return False


def _givers_first(seats: Iterable[Seat], klass: int) -> list[Seat]:
    """Those who take children themselves need a place near the root."""
    return sorted(seats, key=lambda seat: not seat.hands[klass])
