"""The index face of a node without an upstream, whose neighbour does not answer: what its client is told."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio

from p2pcdn.counters import Counters
from p2pcdn.errors import Unavailable
from p2pcdn.fetch import Delivery, OriginReader
from p2pcdn.http1 import Request
from p2pcdn.web.files import FileDesk
from tests.fetch.test_fetch import wanted
from tests.fetch.test_silent_room import PIPS_PATIENCE_S, student_of
from tests.swarm.test_virtual_time import CONTENT
from tests.worlds import Answer, ScriptedUpstream

pytestmark = pytest.mark.usefixtures("autojump_clock")


@pytest.mark.parametrize("how", ["silent", "deaf"])
async def test_that_nobody_answered_is_a_status_and_no_body_that_breaks_off(tmp_path: Path, how: str) -> None:
    async with student_of(tmp_path) as student, trio.open_nursery() as nursery:
        counters = Counters()
        origin = OriginReader(ScriptedUpstream(lambda url, asked: Answer()), counters, random.Random(1), offline=True)
        desk = FileDesk(student.fetch, student.metadata, Delivery(origin, nursery), counters)
        student.falls_silent(how, for_s=1000)
        await trio.lowlevel.checkpoint()
        began = trio.current_time()
        with pytest.raises(Unavailable, match="did not answer in time"):
            await desk.answer(Request("GET", b"/", "/", "", {}), wanted(CONTENT))
        assert trio.current_time() - began < PIPS_PATIENCE_S
