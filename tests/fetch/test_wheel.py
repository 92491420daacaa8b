"""METADATA read out of wheels, whole ones and broken ones."""

from __future__ import annotations

import io
import math
import random
import time
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcdn.errors import RemoteProtocolError
from p2pcdn.fetch.wheel import Read, wheel_metadata

NAME = "Demo_Pkg-1.0-py3-none-any.whl"
METADATA = b"Metadata-Version: 2.1\nName: Demo-Pkg\nVersion: 1.0\n" + b"x" * 3000


def wheel(member: str = "Demo_Pkg-1.0.dist-info/METADATA", *, stored: bool = False, extra_files: int = 3) -> bytes:
    buffer = io.BytesIO()
    method = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for number in range(extra_files):
            archive.writestr(f"demo_pkg/module_{number}.py", f"n = {number}\n" * 50)
        archive.writestr(member, METADATA)
        archive.writestr("Demo_Pkg-1.0.dist-info/RECORD", "")
    return buffer.getvalue()


def reader(content: bytes, asked: list[int] | None = None) -> Read:
    async def read(offset: int, size_bytes: int) -> bytes:
        if asked is not None:
            asked.append(size_bytes)
        assert size_bytes >= 0
        assert 0 <= offset <= len(content)
        return content[offset : offset + size_bytes]

    return read


@pytest.mark.parametrize("stored", [True, False])
async def test_metadata_is_read_from_a_stored_and_from_a_deflated_member(stored: bool) -> None:
    content = wheel(stored=stored)
    assert await wheel_metadata(NAME, len(content), reader(content)) == METADATA


async def test_the_member_is_found_though_the_builder_spelled_the_project_otherwise() -> None:
    content = wheel("demo.pkg-1.0.dist-info/METADATA")
    assert await wheel_metadata(NAME, len(content), reader(content)) == METADATA


async def test_a_large_wheel_costs_a_few_small_reads() -> None:
    noise = random.Random(1).randbytes(5_000_000)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("demo_pkg/big.bin", noise)
        archive.writestr("Demo_Pkg-1.0.dist-info/METADATA", METADATA)
    content, asked = buffer.getvalue(), list[int]()
    assert await wheel_metadata(NAME, len(content), reader(content, asked)) == METADATA
    assert sum(asked) < 80_000
    assert len(asked) <= 3


async def test_a_directory_that_does_not_fit_the_first_read_comes_with_the_metadata_before_it() -> None:
    content, asked = wheel(extra_files=3000), list[int]()
    assert await wheel_metadata(NAME, len(content), reader(content, asked)) == METADATA
    assert len(asked) == 2


async def test_what_came_with_the_end_of_the_file_is_not_asked_for_again() -> None:
    content, asked = wheel(), list[int]()
    assert await wheel_metadata(NAME, len(content), reader(content, asked)) == METADATA
    assert len(asked) == 1
    assert await wheel_metadata(NAME, len(content), reader(content, asked), content[-40_000:]) == METADATA
    assert len(asked) == 1


async def test_metadata_at_the_beginning_of_a_large_wheel_costs_one_more_question() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("Demo_Pkg-1.0.dist-info/METADATA", METADATA)
        archive.writestr("demo_pkg/big.bin", random.Random(1).randbytes(500_000))
    content, asked = buffer.getvalue(), list[int]()
    assert await wheel_metadata(NAME, len(content), reader(content, asked)) == METADATA
    assert len(asked) == 2


async def test_ten_times_the_members_take_ten_times_as_long_and_no_hundred_times() -> None:
    few, many = wheel(extra_files=1_000), wheel(extra_files=10_000)

    async def seconds(content: bytes) -> float:
        best_s = math.inf
        for _ in range(3):
            began_s = time.process_time()
            assert await wheel_metadata(NAME, len(content), reader(content)) == METADATA
            best_s = min(best_s, time.process_time() - began_s)
        return best_s

    assert await seconds(many) < 35 * await seconds(few)


async def test_a_wheel_with_too_many_members_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    content = wheel(extra_files=100)
    monkeypatch.setattr("p2pcdn.fetch.wheel.MEMBERS_MAX", 100)
    with pytest.raises(RemoteProtocolError, match="more than 100 members"):
        await wheel_metadata(NAME, len(content), reader(content))


@pytest.mark.parametrize("content", [b"", b"PK", b"<html>sorry</html>" * 100, wheel("other-1.0.dist-info/METADATA")])
async def test_what_is_no_wheel_of_this_name_is_refused(content: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        await wheel_metadata(NAME, len(content), reader(content))


async def test_a_name_that_is_no_wheels_is_refused() -> None:
    content = wheel()
    with pytest.raises(RemoteProtocolError, match="not the name"):
        await wheel_metadata("demo.whl", len(content), reader(content))


async def test_a_member_that_does_not_match_its_checksum_is_refused() -> None:
    content = bytearray(wheel(stored=True))
    content[content.find(b"Metadata-Version")] ^= 1
    with pytest.raises(RemoteProtocolError, match="checksum"):
        await wheel_metadata(NAME, len(content), reader(bytes(content)))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_bytes_changed_anywhere_give_the_metadata_or_the_documented_error(data: st.DataObject) -> None:
    import trio

    content = bytearray(wheel())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))

    async def check() -> None:
        try:
            found = await wheel_metadata(NAME, len(content), lenient(bytes(content)))
        except RemoteProtocolError:
            return
        assert found == METADATA

    trio.run(check)


def lenient(content: bytes) -> Read:
    """As a file behaves: beyond its end there is nothing."""

    async def read(offset: int, size_bytes: int) -> bytes:
        assert offset >= 0
        assert size_bytes >= 0
        return content[offset : offset + size_bytes]

    return read
