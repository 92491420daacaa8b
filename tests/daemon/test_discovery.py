"""Finding neighbours: a file of them that changes, the links that are chosen, and mDNS between two real hosts."""

from __future__ import annotations

import json
import logging
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from p2pcdn.world import Announcement, Sighting
from p2pcdn_daemon import discovery
from p2pcdn_daemon.discovery import (
    MdnsDiscovery,
    PeersFile,
    StaticPeers,
    chosen_addresses,
    default_links,
    missing_links,
    read_peer,
    read_peers,
)

ANNOUNCEMENT = Announcement("ab" * 16, 7273, "", "0.1")
# Discovery takes about a second; beyond this it does not work.
FOUND_WITHIN_S = 15.0
ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\t0100000A\t0003\t0\t0\t600\t00000000\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
down0\t00000000\t0100000A\t0002\t0\t0\t600\t00000000\t0\t0\t0
half0\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0
"""


def test_a_peers_file_has_hosts_comments_and_brackets() -> None:
    peers, wrong = read_peers(b"# the lab\nseed.example:7273\n\n 192.0.2.1:1 # gate\r\n[FE80::1]:65535\n")
    assert peers == [Sighting("seed.example", 7273), Sighting("192.0.2.1", 1), Sighting("fe80::1", 65535)]
    assert wrong == []


@pytest.mark.parametrize(
    "line", ["host", "host:", ":1", "host:0", "host:65536", "host:1:2", "::1:5", "[::1:5", "a b:5", "[x]:5", "h:１"]
)
def test_a_wrong_line_is_told_with_its_number_and_the_others_count(line: str) -> None:
    peers, wrong = read_peers(f"good:1\n{line}\nalso:2\n".encode())
    assert [peer.host for peer in peers] == ["good", "also"]
    assert [number for number, _ in wrong] == [2]
    with pytest.raises(ValueError):
        read_peer(line)


def test_any_bytes_are_a_peers_file() -> None:
    dice = random.Random(5)
    for _ in range(300):
        for peer in read_peers(dice.randbytes(dice.randrange(400)))[0]:
            assert peer.host
            assert 0 < peer.port < 65536


def test_a_peers_file_without_end_is_cut() -> None:
    peers, wrong = read_peers(b"a:1\n" * 200_000)
    assert len(peers) <= discovery.PEERS_FILE_LINES_MAX
    assert wrong


async def test_a_peers_file_may_come_late_and_change(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "FILE_EVERY_S", 0.01)
    caplog.set_level(logging.WARNING)
    path = tmp_path / "peers"
    send, receive = trio.open_memory_channel[Sighting](10)
    with trio.fail_after(FOUND_WITHIN_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(PeersFile(path).run, ANNOUNCEMENT, send)
            while not caplog.records:
                await trio.testing.wait_all_tasks_blocked()
            (tmp_path / "next").write_text("one:1\nnonsense\n")
            (tmp_path / "next").rename(path)
            assert await receive.receive() == Sighting("one", 1)
            (tmp_path / "next").write_text("two:22\n")
            (tmp_path / "next").rename(path)
            assert await receive.receive() == Sighting("two", 22)
            path.unlink()
            nursery.cancel_scope.cancel()
    told = [record.message for record in caplog.records]
    assert sum("cannot be read" in one for one in told) == 1
    assert any("line 2" in one for one in told)


async def test_a_fixed_list_is_told_once() -> None:
    send, receive = trio.open_memory_channel[Sighting](10)
    await StaticPeers([Sighting("a", 1), Sighting("b", 2)]).run(ANNOUNCEMENT, send)
    assert [receive.receive_nowait(), receive.receive_nowait()] == [Sighting("a", 1), Sighting("b", 2)]


def test_the_links_of_the_default_routes_are_chosen() -> None:
    assert default_links(ROUTES) == {"wlan0"}
    assert default_links("") == set()


@pytest.mark.parametrize("name", ["lo", "docker0", "veth1a2b", "br-12ab", "tun0", "wg0", "utun3", "virbr0"])
def test_links_to_containers_and_tunnels_are_skipped(name: str) -> None:
    assert discovery._SKIPPED.match(name)


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
    monkeypatch.setattr(discovery, "ADDRESSES_EVERY_S", 0.001)
    caplog.set_level(logging.INFO)
    send, _receive = trio.open_memory_channel[Sighting](1)
    with trio.move_on_after(0.2):
        await MdnsDiscovery(["lo"]).run(ANNOUNCEMENT, send)
    assert sum("no multicast here" in record.message for record in caplog.records) == 1


async def test_forged_names_by_the_ten_thousand_do_not_grow_memory() -> None:
    send, receive = trio.open_memory_channel[Sighting](5)
    sightings = discovery._Sightings("own", trio.lowlevel.current_trio_token(), send)
    for number in range(20_000):
        sightings.add(Sighting("192.0.2.1", 1, f"{number:032x}"))
    assert len(sightings._told) == discovery.SIGHTINGS_MAX
    assert len(sightings._waiting) == discovery.WAITING_MAX
    await trio.testing.wait_all_tasks_blocked()
    assert receive.statistics().current_buffer_used == 5


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
from p2pcdn_daemon.discovery import MdnsDiscovery

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
