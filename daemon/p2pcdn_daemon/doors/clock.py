"""The wall clock of this machine."""

from __future__ import annotations

import time


class WallClock:
    """The `p2pcdn.world.Clock` of the real world."""

    def now(self) -> float:
        """Seconds since 1970, UTC. May jump."""
        return time.time()
