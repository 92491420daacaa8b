"""One flight per key: however many ask for the same thing at once, it is done once, and nobody who leaves stops it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import trio

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Flights(Generic[K, T]):
    """The flights under way. Each runs in the nursery given here, not in the task of whoever asked first."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._under_way: dict[K, _Flight[T]] = {}

    def __contains__(self, key: K) -> bool:
        return key in self._under_way

    def start(self, key: K, work: Callable[[], Awaitable[T]]) -> None:
        """Begins `work` unless it is under way; its error is nobody's if nobody joins."""
        if key not in self._under_way:
            flight = self._under_way[key] = _Flight[T]()
            self._nursery.start_soon(self._fly, key, flight, work)

    async def join(self, key: K, work: Callable[[], Awaitable[T]]) -> T:
        """The outcome of the flight for this key, begun here if need be. Raises what `work` raised."""
        self.start(key, work)
        flight = self._under_way[key]
        await flight.landed.wait()
        return flight.outcome()

    async def _fly(self, key: K, flight: _Flight[T], work: Callable[[], Awaitable[T]]) -> None:
        try:
            flight.results.append(await work())
        except Exception as error:  # it is raised again in everyone who joined
            flight.error = error
        finally:
            del self._under_way[key]
            flight.landed.set()


class _Flight(Generic[T]):
    __slots__ = ("error", "landed", "results")

    def __init__(self) -> None:
        self.landed = trio.Event()
        self.results: list[T] = []
        self.error: Exception | None = None

    def outcome(self) -> T:
        if self.error is not None:
            raise self.error
        if not self.results:
            raise trio.BrokenResourceError("the node is stopping")
        return self.results[0]
