"""How each index stands: since when it does not answer, and until when it, or a page of it, is left alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from p2pcdn.bounded import forget_oldest
from p2pcdn.errors import Busy, Unavailable
from p2pcdn.world import Index

# An upstream that failed is left alone for so long before a stale page is worth another attempt.
DOWN_REST_S = 5.0
# After so long without an answer, pages hide the files that nobody near holds, so that resolvers choose from the rest.
DOWN_HIDES_AFTER_S = 30.0
# An upstream that names a time for a page gets it, up to this: it may be a mistake.
BUSY_REST_S_MAX = 60.0
# Pages for which a time was named, some 500 bytes each.
BUSY_PAGES_MAX = 4096


@dataclass(slots=True)
class Standing:
    """Of all indexes, by their keys. Used by one trio loop."""

    _failing_since: dict[str, float] = field(default_factory=dict)
    _failed_at: dict[str, float] = field(default_factory=dict)
    # By index and project: until when, and its own words.
    _busy: dict[tuple[str, str], tuple[float, Busy]] = field(default_factory=dict)

    def failed(self, index: Index, project: str, error: Unavailable) -> None:
        """It did not answer; or it said when to come again, for this page."""
        now = trio.current_time()
        if isinstance(error, Busy):
            self._busy[index.key, project] = now + min(error.retry_after_s, BUSY_REST_S_MAX), error
            forget_oldest(self._busy, BUSY_PAGES_MAX)
            if not error.down:
                return
        self._failing_since.setdefault(index.key, now)
        self._failed_at[index.key] = now

    def answered(self, index: Index, project: str) -> None:
        """It gave a page, or said that it has none."""
        self._failing_since.pop(index.key, None)
        self._failed_at.pop(index.key, None)
        self._busy.pop((index.key, project), None)

    def busy(self, index: Index, project: str) -> Busy | None:
        """What it said when it asked for time that is not over yet, with what is left of that."""
        until, error = self._busy.get((index.key, project), (0.0, None))
        left_s = until - trio.current_time()
        return Busy(str(error), retry_after_s=left_s) if error is not None and left_s > 0 else None

    def rests(self, index: Index, project: str) -> bool:
        """Whether it is left alone by who has a page in hand."""
        failed_at = self._failed_at.get(index.key)
        return self.busy(index, project) is not None or (
            failed_at is not None and trio.current_time() - failed_at < DOWN_REST_S
        )

    def seems_down(self, index: Index) -> bool:
        """Whether nothing came from it for so long that its files are not to be had either."""
        since = self._failing_since.get(index.key)
        return since is not None and trio.current_time() - since >= DOWN_HIDES_AFTER_S

    def is_failing(self, index: Index) -> bool:
        """Whether its last answer was none."""
        return index.key in self._failing_since
