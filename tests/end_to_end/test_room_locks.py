"""A lock that somebody in the room has made: another machine of the group needs no upstream and no solver for it."""

from __future__ import annotations

from pathlib import Path

from tests.bench.node import RunningNode
from tests.end_to_end.conftest import StartNode, StartUpstream
from tests.end_to_end.test_offline_room import KEY, OFFLINE
from tests.end_to_end.test_two_nodes import wait_for_neighbour
from tests.end_to_end.test_zephyr import FILES, LIB_HERE, Project


def solvers_of(node: RunningNode) -> int:
    """How many solvers it has started; an idle one stays for a minute."""
    lists = Path(f"/proc/{node.pid}/task").glob("*/children")  # of each thread its own
    children = [child for one in lists for child in one.read_text().split()]
    return sum(b"p2pcdn.lock.worker" in Path(f"/proc/{child}/cmdline").read_bytes() for child in children)


def test_a_lock_of_the_room_needs_no_upstream_and_no_solving(
    tmp_path: Path, start_upstream: StartUpstream, start_node: StartNode
) -> None:
    upstream = start_upstream(FILES)
    teacher = start_node(upstream, environment=KEY)
    first = Project(tmp_path / "first", teacher)
    first.zephyr("sync")
    assert solvers_of(teacher) == 1
    upstream.stop()
    student = start_node(upstream, peers=[teacher.peer_address], environment=KEY, arguments=OFFLINE)
    wait_for_neighbour(student)
    second = Project(tmp_path / "second", student)
    second.zephyr("sync")
    assert second.lock == first.lock
    assert second.installed() == {"demo-app": "1.0", "demo-lib": LIB_HERE}
    assert solvers_of(student) == 0
    assert student.status()["upstream_page_requests"] == student.status()["upstream_file_requests"] == 0
    assert "was confirmed" in student.log()
