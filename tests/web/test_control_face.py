"""The control face, asked by somebody who is not `p2pcdn`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from p2pcdn.counters import Counters
from p2pcdn.http1 import Request, Response
from p2pcdn.web.control_face import ControlFace
from tests.worlds import INDEX, open_store


@asynccontextmanager
async def control_face(directory: Path) -> AsyncIterator[ControlFace]:
    async with open_store(directory) as store, trio.open_nursery() as nursery:
        yield ControlFace(store=store, counters=Counters(), indexes=(INDEX,), status=dict, peers=list, nursery=nursery)
        nursery.cancel_scope.cancel()


async def post(face: ControlFace, path: str, content: bytes) -> Response:
    async def body() -> AsyncIterator[bytes]:
        yield content

    return await face(Request("POST", path.encode(), path, "", {}, body=body()))


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/v1/gc", b'{"to_bytes": true}'),
        ("/v1/gc", b'{"to_bytes": 1.5}'),
        ("/v1/gc", b'{"to_bytes": "1"}'),
        ("/v1/gc", b"\xff"),
        ("/v1/gc", b"[]"),
        ("/v1/pin", b'{"projects": 5}'),
        ("/v1/pin", b'{"projects": null}'),
        ("/v1/pin", b'{"projects": "numpy"}'),
        ("/v1/pin", b'{"projects": [1]}'),
        ("/v1/pin", b"[" * 200_000),
    ],
)
async def test_a_body_that_makes_no_sense_is_a_400_and_changes_nothing(
    tmp_path: Path, autojump_clock: trio.abc.Clock, path: str, content: bytes
) -> None:
    async with control_face(tmp_path) as face:
        assert (await post(face, path, content)).status == 400


async def test_a_scrub_that_cannot_read_the_disk_says_so_and_the_node_goes_on(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with control_face(tmp_path) as face:
        (tmp_path / "store" / "blobs" / "stray").write_bytes(b"")
        response = await post(face, "/v1/verify", b"")
        assert isinstance(response.body, AsyncIterator)
        lines = [line async for line in response.body]
        assert isinstance(lines[-1], bytes)
        assert b"error" in lines[-1]
