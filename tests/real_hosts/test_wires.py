"""A wire that is pulled out in the middle of a crowd, or is thin: everybody gets the file all the same."""

from __future__ import annotations

import pytest

from tests.bench.patience import until
from tests.real_hosts.conftest import MIB
from tests.real_hosts.lan import Lan
from tests.real_hosts.room import Room, wait_for
from tests.real_hosts.upstream import Holds, Made, RemoteUpstream

pytestmark = [pytest.mark.slow, pytest.mark.alone]

HOLDS = Holds([Made("demo-torch", "2.0", 48 * MIB)])
# 48 MiB take 8 s.
UPLINK_BITS_PER_S = 50_000_000
# Through this wire it would be two minutes.
THIN_BITS_PER_S = 3_000_000
WIDE_BITS_PER_S = 10_000_000_000
NODES = 5


@pytest.mark.parametrize("who", ["the reader of the origin", "another one"])
def test_a_host_that_was_unplugged_for_a_while_costs_nobody_the_file(
    room: Room, lan: Lan, upstream: RemoteUpstream, who: str
) -> None:
    lan.outside.limit_sending(UPLINK_BITS_PER_S)
    wheel = upstream.file_of("demo-torch")
    nodes = room.nodes(NODES)
    room.meet(nodes)
    users = room.users(nodes, "demo-torch")
    until(lambda: upstream.sent_bytes(wheel.filename) > wheel.size_bytes // 4, "a quarter was read")
    rows = upstream.sent(wheel.filename)
    reader = max(rows, key=lambda row: row.body_bytes).client
    wire = next(node.host for node in nodes if (node.host.address == reader) == (who == "the reader of the origin"))
    read = upstream.sent_bytes(wheel.filename)
    lan.unplug(wire)
    try:
        until(lambda: upstream.sent_bytes(wheel.filename) > read + 8 * MIB, "others read on")
    finally:
        lan.plug_in(wire)
    wait_for(users)
    assert [user.hashes() for user in users] == [{wheel.filename: wheel.sha256}] * NODES
    # Who was alone for a while may have read all of it alone, and who had its pieces from there a part.
    assert upstream.sent_bytes(wheel.filename) <= 5 * wheel.size_bytes // 2
    assert not any(row["strikes"] for node in nodes for row in node.status()["peers"]), "to be away is no lie"


def test_a_reader_with_a_thin_wire_holds_nobody_up(room: Room, lan: Lan, upstream: RemoteUpstream) -> None:
    lan.outside.limit_sending(UPLINK_BITS_PER_S)
    wheel = upstream.file_of("demo-torch")
    nodes = room.nodes(NODES)
    room.meet(nodes)
    thin, *others = nodes
    thin.host.limit_sending(THIN_BITS_PER_S)
    try:
        first = room.users([thin], "demo-torch")
        until(lambda: upstream.sent_bytes(wheel.filename) > 2 * MIB, "it reads the origin")
        users = room.users(others, "demo-torch")
        wait_for([*first, *users])
    finally:
        thin.host.limit_sending(WIDE_BITS_PER_S)
    assert [user.hashes() for user in (*first, *users)] == [{wheel.filename: wheel.sha256}] * NODES
    # Had they waited for that wire, the file would have needed so long to pass it once.
    through_it_s = wheel.size_bytes * 8 / THIN_BITS_PER_S
    assert max(user.seconds for user in users) < through_it_s / 2
    # One of them reads in its place, for all, and perhaps one beside that.
    assert upstream.sent_bytes(wheel.filename) <= 3 * wheel.size_bytes
