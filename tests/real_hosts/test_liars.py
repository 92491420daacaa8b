"""A liar among eight nodes: nobody gets a wrong byte, everybody else gets the file, and the liar is known by name."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.bench.patience import until
from tests.real_hosts.conftest import MIB
from tests.real_hosts.groups import make_group
from tests.real_hosts.lan import Lan
from tests.real_hosts.liar import program
from tests.real_hosts.node import SHARING, HostNode
from tests.real_hosts.room import Room, wait_for
from tests.real_hosts.upstream import Held, Holds, Made, RemoteUpstream

pytestmark = [pytest.mark.slow, pytest.mark.alone]

HOLDS = Holds([Made("demo-torch", "2.0", 32 * MIB)])
# 32 MiB take 5 s.
UPLINK_BITS_PER_S = 50_000_000


@pytest.fixture
def wheel(upstream: RemoteUpstream) -> Held:
    return upstream.file_of("demo-torch")


# Each lie and each mode once: what a liar does and who may speak to whom are told apart in the simulator.
@pytest.mark.parametrize(("lie", "mode"), [("serves", "in the group"), ("reads", "open")])
def test_a_liar_who_reads_the_origin_costs_nobody_the_file(
    room: Room, lan: Lan, upstream: RemoteUpstream, wheel: Held, lie: str, mode: str
) -> None:
    lan.outside.limit_sending(UPLINK_BITS_PER_S)
    arguments = SHARING if mode == "open" else ()
    liar = room.node(lan.hosts[0], arguments=arguments, program=program(lie))
    honest = [room.node(host, arguments=arguments) for host in lan.hosts[1:]]
    if mode == "in the group":
        make_group([liar, *honest])
    room.meet(room.start(liar, *honest))
    room.users([liar], "demo-torch")
    until(lambda: upstream.sent_bytes(wheel.filename) > MIB, "the liar reads the origin")
    users = room.users(honest, "demo-torch")
    wait_for(users)
    for user in users:
        assert user.hashes() == {wheel.filename: wheel.sha256}
    see_that_the_liar_is_known(liar, honest, wheel)
    # The liar may waste one file for all of them together: one reads in its place, and perhaps one beside that.
    assert upstream.sent_bytes(wheel.filename) - sent_to(liar, upstream, wheel) <= 2 * wheel.size_bytes


def test_a_liar_who_has_the_whole_file_is_found_out(
    room: Room, lan: Lan, upstream: RemoteUpstream, wheel: Held
) -> None:
    lan.outside.limit_sending(1_000_000_000)
    liar = room.node(lan.hosts[0], program=program("serves"))
    honest = [room.node(host) for host in lan.hosts[1:]]
    room.meet(room.start(liar, *honest))
    wait_for(room.users([liar], "demo-torch"))
    upstream.forget()
    users = room.users(honest, "demo-torch")
    wait_for(users)
    for user in users:
        assert user.hashes() == {wheel.filename: wheel.sha256}
    see_that_the_liar_is_known(liar, honest, wheel)
    assert upstream.sent_bytes(wheel.filename) <= 2 * wheel.size_bytes


def see_that_the_liar_is_known(liar: HostNode, honest: Sequence[HostNode], wheel: Held) -> None:
    """Somebody struck the liar and nobody anybody else; who did has the audit line: who, what, why."""
    rows = {node: {row["address"]: row for row in node.peers()} for node in honest}
    struck = [node for node in honest if rows[node][liar.peer_address]["strikes"]]
    assert struck, [row for node in honest for row in rows[node].values()]
    for node in struck:
        assert rows[node][liar.peer_address]["wrong"]
        lines = [line for line in node.log().splitlines() if "refused from" in line]
        assert any(liar.peer_address in line and wheel.filename in line for line in lines), node.log()[-3000:]
    for node in honest:
        blamed = [row for address, row in rows[node].items() if row["strikes"] and address != liar.peer_address]
        assert not blamed


def sent_to(node: HostNode, upstream: RemoteUpstream, wheel: Held) -> int:
    return sum(one.body_bytes for one in upstream.sent(wheel.filename) if one.client == node.host.address)
