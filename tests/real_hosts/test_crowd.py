"""A flash crowd of pips on eight hosts: one large wheel through a thin line, once; also when its reader dies."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.bench.patience import until
from tests.real_hosts.conftest import BIG, MIB
from tests.real_hosts.lan import Lan
from tests.real_hosts.node import HostNode
from tests.real_hosts.room import Room, User, wait_for
from tests.real_hosts.upstream import Held, Holds, Made, RemoteUpstream

pytestmark = [pytest.mark.slow, pytest.mark.alone]

# What the big one needs: real wheels of all sizes, and nothing outside the list.
NEEDS = ("attrs", "certifi", "idna", "packaging", "urllib3")
HOLDS = Holds([Made(BIG.project, BIG.version, BIG.size_bytes, NEEDS)], real=True)
# 256 MiB take 21 s: longer than pip waits for a byte, and a quarter of what eight hosts would need without each other.
UPLINK_BITS_PER_S = 100_000_000
PIECE_SIZE_BYTES = MIB


@pytest.fixture(autouse=True)
def thin_line(lan: Lan) -> None:
    lan.outside.limit_sending(UPLINK_BITS_PER_S)


@pytest.fixture
def wheel(upstream: RemoteUpstream) -> Held:
    return upstream.file_of(BIG.project)


def test_eight_pips_at_once_cost_the_upstream_one_file(room: Room, upstream: RemoteUpstream, wheel: Held) -> None:
    nodes = room.nodes()
    room.meet(nodes)
    users = room.users(nodes, BIG.project)
    wait_for(users)
    see_that_all_is_right(users, upstream)
    assert upstream.sent_bytes(wheel.filename) <= wheel.size_bytes + 2 * PIECE_SIZE_BYTES, said(upstream, wheel)
    see_that_nobody_is_blamed(nodes)


def test_the_reader_of_the_origin_dies_half_way_and_one_per_cent_is_read_again(
    room: Room, upstream: RemoteUpstream, wheel: Held
) -> None:
    nodes = room.nodes()
    room.meet(nodes)
    users = room.users(nodes, BIG.project)
    until(lambda: upstream.sent_bytes(wheel.filename) > wheel.size_bytes // 2, "half of it was read", 60.0)
    reader = reader_of(upstream, wheel, nodes)
    reader.kill9()
    others = [user for user in users if user.host is not reader.host]
    wait_for(others)
    see_that_all_is_right(others, upstream)
    again = upstream.sent_bytes(wheel.filename) - wheel.size_bytes
    assert again <= wheel.size_bytes // 100 + 4 * PIECE_SIZE_BYTES, said(upstream, wheel)


def reader_of(upstream: RemoteUpstream, wheel: Held, nodes: Sequence[HostNode]) -> HostNode:
    """The node to which the upstream sent most of it."""
    given: dict[str, int] = {}
    for one in upstream.sent(wheel.filename):
        given[one.client] = given.get(one.client, 0) + one.body_bytes
    most = max(given, key=given.__getitem__)
    return next(node for node in nodes if node.host.address == most)


def see_that_all_is_right(users: Sequence[User], upstream: RemoteUpstream) -> None:
    for user in users:
        got = user.hashes()
        assert {filename.partition("-")[0] for filename in got} == {BIG.project.replace("-", "_"), *NEEDS}
        assert got == {filename: upstream.files[filename].sha256 for filename in got}
        user.end()


def see_that_nobody_is_blamed(nodes: Sequence[HostNode]) -> None:
    struck = {str(node.host): [row for row in node.status()["peers"] if row["strikes"]] for node in nodes}
    assert not any(struck.values()), struck


def said(upstream: RemoteUpstream, wheel: Held) -> str:
    """Who read which part of it."""
    rows = upstream.sent(wheel.filename)
    return "\n".join(f"{row.client} {row.range} {row.status}: {row.body_bytes}" for row in rows)
