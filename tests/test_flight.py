"""One flight per key."""

from __future__ import annotations

import pytest
import trio

from p2pcdn.flight import Flights


async def test_all_who_ask_at_once_get_the_outcome_of_one_flight(autojump_clock: trio.abc.Clock) -> None:
    flown: list[str] = []
    got: list[int] = []

    async def work() -> int:
        flown.append("once")
        await trio.sleep(1)
        return 7

    async with trio.open_nursery() as nursery:
        flights: Flights[str, int] = Flights(nursery)

        async def ask() -> None:
            got.append(await flights.join("torch", work))

        async with trio.open_nursery() as askers:
            for _ in range(20):
                askers.start_soon(ask)
    assert flown == ["once"]
    assert got == [7] * 20


async def test_who_leaves_stops_nobody(autojump_clock: trio.abc.Clock) -> None:
    async with trio.open_nursery() as nursery:
        flights: Flights[str, str] = Flights(nursery)

        async def work() -> str:
            await trio.sleep(10)
            return "here"

        with trio.move_on_after(1):
            await flights.join("torch", work)
        assert await flights.join("torch", work) == "here"
        assert trio.current_time() >= 10


async def test_an_error_reaches_everyone_who_joined_and_the_next_flight_begins_anew(
    autojump_clock: trio.abc.Clock,
) -> None:
    attempts = 0
    async with trio.open_nursery() as nursery:
        flights: Flights[str, str] = Flights(nursery)

        async def work() -> str:
            nonlocal attempts
            attempts += 1
            await trio.sleep(1)
            if attempts == 1:
                raise OSError("cut")
            return "here"

        async def meets_the_cut() -> None:
            with pytest.raises(OSError, match="cut"):
                await flights.join("torch", work)

        async with trio.open_nursery() as askers:
            askers.start_soon(meets_the_cut)
            askers.start_soon(meets_the_cut)
        assert await flights.join("torch", work) == "here"
        assert attempts == 2
