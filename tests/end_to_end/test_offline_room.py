"""A classroom without an upstream: pages, metadata and files come from the room, to real pip and real uv."""

from __future__ import annotations

import time

import pytest

from p2pcdn.group import GroupKey
from tests.bench.clients import Tool
from tests.bench.patience import until
from tests.bench.upstream import FaultyUpstream
from tests.bench.wheels import RealWheels, make_wheel
from tests.end_to_end.conftest import StartNode, StartUpstream
from tests.end_to_end.files import BASE, BASE_OLD, INSTALLED, MIDDLE, TOP
from tests.end_to_end.test_installers import NewPlace
from tests.end_to_end.test_two_nodes import wait_for_neighbour

KEY = {"P2PCDN_GROUP_KEY": GroupKey.from_seed(b"t" * 32).line}
OTHER_KEY = {"P2PCDN_GROUP_KEY": GroupKey.from_seed(b"n" * 32).line}
# The upstream of these tests is on a loopback address: its files are for the group, on sealed connections.
OFFLINE = ("--offline",)


def test_pip_and_uv_install_from_what_the_room_has_when_there_is_no_upstream(
    pip: Tool, uv: Tool, upstream: FaultyUpstream, start_node: StartNode, new_place: NewPlace
) -> None:
    teacher = start_node(upstream, environment=KEY)
    # The teacher's own uv reads the metadata, so that it is in the room, too.
    assert new_place().uv(uv, teacher.index_url, "demo-top").returncode == 0
    upstream.stop()
    student = start_node(upstream, peers=[teacher.peer_address], environment=KEY, arguments=OFFLINE)
    wait_for_neighbour(student)
    for install, tool in (("uv", uv), ("pip", pip)):
        place = new_place()
        done = getattr(place, install)(tool, student.index_url, "demo-top")
        assert done.returncode == 0, done.stdout + done.stderr
        assert place.installed() == INSTALLED
    status = student.status()
    assert status["upstream_page_requests"] == status["upstream_file_requests"] == 0
    assert status["room"]["members"] == 1
    assert status["room"]["blobs"] >= 3
    assert status["room"]["pages"] >= 3
    assert status["room"]["claimed_answers"] >= 3
    assert "1 other member of the group holds" in student.run("status").stdout


def test_what_nobody_in_the_room_has_is_not_listed_and_an_older_version_is_chosen(
    pip_new: Tool, upstream: FaultyUpstream, start_node: StartNode, new_place: NewPlace
) -> None:
    teacher = start_node(upstream, environment=KEY)
    assert new_place().pip(pip_new, teacher.index_url, "demo-base==1.0").returncode == 0
    assert len(teacher.page("demo-base")["files"]) == 2
    upstream.stop()
    student = start_node(upstream, peers=[teacher.peer_address], environment=KEY, arguments=OFFLINE)
    wait_for_neighbour(student)
    assert [file["filename"] for file in student.page("demo-base")["files"]] == [BASE_OLD.filename]
    place = new_place()
    done = place.pip(pip_new, student.index_url, "demo-base")
    assert done.returncode == 0, done.stdout + done.stderr
    assert place.installed() == {"demo-base": "1.0"}


def test_metadata_that_nobody_has_is_read_out_of_the_wheels(
    pip_new: Tool, uv: Tool, upstream: FaultyUpstream, start_node: StartNode, new_place: NewPlace
) -> None:
    teacher = start_node(upstream, environment=KEY)
    for one in (TOP, MIDDLE, BASE):  # the wheels alone, as a script would fetch them
        assert teacher.get(teacher.path_of(one.project, one.filename)).body == one.content
    upstream.stop()
    student = start_node(upstream, peers=[teacher.peer_address], environment=KEY, arguments=OFFLINE)
    wait_for_neighbour(student)
    for install, tool in (("uv", uv), ("pip", pip_new)):
        place = new_place()
        done = getattr(place, install)(tool, student.index_url, "demo-top")
        assert done.returncode == 0, done.stdout + done.stderr
        assert place.installed() == INSTALLED


