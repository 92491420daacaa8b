"""Offline pages: what this node holds and what the room can give is listed, and metadata only where somebody has it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from inspect import isawaitable
from pathlib import Path
from typing import Any

import pytest
import trio

from p2pcdn.digest import Sha256
from p2pcdn.http1 import Request
from p2pcdn.index import HeldPage
from p2pcdn.index.freshness import Freshness
from p2pcdn.simple import parse_page
from p2pcdn.store import Origin, Store
from p2pcdn.web.pages import NEAR_KNOWN_S, PageDesk
from p2pcdn.world import Share
from tests.worlds import INDEX, InlineThreads, open_store

pytestmark = pytest.mark.usefixtures("autojump_clock")

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
NOW = 1_800_000_000.0


def content(version: str, ending: str = "") -> bytes:
    return f"six {version}{ending}".encode()


def held_page(*versions: str) -> HeldPage:
    files = [
        {
            "filename": f"six-{version}-py3-none-any.whl",
            "url": f"https://files.example/packages/{version}/six-{version}-py3-none-any.whl",
            "hashes": {"sha256": Sha256.of(content(version))},
            "core-metadata": {"sha256": Sha256.of(content(version, ".metadata"))},
            "data-dist-info-metadata": {"sha256": Sha256.of(content(version, ".metadata"))},
        }
        for version in versions
    ]
    body = json.dumps({"meta": {"api-version": "1.1"}, "name": "six", "files": files}).encode()
    page = parse_page(body, JSON_TYPE, f"{INDEX.url}six/", "six")
    return HeldPage(INDEX, "six", page, "v", NOW, Freshness(600, 0))


class Desk:
    """A desk of pages whose neighbours have the blobs in `near`."""

    def __init__(self, store: Store, nursery: trio.Nursery) -> None:
        self.near: set[Sha256] = set()
        self.asked: list[list[Sha256]] = []
        self.store = store
        self.desk = PageDesk(store, InlineThreads(), nursery, private_prefix="/t/x", held_nearby=self._held_nearby)

    async def _held_nearby(self, sha256s: Sequence[Sha256], share: Share) -> Collection[Sha256]:
        assert share == "lan"
        self.asked.append(list(sha256s))
        return self.near & set(sha256s)

    async def keep(self, what: bytes) -> None:
        await self.store.keep_small(what, Origin("f", "six", INDEX.key, "lan"), expected=Sha256.of(what))

    async def listed(self, held: HeldPage) -> dict[str, dict[str, Any]]:
        """The files of the page as a client sees it."""
        request = Request("GET", b"/simple/six/", "/simple/six/", "", {"accept": JSON_TYPE})
        response = self.desk.ready(request, held, NOW, near_only=True)
        if response is None:
            response = await self.desk.answer(request, held, NOW, near_only=True, asked=False)
        assert not isawaitable(response)
        assert isinstance(response.body, bytes)
        return {file["filename"].split("-")[1]: file for file in json.loads(response.body)["files"]}


@asynccontextmanager
async def desk_in(directory: Path) -> AsyncIterator[Desk]:
    async with open_store(directory) as store, trio.open_nursery() as nursery:
        yield Desk(store, nursery)
        nursery.cancel_scope.cancel()


async def test_a_page_lists_what_is_here_and_what_is_near(tmp_path: Path) -> None:
    held = held_page("1.0", "2.0", "3.0", "4.0")
    async with desk_in(tmp_path) as desk:
        await desk.keep(content("2.0"))
        desk.near = {Sha256.of(content("3.0"))}
        assert list(await desk.listed(held)) == ["2.0", "3.0"]
        assert desk.asked[0][0] == Sha256.of(content("4.0")), "the newest is asked for first"
        assert Sha256.of(content("2.0")) not in desk.asked[0], "nobody is asked for what is here"


async def test_metadata_is_advertised_where_somebody_has_it(tmp_path: Path) -> None:
    held = held_page("1.0", "2.0", "3.0")
    async with desk_in(tmp_path) as desk:
        for what in (content("1.0"), content("2.0"), content("2.0", ".metadata"), content("3.0")):
            await desk.keep(what)
        desk.near = {Sha256.of(content("3.0", ".metadata"))}
        listed = await desk.listed(held)
        for version in ("2.0", "3.0"):
            assert listed[version]["core-metadata"] == {"sha256": Sha256.of(content(version, ".metadata"))}
        for key in ("core-metadata", "data-dist-info-metadata", "dist-info-metadata"):
            assert key not in listed["1.0"]


async def test_what_changes_in_the_room_is_seen_within_seconds_and_not_asked_for_each_time(tmp_path: Path) -> None:
    held = held_page("1.0", "2.0")
    async with desk_in(tmp_path) as desk:
        for _ in range(3):
            assert list(await desk.listed(held)) == []
        assert len(desk.asked) == 1
        desk.near = {Sha256.of(content("1.0"))}
        await trio.sleep(NEAR_KNOWN_S)
        assert list(await desk.listed(held)) == ["1.0"]
        await desk.keep(content("2.0"))
        assert list(await desk.listed(held)) == ["1.0", "2.0"], "what comes here is seen at once"
        desk.near = set()
        await trio.sleep(NEAR_KNOWN_S)
        assert list(await desk.listed(held)) == ["2.0"]


async def test_a_class_that_asks_at_once_has_the_room_asked_once(tmp_path: Path) -> None:
    held = held_page("1.0")
    async with desk_in(tmp_path) as desk, trio.open_nursery() as clients:
        for _ in range(30):
            clients.start_soon(desk.listed, held)
    assert len(desk.asked) == 1
