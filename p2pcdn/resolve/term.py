"""A term is a set of the states that a package may be in, as the bits of an integer.

Bit 0 says that the package is absent; bit i + 1, that version i is chosen. So a term of the paper, positive or
negative, is one integer: a positive one lacks bit 0; a negative one is the complement of a positive one, which in two's
complement goes on for ever. And the algebra of terms is that of integers: `&` both, `|` either, `~` not; `a & ~b == 0`
says that a satisfies b, `a & b == 0` that it contradicts it. A thousand versions are 125 bytes, and an operation takes
some 60 ns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

ABSENT = 1
ANYTHING = -1
# Whichever version, but there.
PRESENT = ANYTHING & ~ABSENT
NOTHING = 0


def is_positive(term: int) -> bool:
    """Whether it says that the package is there."""
    return not term & ABSENT


def version(index: int) -> int:
    """The term that only this version satisfies."""
    return 2 << index


def versions(start: int, stop: int) -> int:
    """The term that the versions from start to before stop satisfy."""
    return (2 << stop) - (2 << start) if start < stop else NOTHING


def of_versions(indices: Iterable[int]) -> int:
    found = NOTHING
    for index in indices:
        found |= version(index)
    return found


def highest(term: int) -> int:
    """The index of the highest version of a finite, positive, satisfiable term."""
    return term.bit_length() - 2


def lowest(term: int) -> int:
    return (term & -term).bit_length() - 2


def downwards(term: int) -> Iterator[int]:
    """The versions of a finite, positive term, highest first."""
    while term:
        yield (index := highest(term))
        term ^= version(index)


def upwards(term: int) -> Iterator[int]:
    while term:
        yield (index := lowest(term))
        term ^= version(index)


def runs(term: int) -> Iterator[tuple[int, int]]:
    """The finite, positive term as (start, stop) of neighbouring versions, lowest first."""
    while term:
        start = lowest(term)
        stop = start + lowest(~(term >> start + 1) << 1)
        yield start, stop
        term &= ~versions(start, stop)