def test_a_room_whose_network_fails_goes_on_without_being_told(
    uv: Tool, upstream: FaultyUpstream, start_node: StartNode, new_place: NewPlace
) -> None:
    """No --offline: the upstream is simply gone, and the student's node has never seen a page."""
    teacher = start_node(upstream, environment=KEY)
    assert new_place().uv(uv, teacher.index_url, "demo-top").returncode == 0
    student = start_node(upstream, peers=[teacher.peer_address], environment=KEY)
    wait_for_neighbour(student)
    upstream.stop()
    place = new_place()
    began = time.monotonic()
    done = place.uv(uv, student.index_url, "demo-top")
    assert done.returncode == 0, done.stderr
    assert place.installed() == INSTALLED
    assert time.monotonic() - began < 30
    # The network is back: the upstream's word counts again.
    upstream.start()
    upstream.add(make_wheel("demo-base", "3.0"))
    until(lambda: len(student.page("demo-base")["files"]) == 3, "the upstream's page is back", timeout_s=30)


def test_three_machines_put_together_what_each_has(
    pip_new: Tool, upstream: FaultyUpstream, start_node: StartNode, new_place: NewPlace
) -> None:
    first = start_node(upstream, environment=KEY)
    second = start_node(upstream, peers=[first.peer_address], environment=KEY)
    assert new_place().pip(pip_new, first.index_url, "--no-deps", "demo-top", "demo-big").returncode == 0
    upstream.stop()
    upstream.start()
    assert new_place().pip(pip_new, second.index_url, "demo-middle").returncode == 0
    upstream.stop()
    peers = [first.peer_address, second.peer_address]
    third = start_node(upstream, peers=peers, environment=KEY, arguments=OFFLINE)
    wait_for_neighbour(third)
    until(lambda: third.status()["room"]["members"] == 2, "both are there")
    place = new_place()
    done = place.pip(pip_new, third.index_url, "demo-top", "demo-big")
    assert done.returncode == 0, done.stdout + done.stderr
    assert place.installed() == {**INSTALLED, "demo-big": "1.0"}
    # And the third passes on what it has by their word when they are gone.
    first.stop()
    second.stop()
    fourth = start_node(upstream, peers=[third.peer_address], environment=KEY, arguments=OFFLINE)
    wait_for_neighbour(fourth)
    place = new_place()
    done = place.pip(pip_new, fourth.index_url, "demo-top")
    assert done.returncode == 0, done.stdout + done.stderr
    assert place.installed() == INSTALLED


@pytest.mark.parametrize("key", [{}, OTHER_KEY], ids=["no key", "another key"])
def test_who_is_of_no_group_or_of_another_gets_no_page(
    upstream: FaultyUpstream, start_node: StartNode, key: dict[str, str]
) -> None:
    teacher = start_node(upstream, environment=KEY)
    assert teacher.page("demo-base")["files"]
    upstream.stop()
    stranger = start_node(upstream, peers=[teacher.peer_address], environment=key, arguments=OFFLINE)
    until(
        lambda: any(peer["last_seen_s"] is not None or peer["wrong"] for peer in stranger.status()["peers"]),
        "it was tried",
    )
    assert stranger.get("/simple/demo-base/").status == 503


@pytest.mark.slow
def test_a_real_environment_goes_from_one_member_to_another_without_an_upstream(
    uv: Tool, pip_new: Tool, real: RealWheels, start_upstream: StartUpstream, start_node: StartNode, new_place: NewPlace
) -> None:
    upstream = start_upstream(real.files)
    teacher = start_node(upstream, environment=KEY)
    assert new_place().uv(uv, teacher.index_url, *real.top).returncode == 0
    upstream.stop()
    student = start_node(upstream, peers=[teacher.peer_address], environment=KEY, arguments=OFFLINE)
    wait_for_neighbour(student)
    for install, tool in (("uv", uv), ("pip", pip_new)):
        place = new_place()
        done = getattr(place, install)(tool, student.index_url, *real.top)
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(place.installed()) == len(real.files)
