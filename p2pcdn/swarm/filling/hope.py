"""How long a room has given one download nothing, and how long it may before somebody is doubted. Pure.

What is said counts for nothing here, for it can be said for ever: only bytes that are right do.
"""

from __future__ import annotations

import math

from p2pcdn.swarm.wire.advice import Advice

# A crowd in which nobody brings anything for so long is doubted, whoever holds the leases.
SILENT_CROWD_S = 12.0
# A tracker gives the lease of a reader that brings nothing to another one: who reads next is known so long after that
# at the latest. The reader tells each second that it has more, and the others ask each second.
TURN_TOLD_S = 2.0


class Hope:
    """One download's; now is trio's time."""

    def __init__(self, now: float) -> None:
        self._came_bytes = 0
        self._proven_at = self._moved_at = now
        self._lacking_since = math.inf  # since when others have what we have not
        self._unadvised_since = math.inf  # since when the tracker names nobody to ask, and does not let us read
        self._named: dict[bytes, None] | None = None  # those that the tracker has named as readers or holders
        self._turns = 0  # how many more it has named since something came

    # --- what there is to hope on

    def note_came(self, now: float, came_bytes: int) -> float:
        """came_bytes: that are kept, all in all. For how long none had come before; 0 where these are no more."""
        if came_bytes == self._came_bytes:
            return 0.0
        quiet_s = now - self._proven_at
        self._came_bytes = came_bytes
        self.note_right(now)
        return quiet_s

    def note_right(self, right_at: float) -> None:
        """When a part of a piece came last that is right."""
        if right_at > self._proven_at:
            self._proven_at, self._turns = right_at, 0
            self._moved_at = max(self._moved_at, right_at)

    def note_heard(self, heard_at: float, counts_s: float) -> None:
        """When bytes came of which the whole piece will show whether they are right; that counts for so long."""
        self._moved_at = max(self._moved_at, min(heard_at, self._proven_at + counts_s))

    def note_advice(self, now: float, advice: Advice) -> None:
        """Whom the tracker names."""
        self._unadvised_since = math.inf if advice.parents or advice.read else min(self._unadvised_since, now)
        makers = dict.fromkeys(device for device, _ in advice.makers)
        if self._named is None:
            self._named = makers
        elif not makers.keys() <= self._named.keys():
            self._named |= makers
            self._turns += 1

    def note_lack(self, now: float, *, lacks: bool) -> None:
        """Whether others have what we have not."""
        self._lacking_since = min(self._lacking_since, now) if lacks else math.inf

    def begins_anew(self, now: float) -> None:
        """Others are to give from now on."""
        self._moved_at = now
        self._named, self._turns = None, 0

    # --- how much is left

    def silent_s(self, now: float) -> float:
        """For how long nothing has moved."""
        return now - self._moved_at

    def is_lost(self, now: float, patience_s: float, *, can_read: bool) -> bool:
        """Whether the room will not give what is missing, or not soon.

        can_read: the origin. While nobody has more than we have, somebody may be waiting for its first byte. But a
        reader that brings nothing for the time of its lease is followed by another one, for which twice the time is
        given: a tracker that names nobody else then is no tracker.
        """
        # What has just come to somebody is still on its way to us, however long ago the last piece came.
        since = min(self._lacking_since, self._unadvised_since)
        if not can_read or now - since > patience_s:
            return self.silent_s(now) > patience_s
        turns_s = patience_s * ((2 << min(self._turns, 8)) - 1) + TURN_TOLD_S
        return self.silent_s(now) > min(turns_s, SILENT_CROWD_S)
