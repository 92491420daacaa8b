"""Whether the room is so slow that this node had better read the origin beside it: its rate beside the wire's. Pure.

A room is to be no slower than the upstream alone. What a node's wire to an upstream gives, its earlier readings have
shown; where the room stays far below that, the node says so to the tracker, which lets one more read (decision 0008).
"""

from __future__ import annotations

from collections import deque

# A room in which pieces come quickly is judged after so long; else after so many times what a piece takes.
WINDOW_S, WINDOW_FACTOR = 2.0, 2.0
# So many times slower than the wire, and so much to be won: else the reading costs the upstream more than it helps.
SLOWER_FACTOR, GAIN_S_MIN = 2.0, 2.0
# What a reading beside the room brings is looked at after so long; a wire that has become slow brings nothing.
TRIAL_S = 3.0
# How often progress is noted.
NOTED_EVERY_S = 0.2


class Race:
    """One download's. `note` it often; now is trio's time. lost: the room has been found too slow, once for all."""

    def __init__(self, wire_bytes_s: float | None, *, on_air: bool) -> None:
        """wire_bytes_s: what this node has measured of its wire to the upstream; None where nothing."""
        self._wire_bytes_s = wire_bytes_s
        self._on_air = on_air
        self._notes: deque[tuple[float, int]] = deque()  # when, and how much had come from others by then
        self._room_bytes_s = 0.0  # when it was lost
        self._reading_since: float | None = None
        self._read_before = 0
        self.lost = False
        self._given_up = False

    def note(self, now: float, came_bytes: int, missing_bytes: int, *, piece_s: float, members: int) -> None:
        """Looks at the room. came_bytes: from others. piece_s: what a piece usually takes. members: of the crowd."""
        if self._wire_bytes_s is None or self.lost or self._given_up:
            return
        if not self._notes or now - self._notes[-1][0] >= NOTED_EVERY_S:
            self._notes.append((now, came_bytes))
        window_s = max(WINDOW_S, WINDOW_FACTOR * piece_s)
        while len(self._notes) > 1 and self._notes[1][0] <= now - window_s:
            self._notes.popleft()
        began, before = self._notes[0]
        if now - began < window_s:
            return
        room_bytes_s = (came_bytes - before) / (now - began)
        # On shared air the wire is everybody's, and what one gives another takes it twice.
        alone_bytes_s = self._wire_bytes_s / (2 * max(members, 1) if self._on_air else 1)
        alone_s = missing_bytes / alone_bytes_s
        room_s = missing_bytes / room_bytes_s if room_bytes_s else float("inf")
        if room_s > SLOWER_FACTOR * alone_s and room_s - alone_s > GAIN_S_MIN:
            self.lost, self._room_bytes_s = True, room_bytes_s

    def note_reading(self, now: float, read_bytes: int) -> None:
        """Looks at the reading beside the room, while it runs: one that is no quicker either is given up."""
        if not self.lost:
            return
        if self._reading_since is None:
            self._reading_since, self._read_before = now, read_bytes
        elif now - self._reading_since > TRIAL_S:
            rate = (read_bytes - self._read_before) / (now - self._reading_since)
            if rate < SLOWER_FACTOR * self._room_bytes_s:
                self.lost, self._given_up = False, True
