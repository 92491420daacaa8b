"""How each index stands: since when it does not answer, and until when it is left alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from p2pcdn.errors import Busy, Unavailable
from p2pcdn.world import Index

# An upstream that failed is left alone for so long before a stale page is worth another attempt.
DOWN_REST_S = 5.0
# After so long without an answer, pages hide the files that nobody near holds, so that resolvers choose from the rest.
DOWN_HIDES_AFTER_S = 30.0
# An upstream that names a time gets it, up to this: what it says for one page stands for all, and may be a mistake.
BUSY_REST_S_MAX = 60.0


@dataclass(slots=True)
class Standing:
    """Of all indexes, by their keys. Used by one trio loop."""

    _failing_since: dict[str, float] = field(default_factory=dict)
    _failed_at: dict[str, float] = field(default_factory=dict)
    _busy: dict[str, tuple[float, Busy]] = field(default_factory=dict)  # until when, and its own words

    def failed(self, index: Index, error: Unavailable) -> None:
        """It did not answer; or it said when to come again, which is an answer."""
        now = trio.current_time()
        if isinstance(error, Busy):
            self._busy[index.key] = now + min(error.retry_after_s, BUSY_REST_S_MAX), error
            return
        self._failing_since.setdefault(index.key, now)
        self._failed_at[index.key] = now

    def answered(self, index: Index) -> None:
        """It gave a page, or said that it has none."""
        for noted in (self._failing_since, self._failed_at, self._busy):
            noted.pop(index.key, None)

    def busy(self, index: Index) -> Busy | None:
        """What it said when it asked for time that is not over yet, with what is left of that."""
        until, error = self._busy.get(index.key, (0.0, None))
        left_s = until - trio.current_time()
        return Busy(str(error), retry_after_s=left_s) if error is not None and left_s > 0 else None

    def rests(self, index: Index) -> bool:
        """Whether it is left alone by who has a page in hand."""
        failed_at = self._failed_at.get(index.key)
        return self.busy(index) is not None or (failed_at is not None and trio.current_time() - failed_at < DOWN_REST_S)

    def seems_down(self, index: Index) -> bool:
        """Whether nothing came from it for so long that its files are not to be had either."""
        since = self._failing_since.get(index.key)
        return since is not None and trio.current_time() - since >= DOWN_HIDES_AFTER_S

    def is_failing(self, index: Index) -> bool:
        """Whether its last answer was none."""
        return index.key in self._failing_since
