"""Files of a private index: members of the group share them, nobody on the wire can read them, strangers get none."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.real_hosts.conftest import SMALL
from tests.real_hosts.groups import make_group
from tests.real_hosts.lan import Lan
from tests.real_hosts.node import SHARING, HostNode
from tests.real_hosts.room import Room, wait_for
from tests.real_hosts.sniffer import listening
from tests.real_hosts.upstream import Held, Holds, RemoteUpstream

HOLDS = Holds([SMALL], credentials=("reader", "a secret word"))


@pytest.fixture
def wheel(upstream: RemoteUpstream) -> Held:
    return upstream.file_of(SMALL.project)


def test_a_member_gets_a_private_file_from_another_and_the_wire_shows_nothing_of_it(
    room: Room, lan: Lan, upstream: RemoteUpstream, wheel: Held
) -> None:
    members = private_nodes(room, lan, upstream, 2, share="group")
    make_group(members)
    room.meet(room.start(*members))
    first, second = members
    wait_for(room.users([first], SMALL.project))
    upstream.forget()
    with listening(lan, second.host, SMALL) as heard:
        users = room.users([second], SMALL.project)
        wait_for(users)
    assert users[0].hashes() == {wheel.filename: wheel.sha256}
    assert upstream.sent(wheel.filename) == []
    assert second.status()["bytes"]["from_peers"] >= wheel.size_bytes
    assert heard.tcp_bytes >= wheel.size_bytes
    assert heard.readable_segments == 0


def test_the_sniffer_reads_what_is_public(room: Room, lan: Lan, upstream: RemoteUpstream, wheel: Held) -> None:
    """Else the test above says nothing."""
    (node,) = room.start(*private_nodes(room, lan, upstream, 1, share="never"))
    with listening(lan, node.host, SMALL) as heard:
        wait_for(room.users([node], SMALL.project))
    assert heard.tcp_bytes >= wheel.size_bytes
    assert heard.readable_segments > 0


@pytest.mark.parametrize("share", ["group", "never"])
def test_a_private_file_does_not_leave_a_node_for_strangers(
    room: Room, lan: Lan, upstream: RemoteUpstream, wheel: Held, share: str
) -> None:
    """Without a group nobody is a member; with `never` not even members get it."""
    nodes = private_nodes(room, lan, upstream, 2, share=share)
    if share == "never":
        make_group(nodes)
    room.meet(room.start(*nodes))
    first, second = nodes
    wait_for(room.users([first], SMALL.project))
    upstream.forget()
    wait_for(room.users([second], SMALL.project))
    assert upstream.sent_bytes(wheel.filename) == wheel.size_bytes
    assert second.status()["bytes"]["from_peers"] == 0


def private_nodes(room: Room, lan: Lan, upstream: RemoteUpstream, count: int, *, share: str) -> Sequence[HostNode]:
    url = upstream.url.replace("://", "://reader:a%20secret%20word@")
    config = f'[[upstream]]\nurl = "{url}"\nshare = "{share}"\n'
    return [room.node(host, config=config, arguments=SHARING) for host in lan.hosts[:count]]
