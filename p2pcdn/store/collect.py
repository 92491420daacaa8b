"""Which blobs and trees have to go: the least recently used beyond the limit, and those nobody used for long. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# An eviction goes a little below the limit, so that not every new blob reads all rows again (100,000 rows: 0.2 s).
COLLECT_TO = 0.95
# How often the age of blobs is looked at, when nothing else asks.
AGE_CHECK_S = 3600.0
# A partial that nobody touched for a week will not be resumed.
IDLE_PARTIAL_KEPT_S = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Freed:
    """What a collection gave back."""

    bytes: int = 0
    blobs: int = 0
    trees: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A blob that may go, not pinned and not open, or a tree. buried: withdrawn, so it goes first.

    A tree whose blob was used as lately goes before it: it can be made again without the network.
    """

    key: bytes
    size_bytes: int
    used_at: float
    buried: bool
    is_tree: bool = False


def choose(candidates: Iterable[Candidate], excess_bytes: int, used_before: float | None) -> Sequence[Candidate]:
    """Those that must go to give `excess_bytes` back, and all that were last used before `used_before`."""
    chosen = []
    for candidate in sorted(candidates, key=lambda one: (not one.buried, one.used_at, not one.is_tree, one.key)):
        expired = used_before is not None and candidate.used_at < used_before
        if excess_bytes > 0 or expired:
            chosen.append(candidate)
            excess_bytes -= candidate.size_bytes
    return chosen
