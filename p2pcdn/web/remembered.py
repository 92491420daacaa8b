"""Values in memory up to a size: what was used longest ago is forgotten first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """Used by one trio loop. The value that was put last stays, however large it is."""

    def __init__(self, size_bytes_max: int) -> None:
        self._size_bytes_max = size_bytes_max
        self._size_bytes = 0
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        found = self._values.get(key)
        if found is None:
            return None
        self._values.move_to_end(key)
        return found[0]

    def put(self, key: K, value: V, size_bytes: int) -> None:
        self._drop(key)
        self._values[key] = value, size_bytes
        self._size_bytes += size_bytes
        while self._size_bytes > self._size_bytes_max and len(self._values) > 1:
            self._drop(next(iter(self._values)))

    def forget(self, which: Callable[[K], bool]) -> None:
        for key in [key for key in self._values if which(key)]:
            self._drop(key)

    def _drop(self, key: K) -> None:
        _, size_bytes = self._values.pop(key, (None, 0))
        self._size_bytes -= size_bytes
