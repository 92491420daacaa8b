"""A group on a LAN that is not its own: members share among themselves, and strangers beside them get nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

import pytest

from p2pcdn.digest import Sha256
from p2pcdn.swarm.wire.messages import PUBLIC_KEY, blob_id
from tests.real_hosts.conftest import SMALL
from tests.real_hosts.groups import make_group
from tests.real_hosts.lan import Lan
from tests.real_hosts.node import PEER_PORT, SHARING, HostNode
from tests.real_hosts.room import Room, wait_for
from tests.real_hosts.upstream import Held, RemoteUpstream

# The index of these LANs has a private address: without --share its files belong to the group.
MEMBER: Sequence[str] = ()

# What a stranger with a socket gets for each path: a status (0 where the connection just ends), and how many bytes.
ASK = """
import http.client, json, sys
def ask(host, port, path):
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, len(answer.read())
    except (OSError, http.client.HTTPException):
        return 0, 0
    finally:
        connection.close()
print(json.dumps([ask(sys.argv[1], int(sys.argv[2]), path) for path in sys.argv[3:]]))
"""


@pytest.fixture
def wheel(upstream: RemoteUpstream) -> Held:
    return upstream.file_of(SMALL.project)


def test_members_share_and_the_upstream_gives_the_file_once(
    room: Room, lan: Lan, upstream: RemoteUpstream, wheel: Held
) -> None:
    members = [room.node(host, arguments=MEMBER) for host in lan.hosts[:4]]
    make_group(members)
    room.meet(room.start(*members))
    users = room.users(members, SMALL.project)
    wait_for(users)
    assert [user.hashes() for user in users] == [{wheel.filename: wheel.sha256}] * len(users)
    assert upstream.sent_bytes(wheel.filename) <= wheel.size_bytes + 2 * 1024 * 1024


@pytest.mark.parametrize("stranger", ["without a group", "of another group"])
def test_a_node_without_the_key_gets_nothing_from_members(
    room: Room, lan: Lan, upstream: RemoteUpstream, wheel: Held, stranger: str
) -> None:
    members = [room.node(host, arguments=MEMBER) for host in lan.hosts[:2]]
    make_group(members)
    # It knows their addresses from its configuration, too.
    named = [member.peer_address for member in members]
    outsider = room.node(lan.hosts[2], arguments=SHARING, peers=named)
    if stranger == "of another group":
        make_group([outsider])
    room.start(*members, outsider)
    room.meet(members)
    wait_for(room.users(members, SMALL.project))
    upstream.forget()
    users = room.users([outsider], SMALL.project)
    wait_for(users)
    assert users[0].hashes() == {wheel.filename: wheel.sha256}
    assert upstream.sent_bytes(wheel.filename) >= wheel.size_bytes
    assert outsider.status()["bytes"]["from_peers"] == 0
    see_that_nothing_was_given(members, outsider)


def test_a_stranger_with_a_socket_learns_nothing(room: Room, lan: Lan, wheel: Held) -> None:
    members = [room.node(host, arguments=MEMBER) for host in lan.hosts[:2]]
    key = make_group(members)
    room.meet(room.start(*members))
    wait_for(room.users(members, SMALL.project))
    # One knows the hash of the file, and one even the name that it has in the group.
    ids = [blob_id(PUBLIC_KEY, Sha256(wheel.sha256)), blob_id(key.lookup_key, Sha256(wheel.sha256))]
    held = [f"/v1/{what}" for id_ in ids for what in (f"have/{id_}", f"blob/{id_}/manifest", f"blob/{id_}/piece/0")]
    unknown = "0" * 64
    nothing = [f"/v1/have/{unknown}", f"/v1/blob/{unknown}/manifest", f"/v1/blob/{unknown}/piece/0"]
    done = subprocess.run(
        lan.hosts[3].command(sys.executable, "-c", ASK, members[0].host.address, str(PEER_PORT), *held, *nothing),
        capture_output=True,
        text=True,
        check=True,
    )
    answers = json.loads(done.stdout)
    assert all(status != 200 for status, _ in answers), list(zip([*held, *nothing], answers, strict=True))
    # What it holds and what it does not hold look the same.
    assert answers[:3] == answers[3:6] == answers[6:]


def see_that_nothing_was_given(members: Sequence[HostNode], outsider: HostNode) -> None:
    for member in members:
        rows = [row for row in member.peers() if row["address"].startswith(f"{outsider.host.address}:")]
        # Refusals of a few bytes go out; no file does.
        assert sum(row["bytes_out"] for row in rows) < 64 * 1024, rows
        assert not any(row["strikes"] for row in rows), "a stranger is no liar"
