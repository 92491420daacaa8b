"""What a node gives to neighbours stays within what its user and its machine allow."""

from __future__ import annotations

import time

from tests.bench.upstream import FaultyUpstream, Hang
from tests.end_to_end.conftest import StartNode
from tests.end_to_end.files import BIG
from tests.end_to_end.test_two_nodes import SHARING, wait_for_neighbour

LIMIT_BYTES_S = 4_000_000


def test_neighbours_get_no_more_in_a_second_than_the_limit(upstream: FaultyUpstream, start_node: StartNode) -> None:
    first = start_node(upstream, arguments=[*SHARING, "--upload-limit", str(LIMIT_BYTES_S)])
    path = first.path_of("demo-big", BIG.filename)
    assert first.get(path).body == BIG.content
    upstream.fault("*", Hang(), host="files")
    second = start_node(upstream, peers=[first.peer_address], arguments=SHARING)
    wait_for_neighbour(second)
    path = second.path_of("demo-big", BIG.filename)
    began_s = time.monotonic()
    assert second.get(path).body == BIG.content
    # The last piece begins when the others' time has passed, and half a second may be ahead.
    assert time.monotonic() - began_s > (len(BIG.content) - (1 << 20)) / LIMIT_BYTES_S - 0.5
    assert second.status()["bytes"]["from_peers"] >= len(BIG.content)


def test_a_node_on_a_metered_link_takes_and_does_not_give(upstream: FaultyUpstream, start_node: StartNode) -> None:
    first = start_node(upstream, arguments=[*SHARING, "--metered", "yes"])
    second = start_node(upstream, peers=[first.peer_address], arguments=SHARING)
    wait_for_neighbour(second)
    assert first.get(first.path_of("demo-big", BIG.filename)).body == BIG.content
    assert second.get(second.path_of("demo-big", BIG.filename)).body == BIG.content
    assert second.status()["bytes"]["from_peers"] == 0
    third = start_node(upstream, peers=[second.peer_address], arguments=[*SHARING, "--metered", "yes"])
    wait_for_neighbour(third)
    upstream.fault("*", Hang(), host="files")
    assert third.get(third.path_of("demo-big", BIG.filename)).body == BIG.content
