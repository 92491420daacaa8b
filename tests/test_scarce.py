"""A machine that gives no more threads for a while (a limit of processes): what was begun fails, and the node lives."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import trio

from p2pcdn.counters import Counters
from p2pcdn.digest import Sha256
from p2pcdn.group import Device, Identity
from p2pcdn.http1 import Request
from p2pcdn.node import UPKEEP_EVERY_S, Node, Settings
from p2pcdn.store import StoreLimits
from p2pcdn.store.collect import AGE_CHECK_S
from p2pcdn.web.control_face import ControlFace
from p2pcdn.world import World
from tests.web.test_index_face import JSON_TYPE, PATH, face, page
from tests.worlds import INDEX, Answer, InlineDisk, InlineThreads, ScriptedUpstream, VirtualClock, open_store


class Scarcity:
    """Whether threads are to be had now."""

    now = False


@pytest.fixture
def scarcity(monkeypatch: pytest.MonkeyPatch) -> Scarcity:
    scarcity, run = Scarcity(), InlineThreads.run

    async def run_if_possible(self: InlineThreads, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if scarcity.now:
            raise RuntimeError("can't start new thread")
        return await run(self, function, *args, **kwargs)

    monkeypatch.setattr(InlineThreads, "run", run_if_possible)
    return scarcity


async def test_a_file_that_was_kept_is_given_though_nothing_more_could_be_done_with_it(
    tmp_path: Path, autojump_clock: trio.abc.Clock, scarcity: Scarcity
) -> None:
    wheel = wheel_of("demo", "1.0")
    listed = page(hashes={"sha256": Sha256.of(wheel)}, size=len(wheel))

    def upstream(url: str, headers: Mapping[str, str]) -> Answer:
        return Answer(listed, headers={"content-type": JSON_TYPE}) if url.endswith("/demo/") else Answer(wheel)

    async with face(tmp_path, upstream) as node:
        # Its METADATA is taken out of it next.
        node.store.on_kept = lambda _: setattr(scarcity, "now", True)
        assert (await node.ask(PATH))[2] == wheel
        await trio.sleep(1)
        assert scarcity.now
        assert (await node.ask(PATH))[2] == wheel
        scarcity.now = False


def wheel_of(name: str, version: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(f"{name}-{version}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\n")
    return content.getvalue()


async def test_a_scrub_that_could_not_be_done_is_told(
    tmp_path: Path, autojump_clock: trio.abc.Clock, scarcity: Scarcity
) -> None:
    async with open_store(tmp_path) as store, trio.open_nursery() as nursery:
        control = ControlFace(
            store=store, counters=Counters(), indexes=(INDEX,), status=dict, peers=list, nursery=nursery
        )
        scarcity.now = True
        response = await control(Request("POST", b"/v1/verify", "/v1/verify", "", {}))
        assert isinstance(response.body, AsyncIterator)
        assert [b"error" in line async for line in response.body if isinstance(line, bytes)] == [True]
        scarcity.now = False


async def test_a_store_that_could_not_be_tidied_ends_no_node(
    tmp_path: Path, autojump_clock: trio.abc.Clock, scarcity: Scarcity
) -> None:
    limits = StoreLimits(size_bytes=1 << 30, keep_for_s=3600.0, pages_bytes=1 << 26, reserve_bytes=0)
    settings = Settings((INDEX,), False, limits, (), (), "1", Identity(Device.from_seed(bytes(32)), None))
    async with open_store(tmp_path, limits) as store, trio.open_nursery() as nursery:
        world = World(
            upstream=ScriptedUpstream(lambda url, headers: Answer(status=404)),
            network=NoNetwork(),
            discoveries=(),
            disk=InlineDisk(),
            threads=InlineThreads(),
            clock=VirtualClock(),
            random=random.Random(1),
        )
        node = Node(settings, store, world, node_id="1" * 32, token="token")
        stop = trio.Event()

        async def run(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            await node.run(
                index_listeners=(), peer_listeners=(), control_listeners=(), stop=stop, task_status=task_status
            )

        await nursery.start(run)
        scarcity.now = True
        await trio.sleep(AGE_CHECK_S + 3 * UPKEEP_EVERY_S)
        scarcity.now = False
        assert node.status()["health"] == "ok"
        stop.set()


class NoNetwork:
    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        raise OSError("no network")

    connect_sealed: Any = connect
