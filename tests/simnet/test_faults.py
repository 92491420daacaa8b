"""The plan of a seed's faults, and peers that lie: each lie is another one than the honest answer."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
import trio

from p2pcdn.http1 import Request, Response
from simnet.scenarios.faults.bad_peers import BadPeer
from simnet.scenarios.faults.plan import BAD_PEERS, KINDS, LATER_KINDS, LIES, Fault
from simnet.scenarios.faults.plan import plan as plan_by

BODY = bytes(range(256)) * 8


def plan(dice: random.Random, nodes: int, horizon_s: float) -> Sequence[Fault]:
    return plan_by(dice, random.Random(dice.random()), nodes, horizon_s)


def test_a_seed_has_one_plan_and_all_seeds_have_every_kind() -> None:
    kinds: Counter[str] = Counter()
    for seed in range(400):
        faults = plan(random.Random(seed), 5, 3.0)
        assert faults == plan(random.Random(seed), 5, 3.0)
        kinds.update(fault.kind for fault in faults)
        assert all(0 <= fault.at_s < fault.until_s for fault in faults)
        bad = [fault.nodes for fault in faults if fault.kind in BAD_PEERS]
        assert len(bad) == len(set(bad)) <= 2, "honest nodes are more than half"
    assert set(kinds) == {*KINDS, *LATER_KINDS}


def test_faults_that_came_later_leave_the_others_of_a_seed_as_they_were() -> None:
    for seed in range(50):
        one, other = (plan_by(random.Random(seed), random.Random(later), 5, 3.0) for later in (1, 2))
        assert [fault for fault in one if fault.kind in KINDS] == [fault for fault in other if fault.kind in KINDS]


def test_no_machine_loses_its_power_while_it_is_without_power() -> None:
    for seed in range(400):
        faults = [fault for fault in plan(random.Random(seed), 2, 3.0) if fault.kind in ("power", "kill")]
        for one, other in pairwise(faults):
            assert one.nodes != other.nodes or one.until_s < other.at_s


@pytest.mark.parametrize("word", LIES)
async def test_a_lie_is_not_the_truth(autojump_clock: trio.abc.Clock, word: str) -> None:
    liar = BadPeer(lambda request: Response(200, body=BODY), Fault("liar", 0, 1, (0,), 0, word), random.Random(1))
    answer = liar(Request("GET", b"", "/v1/blob/ab/piece/0", "", {}))
    assert not isinstance(answer, Response)
    response = await answer
    if isinstance(response.body, bytes):
        assert response.body != BODY
        return
    parts = []
    with pytest.raises(ConnectionError) if word == "cut" else trio.move_on_after(1):
        async for part in response.body:
            parts.append(part)
            assert len(parts) < 2000
            await trio.lowlevel.checkpoint()
    assert b"".join(part for part in parts if isinstance(part, bytes)) != BODY


async def test_a_peer_that_lies_still_says_hello(autojump_clock: trio.abc.Clock) -> None:
    liar = BadPeer(lambda request: Response(200, body=BODY), Fault("liar", 0, 1, (0,), 0, "flip"), random.Random(1))
    answer = liar(Request("GET", b"", "/v1/hello", "", {}))
    assert isinstance(answer, Response)
    assert answer.body == BODY


async def test_a_peer_may_never_answer_or_a_byte_a_second(autojump_clock: trio.abc.Clock) -> None:
    request = Request("GET", b"", "/v1/blob/ab/piece/0", "", {})
    for kind in ("mute", "drip"):
        peer = BadPeer(lambda request: Response(200, body=BODY), Fault(kind, 0, 1, (0,)), random.Random(1))
        answer = peer(request)
        assert not isinstance(answer, Response)
        received = 0
        with trio.move_on_after(10.5):
            response = await answer
            assert not isinstance(response.body, bytes)
            async for part in response.body:
                assert isinstance(part, bytes)
                received += len(part)
        assert received == (0 if kind == "mute" else 11)
