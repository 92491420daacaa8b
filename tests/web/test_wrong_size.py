"""A page that says another size than its file has, to a client that got his head before the first byte came."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator
from pathlib import Path
from types import AsyncGeneratorType

import pytest

from p2pcdn.errors import RemoteProtocolError
from p2pcdn.fetch import Wanted
from p2pcdn.http1 import FileSlice, Request, Response
from p2pcdn.web.files import FIRST_BYTE_WAIT_S, FileDesk
from tests.fetch.test_fetch import CONTENT, scripted, wanted
from tests.worlds import Answer

pytestmark = pytest.mark.usefixtures("autojump_clock")


async def body_of(response: Response) -> bytes:
    body, got = response.body, bytearray()
    assert isinstance(body, AsyncGeneratorType)
    parts: AsyncGenerator[bytes | FileSlice] = body
    async for part in parts:
        got += await part.file.pread(part.size_bytes, part.offset) if isinstance(part, FileSlice) else part
    return bytes(got)


def of_size(size_bytes: int) -> Wanted:
    return dataclasses.replace(wanted(), file=dataclasses.replace(wanted().file, size_bytes=size_bytes))


@pytest.mark.parametrize("more", [-1, 1, -1_000_000])
@pytest.mark.parametrize("headers", [{}, {"range": "bytes=1000-"}, {"range": "bytes=0-9"}])
async def test_a_body_of_the_wrong_length_is_broken_off_and_the_next_one_is_right(
    tmp_path: Path, more: int, headers: dict[str, str]
) -> None:
    what, request = of_size(len(CONTENT) + more), Request("GET", b"/", "/", "", headers)
    slow = Answer(CONTENT, delay_s=FIRST_BYTE_WAIT_S + 1)
    async with scripted(tmp_path, lambda url, asked: slow) as (world, _):
        desk = FileDesk(world.fetch, world.metadata, world.delivery, world.counters)
        response = await desk.answer(request, what)
        with pytest.raises(RemoteProtocolError, match=f"has {len(CONTENT)} bytes, and its index says"):
            await body_of(response)
        assert await world.get(what) == CONTENT
