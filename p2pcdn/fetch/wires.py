"""How fast this node's wires to its upstreams were, as earlier readings have shown. Pure."""

from __future__ import annotations

# What is shorter says more about the way than about the wire: half of a window of TCP.
SIZE_BYTES_MIN = 1024 * 1024
# A wire of which nothing was heard for so long may be another one: the laptop has been carried home.
REMEMBERED_S = 3600.0
# How much the newest reading counts.
NEWEST = 0.5


class Meter:
    """One reading's. It counts what came after the first bytes, and only the time in which it was waited for."""

    __slots__ = ("_since", "last", "size_bytes", "took_s")

    def __init__(self) -> None:
        self.size_bytes = 0
        self.took_s = 0.0
        self.last = 0.0
        self._since: float | None = None

    def came(self, size_bytes: int, now: float) -> None:
        if self._since is not None:
            self.size_bytes += size_bytes
            self.took_s += now - self._since
        self.last = now

    def waits(self, now: float) -> None:
        """The next bytes may come."""
        self._since = now


class Wires:
    """Bytes a second of each index's upstream. Used on trio's thread."""

    def __init__(self) -> None:
        self._rates: dict[str, tuple[float, float]] = {}  # by the index's key: when, and the rate

    def note(self, index_key: str, meter: Meter) -> None:
        """A reading has ended."""
        if meter.size_bytes < SIZE_BYTES_MIN or meter.took_s <= 0:
            return
        rate = meter.size_bytes / meter.took_s
        before = self.of(index_key, meter.last)
        self._rates[index_key] = meter.last, rate if before is None else before + (rate - before) * NEWEST

    def of(self, index_key: str, now: float) -> float | None:
        """None where nothing was read of late."""
        noted_at, rate = self._rates.get(index_key, (0.0, 0.0))
        return rate if rate and now - noted_at < REMEMBERED_S else None
