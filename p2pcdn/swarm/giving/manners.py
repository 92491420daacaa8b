"""How much a node gives to its neighbours, so that whoever sits at the machine does not feel it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

# Pieces on their way out at once, of all files together, from a machine on a wire: four files at full width.
SLOTS = 12
# From one that should not be felt: one file at full width. Fewer would starve the neighbours behind it in the crowd.
SLOTS_SPARING = 3
# What may go out at once although a limit is set: half a second of it. Longer, and a telephone call beside it stutters.
BURST_S = 0.5


@dataclass(frozen=True, slots=True)
class Manners:
    """What the machine and its link make of a node.

    upload_limit_bytes_s: bytes a second to all neighbours together; None where nothing limits it.
    slots: how many pieces are on their way out at once; 0 gives nothing to anybody, neither manifests nor small files.
    prefers_to_give: whether others should ask here first: it stands on a wire and on mains power.
    on_air: whether its link is a medium on which all take turns, and a byte between two neighbours takes two.
    """

    upload_limit_bytes_s: int | None = None
    slots: int = SLOTS
    prefers_to_give: bool = True
    on_air: bool = False


class Allowance:
    """A limit on bytes a second, as a schedule: whoever gives something is told how long to wait before it begins.

    Where refusing is better than waiting, as in the swarm: while there is a `backlog_s`, the answer is "later"; else
    `wait_s` is called for its effect, and what it returns is 0.

    Used by one task at a time; times are trio's. However it is called, no span of t seconds sees more than
    `bytes_s * (t + BURST_S)` bytes begun, and one answer more.
    """

    def __init__(self, bytes_s: int | None) -> None:
        """bytes_s: None or 0 limits nothing."""
        self._bytes_s = bytes_s or 0
        # Until when what was given already takes; in the past by as much as may still go at once.
        self._given_until = float("-inf")

    def wait_s(self, size_bytes: int, now: float) -> float:
        """Takes so many bytes and returns how long to wait before they may go; 0 without a limit."""
        if not self._bytes_s:
            return 0.0
        begin = max(self._given_until, now - BURST_S)
        self._given_until = begin + size_bytes / self._bytes_s
        return max(0.0, begin - now)

    def backlog_s(self, now: float) -> float:
        """How long the next byte would wait. Where that is longer than an asker's patience, "later" is the answer."""
        return max(0.0, self._given_until - now) if self._bytes_s else 0.0
