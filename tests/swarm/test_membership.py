"""What a member tells a file's tracker of who reads the origin."""

from __future__ import annotations

from pathlib import Path

from p2pcdn.digest import Sha256
from p2pcdn.swarm.filling.belief import Belief
from p2pcdn.swarm.filling.membership import QUIET_MAX_S, Membership
from p2pcdn.swarm.filling.race import Race
from p2pcdn.swarm.filling.turn import Turn
from p2pcdn.swarm.neighbours.peer import CROWD, Address, Peer
from p2pcdn.swarm.pieces.manifest import cut_of
from p2pcdn.swarm.pieces.sharing import Sharing
from p2pcdn.swarm.wire.advice import Reader
from p2pcdn.swarm.wire.messages import PUBLIC_KEY, blob_id
from tests.swarm.nodes import MIB, TestNode, content_of, node

CONTENT = content_of(3, MIB)
FILE = Sha256.of(CONTENT)
DEVICE, PEER = b"r" * 32, Peer(Address("192.0.2.7", 7273), CROWD)


async def membership_at(it: TestNode) -> tuple[Membership, Turn]:
    tools = it.swarm._tools
    sharing = Sharing(await it.wants(CONTENT), FILE, blob_id(PUBLIC_KEY, FILE), cut_of)
    turn = Turn(sharing, tools, None)
    race, belief = Race(None, on_air=False), Belief(sharing, tools, ())
    one = Membership(
        sharing, belief, turn, race, boot="0f" * 16, port=7273, device=bytes(32), gives=lambda: True, readers=1
    )
    return one, turn


async def test_who_reads_is_told_with_the_time_for_which_nothing_came(tmp_path: Path) -> None:
    async with node(tmp_path / "a") as it:
        membership, turn = await membership_at(it)
        assert membership.question(1.0).reader is None
        membership.reader_is(DEVICE, PEER)
        assert membership.question(1.2345).reader == Reader(DEVICE, "192.0.2.7:7273", 1234)
        assert membership.question(1e6).reader == Reader(DEVICE, "192.0.2.7:7273", QUIET_MAX_S * 1000)
        turn.ours = True
        assert membership.question(1.0).reader is None, "we read ourselves"


async def test_of_one_with_whom_the_room_was_given_up_the_next_tracker_hears_that_it_is_doubted(
    tmp_path: Path,
) -> None:
    """Its next crowd would wait for it once more, for another lease."""
    async with node(tmp_path / "a") as it:
        membership, _ = await membership_at(it)
        membership.reader_is(DEVICE, PEER)
        assert membership.reading() == [DEVICE]
        membership.doubt(membership.reading())
        question = membership.question(0.0)
        assert question.reader is None
        assert question.distrusted == (DEVICE,)
