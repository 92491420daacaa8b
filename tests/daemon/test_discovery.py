"""Finding neighbours by multicast: which links are chosen, what is taken from strangers, and mDNS between two hosts."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from p2pcdn.world import Announcement, Sighting
from p2pcdn_daemon.neighbours import discovery
from p2pcdn_daemon.neighbours.discovery import MdnsDiscovery, chosen_addresses, missing_links

ANNOUNCEMENT = Announcement("ab" * 16, 7273, "", "0.1")
# Discovery takes about a second; beyond this it does not work.
FOUND_WITHIN_S = 15.0


def test_loopback_alone_is_nothing_unless_it_is_named(tmp_path: Path) -> None:
    assert chosen_addresses(["lo"]) == ["127.0.0.1"]
    assert chosen_addresses(["no-such-link"]) == []
    assert missing_links(["lo", "no-such-link", "127.0.0.1"]) == ["no-such-link"]
    assert "127.0.0.1" not in chosen_addresses((), tmp_path / "no-routes")


async def test_a_fault_is_logged_once_and_never_raised(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_sockets(*_: object, **__: object) -> None:
        raise OSError("no multicast here")

    monkeypatch.setattr(discovery, "Zeroconf", no_sockets)
    monkeypatch.setattr(discovery, "ADDRESSES_SOON_S", 0.001)
    caplog.set_level(logging.INFO)
    send, _receive = trio.open_memory_channel[Sighting](1)
    with trio.move_on_after(0.2):
        await MdnsDiscovery(["lo"]).run(ANNOUNCEMENT, send)
    assert sum("no multicast here" in record.message for record in caplog.records) == 1


async def test_forged_names_by_the_ten_thousand_do_not_grow_memory() -> None:
    send, receive = trio.open_memory_channel[Sighting](5)
    sightings = discovery._Sightings(ANNOUNCEMENT, trio.lowlevel.current_trio_token(), send)
    for number in range(20_000):
        sightings.add(Sighting("192.0.2.1", 1, f"{number:032x}"))
    assert len(sightings._told) == discovery.SIGHTINGS_MAX
    assert len(sightings._waiting) == discovery.WAITING_MAX
    await trio.testing.wait_all_tasks_blocked()
    assert receive.statistics().current_buffer_used == 5


async def test_a_neighbour_that_found_no_room_is_told_later() -> None:
    send, receive = trio.open_memory_channel[Sighting](1)
    sightings = discovery._Sightings(ANNOUNCEMENT, trio.lowlevel.current_trio_token(), send)
    seen = [Sighting("192.0.2.1", number, f"{number:032x}") for number in (1, 2)]
    for sighting in seen:
        sightings.add(sighting)
    await trio.testing.wait_all_tasks_blocked()
    assert receive.receive_nowait() == seen[0]
    sightings.hand_over()
    assert receive.receive_nowait() == seen[1]


async def test_eight_that_start_together_find_each_other_within_two_seconds_and_no_stranger() -> None:
    """All on this machine's loopback; the first one belongs to another group."""
    count, tag = 8, os.urandom(8).hex()
    names = [os.urandom(16).hex() for _ in range(count)]
    began_s, complete = trio.current_time(), 0

    async def watch(number: int) -> None:
        nonlocal complete
        send, receive = trio.open_memory_channel[Sighting](100)
        announcement = Announcement(names[number], 7000 + number, tag if number else tag[::-1], "0.1")
        nursery.start_soon(MdnsDiscovery(["lo"]).run, announcement, send)
        missing = {name for name in names[1:] if number and name != names[number]}
        async for sighting in receive:
            missing.remove(sighting.instance or "")  # also says that there is no stranger, and nobody twice
            complete += not missing
            if complete == count - 1:
                nursery.cancel_scope.cancel()

    with trio.fail_after(FOUND_WITHIN_S):
        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(watch, number)
    # They say goodbye for half a second each, at the same time.
    assert trio.current_time() - began_s < 2.0 + discovery.CLOSE_TIME_S


# --- two hosts: network namespaces joined by a wire


@pytest.fixture
def two_hosts() -> Iterator[tuple[str, str]]:
    """The names of two network namespaces, each with a link eth0 to the other and no route beyond it."""
    if os.geteuid() != 0:
        pytest.skip("needs root to make network namespaces")
    names = (f"p2pcdn-{os.getpid()}-a", f"p2pcdn-{os.getpid()}-b")
    made = subprocess.run(["ip", "netns", "add", names[0]], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"network namespaces are not allowed here: {made.stderr.strip()}")
    try:
        _ip("netns", "add", names[1])
        _ip("link", "add", "eth0", "netns", names[0], "type", "veth", "peer", "name", "eth0", "netns", names[1])
        for number, name in enumerate(names, 1):
            _ip("-n", name, "addr", "add", f"198.51.100.{number}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                _ip("-n", name, "link", "set", link, "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


_WATCHER = """
import json, sys, trio
from p2pcdn.world import Announcement
from p2pcdn_daemon.neighbours.discovery import MdnsDiscovery

async def main(instance, port):
    send, receive = trio.open_memory_channel(100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(MdnsDiscovery().run, Announcement(instance, port, "", "0.1"), send)
        with trio.fail_after(float(sys.argv[3])):
            found = await receive.receive()
        print(json.dumps([found.host, found.port, found.instance]), flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()

trio.run(main, sys.argv[1], int(sys.argv[2]))
"""


def test_two_hosts_on_one_wire_find_each_other(two_hosts: tuple[str, str]) -> None:
    root = Path(__file__).parents[2]
    instances = ("aa" * 16, "bb" * 16)
    watchers = [
        subprocess.Popen(
            ["ip", "netns", "exec", name, sys.executable, "-c", _WATCHER, instance, str(port), str(FOUND_WITHIN_S)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "daemon")])},
        )
        for name, instance, port in zip(two_hosts, instances, (7001, 7002), strict=True)
    ]
    try:
        found = []
        for watcher in watchers:
            assert watcher.stdout is not None
            found.append(json.loads(watcher.stdout.readline()))
        assert found == [["198.51.100.2", 7002, instances[1]], ["198.51.100.1", 7001, instances[0]]]
        for watcher in watchers:
            assert watcher.stdin is not None
            watcher.stdin.close()
        assert [watcher.wait(timeout=FOUND_WITHIN_S) for watcher in watchers] == [0, 0]
    finally:
        for watcher in watchers:
            watcher.kill()
            watcher.wait()
