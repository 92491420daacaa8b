"""Waiting for one that did not answer, on virtual time."""

from __future__ import annotations

import random

import pytest
import trio

from p2pcdn.swarm.neighbours.peer import LOCAL, Peer
from p2pcdn.swarm.neighbours.peers import SILENCES_MAX, STRIKES_MAX, Peers
from p2pcdn.swarm.neighbours.silence import heard_again
from p2pcdn.swarm.wire.messages import Hello
from p2pcdn.world import Sighting

pytestmark = pytest.mark.usefixtures("autojump_clock")

HELLO = Hello("n", "aa" * 16, "1")


def fallen_silent(peers: Peers) -> Peer:
    peer = peers.sight(Sighting("192.0.2.1", 7273, HELLO.boot), LOCAL, trio.current_time())
    assert peer is not None
    peers.answered(peer, HELLO, 0.001, trio.current_time())
    peers.failed(peer, "no answer in time", trio.current_time(), silent=True)
    return peer


@pytest.mark.parametrize("ends", ["answers", "is silent once too often", "shuts its door", "is banned"])
async def test_only_who_answers_is_heard_again_and_who_has_gone_is_not_waited_for(ends: str) -> None:
    peers = Peers("ff" * 16, random.Random(1))
    peer, began = fallen_silent(peers), trio.current_time()

    async def goes_on() -> None:
        await trio.sleep(1)
        if ends == "answers":
            peers.answered(peer, HELLO, 0.001, trio.current_time())
        elif ends == "is banned":
            for _ in range(STRIKES_MAX):
                peers.lied(peer, "nonsense", trio.current_time())
        for _ in range(SILENCES_MAX if "silent" in ends else ends == "shuts its door"):
            await trio.sleep(peer.ask_at - trio.current_time())
            peers.failed(peer, "no answer in time", trio.current_time(), silent="silent" in ends)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(goes_on)
        assert await heard_again(peers, began + 60) == (ends == "answers")
    assert trio.current_time() - began < 20
