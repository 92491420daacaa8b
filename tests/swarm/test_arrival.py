"""A piece on its way in: parts are checked one by one, and passed on before the piece is whole."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from p2pcdn.digest import Sha256
from p2pcdn.errors import RemoteProtocolError, Unavailable
from p2pcdn.http1 import FileSlice
from p2pcdn.swarm.pieces.arrival import Arrival
from p2pcdn.swarm.pieces.manifest import PARTS_PER_PIECE, Cut, part_hashes, piece_hash

CONTENT = bytes(range(256)) * 33  # 8,448 bytes: four pieces of 2,048, and one of 256
CUT = Cut(len(CONTENT), 2048)
PART = 2048 // PARTS_PER_PIECE
FILE = Sha256.of(CONTENT)


class NoFile:
    """Never read here: slices of it are only named."""

    def fileno(self) -> int:
        return -1


def piece(index: int) -> bytes:
    start, end = CUT.span(index)
    return CONTENT[start:end]


def arriving(index: int = 1) -> Arrival:
    return Arrival(FILE, CUT, index, part_hashes(FILE, CUT, index, piece(index)), None)


@given(st.integers(1, 5000), st.integers(1, 2048))
def test_the_parts_of_a_piece_cover_it_once(size_bytes: int, piece_size_bytes: int) -> None:
    cut = Cut(size_bytes, piece_size_bytes)
    for index in range(cut.pieces):
        start, end = cut.span(index)
        parts = cut.parts(index)
        assert [at for at, _ in parts] == [0, *[stop for _, stop in parts[:-1]]]
        assert parts[-1][1] == end - start
        assert len(parts) <= PARTS_PER_PIECE


def test_a_part_counts_as_soon_as_all_of_it_is_here() -> None:
    arrival, body = arriving(), memoryview(piece(1))
    seen = []
    for size in (0, PART - 1, PART, 3 * PART - 1, 3 * PART, 2048):
        arrival.grew(body[:size])
        seen.append(arrival.right)
    assert seen == [0, 0, 1, 2, 3, PARTS_PER_PIECE]
    assert arrival.whole


@given(st.integers(0, 2047))
def test_one_wrong_byte_anywhere_is_seen_with_its_part(at: int) -> None:
    wrong = bytearray(piece(1))
    wrong[at] ^= 1
    arrival = arriving()
    with pytest.raises(RemoteProtocolError, match="piece 1"):
        arrival.grew(memoryview(wrong))
    assert arrival.right == at // PART


def test_another_number_of_hashes_than_of_parts_is_refused() -> None:
    hashes = part_hashes(FILE, CUT, 1, piece(1))
    for parts in (b"", hashes[:-32], hashes + bytes(32), hashes[:-1]):
        with pytest.raises(RemoteProtocolError, match="number of parts"):
            Arrival(FILE, CUT, 1, parts, None)


def test_parts_of_one_piece_prove_no_other_place_or_file() -> None:
    first, again = part_hashes(FILE, CUT, 0, piece(0)), part_hashes(FILE, CUT, 1, piece(0))
    assert piece(0) == piece(1)
    assert first != again
    assert piece_hash(FILE, CUT, 0, first) != piece_hash(FILE, CUT, 1, first)
    assert piece_hash(Sha256("0" * 64), CUT, 0, first) != piece_hash(FILE, CUT, 0, first)


async def test_what_is_right_goes_on_before_the_piece_is_whole(autojump_clock: trio.testing.MockClock) -> None:
    arrival, body, came = arriving(), memoryview(piece(1)), bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_collect, arrival.passed_on(NoFile()), came)  # type: ignore[arg-type]
        for size in (300, 800, 2048):
            arrival.grew(body[:size])
            await trio.testing.wait_all_tasks_blocked()
            assert bytes(came) == body[: size // PART * PART]


async def test_a_slow_receiver_gets_the_rest_from_the_disk(autojump_clock: trio.testing.MockClock) -> None:
    arrival, body, file = arriving(), memoryview(piece(1)), NoFile()
    arrival.grew(body[:600])
    passing = arrival.passed_on(file)  # type: ignore[arg-type]
    assert await anext(passing) == body[: 600 // PART * PART]
    arrival.grew(body)
    arrival.end(kept=True)
    assert await anext(passing) == FileSlice(file, 2048 + 600 // PART * PART, 2048 - 600 // PART * PART)  # type: ignore[arg-type]
    with pytest.raises(StopAsyncIteration):
        await anext(passing)


async def test_a_giver_that_breaks_off_ends_what_is_passed_on(autojump_clock: trio.testing.MockClock) -> None:
    arrival = arriving()
    arrival.grew(memoryview(piece(1))[:PART])
    passing = arrival.passed_on(NoFile())  # type: ignore[arg-type]
    assert await anext(passing) == piece(1)[:PART]
    arrival.end(kept=False)
    with pytest.raises(Unavailable):
        await anext(passing)


async def test_what_the_wire_takes_goes_out_without_a_switch_of_tasks(autojump_clock: trio.testing.MockClock) -> None:
    arrival, body, pushed, came = arriving(), memoryview(piece(1)), bytearray(), bytearray()
    passing = arrival.passed_on(NoFile())  # type: ignore[arg-type]

    def push(content: memoryview) -> int:
        taken = content[: PART + 7]
        pushed.extend(taken)
        return len(taken)

    passing.push = push
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_collect, passing, came)
        await trio.testing.wait_all_tasks_blocked()
        arrival.grew(body[:PART])
        assert (bytes(pushed), bytes(came)) == (body[:PART], b""), "nobody else had a turn"
        arrival.grew(body[: 3 * PART])
        await trio.testing.wait_all_tasks_blocked()
        assert pushed + came == body[: 3 * PART]
        assert len(came) == PART - 7, "what the wire did not take its own task sends"
        arrival.grew(body)
    assert len(pushed) + len(came) == len(body)
    arrival.leave(passing)


async def test_who_was_cancelled_is_given_nothing(autojump_clock: trio.testing.MockClock) -> None:
    arrival = arriving()
    passing = arrival.passed_on(NoFile())  # type: ignore[arg-type]
    passing.push = lambda content: pytest.fail("it is gone")  # type: ignore[func-returns-value]
    with trio.move_on_after(1):
        await anext(passing)
    arrival.grew(memoryview(piece(1)))
    arrival.end(kept=True)


async def _collect(parts: AsyncIterator[bytes | FileSlice], came: bytearray) -> None:
    async for part in parts:
        assert isinstance(part, bytes)
        came += part
