"""Neighbours by DNS: addresses on virtual time, as simnet gives them, and SRV records from a real server."""

from __future__ import annotations

import logging
import random
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import dns.asyncresolver
import dns.message
import dns.rrset
import pytest
import trio
import trio.testing

from p2pcdn.world import Announcement, Sighting
from p2pcdn_daemon.neighbours import peers_dns
from p2pcdn_daemon.neighbours.peers_dns import (
    ADDRESSES_MAX,
    ASK_EVERY_S,
    RETRY_MAX_S,
    DnsPeers,
    Unresolved,
    srv_targets,
)

ANNOUNCEMENT = Announcement("ab" * 16, 7273, "", "0.1")


class Zone:
    """A resolver of trio's that knows what it is told; nothing is waited for but virtual time."""

    def __init__(self, **names: Sequence[str]) -> None:
        self.names: dict[str, Sequence[str]] = dict(names)
        self.asked: list[float] = []
        self.hangs = False

    async def getaddrinfo(
        self, host: bytes | None, port: object, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        assert host is not None
        self.asked.append(trio.current_time())
        if self.hangs:
            await trio.sleep_forever()
        found = self.names.get(host.decode())
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found
        ]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise NotImplementedError


@asynccontextmanager
async def watching(zone: Zone, *names: str, **more: Any) -> AsyncIterator[trio.MemoryReceiveChannel[Sighting]]:
    trio.socket.set_custom_hostname_resolver(zone)  # type: ignore[arg-type]
    send, receive = trio.open_memory_channel[Sighting](4096)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(DnsPeers(names, random.Random(3), **more).run, ANNOUNCEMENT, send)
        yield receive
        nursery.cancel_scope.cancel()


def told(found: trio.MemoryReceiveChannel[Sighting]) -> set[Sighting]:
    seen = set()
    while found.statistics().current_buffer_used:
        sighting = found.receive_nowait()
        assert sighting not in seen
        seen.add(sighting)
    return seen


async def test_all_addresses_of_a_name_are_told_once_and_those_that_go(autojump_clock: trio.testing.MockClock) -> None:
    zone = Zone(**{"peers.example": ["10.0.0.1", "10.0.0.2", "fd00::1"]})
    async with watching(zone, "peers.example:7273") as found:
        await trio.sleep(5 * ASK_EVERY_S)
        assert told(found) == {Sighting("10.0.0.1", 7273), Sighting("10.0.0.2", 7273), Sighting("fd00::1", 7273)}
        assert 4 <= len(zone.asked) <= 7
        zone.names["peers.example"] = ["10.0.0.2", "10.0.0.3"]
        await trio.sleep(2 * ASK_EVERY_S)
        assert told(found) == {
            Sighting("10.0.0.1", 7273, gone=True),
            Sighting("fd00::1", 7273, gone=True),
            Sighting("10.0.0.3", 7273),
        }


async def test_two_nodes_do_not_ask_in_step(autojump_clock: trio.testing.MockClock) -> None:
    zone = Zone(**{"peers.example": ["10.0.0.1"]})
    async with watching(zone, "peers.example:1", "peers.example:2"):
        await trio.sleep(3 * ASK_EVERY_S)
    assert len(set(zone.asked)) == len(zone.asked) - 1, "only the first questions come together"


async def test_a_name_that_is_not_there_yet_is_asked_for_soon_then_seldom_and_told_of_once(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    zone = Zone()
    async with watching(zone, "peers.example:7273") as found:
        await trio.sleep(10)
        assert len(zone.asked) >= 3
        await trio.sleep(3600)
        assert len(zone.asked) < 3600 / RETRY_MAX_S * 1.4
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "peers.example" in caplog.text
        assert "Name or service not known" in caplog.text
        zone.names["peers.example"] = ["10.0.0.1"]
        await trio.sleep(2 * RETRY_MAX_S)
        assert told(found) == {Sighting("10.0.0.1", 7273)}


async def test_a_resolver_that_fails_or_hangs_lets_nobody_go(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    zone = Zone(**{"peers.example": ["10.0.0.1"]})
    async with watching(zone, "peers.example:7273") as found:
        await trio.sleep(1)
        assert told(found) == {Sighting("10.0.0.1", 7273)}
        zone.hangs = True
        await trio.sleep(600)
        zone.hangs, zone.names = False, {}
        await trio.sleep(600)
        zone.names = {"peers.example": ["10.0.0.1"]}
        await trio.sleep(600)
        assert told(found) == set()
    assert len(caplog.records) == 1


async def test_an_address_that_another_name_still_leads_to_is_not_gone(autojump_clock: trio.testing.MockClock) -> None:
    zone = Zone(**{"a.example": ["10.0.0.1", "10.0.0.2"], "b.example": ["10.0.0.1"]})
    async with watching(zone, "a.example:1", "b.example:1") as found:
        await trio.sleep(1)
        assert told(found) == {Sighting("10.0.0.1", 1), Sighting("10.0.0.2", 1)}
        zone.names["a.example"] = ["10.0.0.2"]
        await trio.sleep(100)
        assert told(found) == set()
        zone.names["b.example"] = ["10.0.0.9"]
        await trio.sleep(100)
        assert told(found) == {Sighting("10.0.0.1", 1, gone=True), Sighting("10.0.0.9", 1)}


async def test_a_name_with_addresses_without_end_is_cut(autojump_clock: trio.testing.MockClock) -> None:
    zone = Zone(**{"peers.example": [f"10.{high}.{low}.1" for high in range(10) for low in range(250)]})
    async with watching(zone, "peers.example:1") as found:
        await trio.sleep(100)
        assert len(told(found)) == ADDRESSES_MAX


async def test_targets_of_srv_records_are_looked_up_and_one_unknown_harms_nobody(
    autojump_clock: trio.testing.MockClock,
) -> None:
    zone = Zone(**{"one.example": ["10.0.0.1"], "two.example": ["10.0.0.2"]})

    async def targets(name: str) -> Sequence[tuple[str, int]]:
        assert name == "_peer._tcp.example"
        return [("one.example", 71), ("two.example", 72), ("missing.example", 73)]

    async with watching(zone, "_peer._tcp.example", find_targets=targets) as found:
        await trio.sleep(100)
        assert told(found) == {Sighting("10.0.0.1", 71), Sighting("10.0.0.2", 72)}


# --- a real server


@asynccontextmanager
async def name_server(records: dict[str, Sequence[str]]) -> AsyncIterator[dns.asyncresolver.Resolver]:
    """A DNS server on loopback that has SRV records, over UDP; what is too long for that it gives over TCP."""
    udp, listeners = await _both_on_one_port()
    port = udp.getsockname()[1]

    def answer(question: bytes, size_bytes_max: int) -> bytes:
        query = dns.message.from_wire(question)
        response = dns.message.make_response(query)
        name = query.question[0].name
        found = records.get(name.to_text(omit_final_dot=True))
        if found is None:
            response.set_rcode(3)  # NXDOMAIN
        elif found:
            response.answer.append(dns.rrset.from_text(name, 5, "IN", "SRV", *found))
        whole = response.to_wire(max_size=65535)
        if len(whole) <= size_bytes_max:
            return whole
        short = dns.message.make_response(query)
        short.flags |= dns.flags.TC
        return short.to_wire()

    async def serve_udp() -> None:
        while True:
            question, asker = await udp.recvfrom(65535)
            await udp.sendto(answer(question, 512), asker)

    async def serve_tcp(stream: trio.SocketStream) -> None:
        question = await stream.receive_some(65535)
        reply = answer(bytes(question[2:]), 65535)
        await stream.send_all(len(reply).to_bytes(2, "big") + reply)

    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], port
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_udp)
        nursery.start_soon(trio.serve_listeners, serve_tcp, listeners)
        yield resolver
        nursery.cancel_scope.cancel()
    udp.close()


async def _both_on_one_port() -> tuple[trio.socket.SocketType, list[trio.SocketListener]]:
    """A port that is free for UDP may be taken for TCP, by a connection of another test; then it is another one."""
    for _ in range(20):
        udp = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        await udp.bind(("127.0.0.1", 0))
        try:
            return udp, await trio.open_tcp_listeners(udp.getsockname()[1], host="127.0.0.1")
        except OSError:
            udp.close()
    raise AssertionError("twenty ports were free for UDP and none for TCP")


async def test_srv_records_are_read_from_a_server_over_udp_and_tcp() -> None:
    many = [f"0 0 {number} host{number}.example." for number in range(1, 101)]
    zone = {"_peer._tcp.few.example": ["0 0 7273 one.example.", "10 5 7274 two.example."], "_peer._tcp.example": many}
    async with name_server(zone) as resolver:
        few = await srv_targets("_peer._tcp.few.example", resolver)
        assert sorted(few) == [("one.example", 7273), ("two.example", 7274)]
        assert len(await srv_targets("_peer._tcp.example.", resolver)) == 100


async def test_a_service_that_is_decidedly_not_there_is_no_target() -> None:
    async with name_server({"_peer._tcp.example": ["0 0 0 ."]}) as resolver:
        assert await srv_targets("_peer._tcp.example", resolver) == []


async def test_what_is_wrong_with_a_name_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers_dns, "LOOK_UP_TIME_S", 0.5)
    async with name_server({"_peer._tcp.empty.example": []}) as resolver:
        with pytest.raises(Unresolved, match="there is no such name"):
            await srv_targets("_peer._tcp.nowhere.example", resolver)
        with pytest.raises(Unresolved, match="no SRV records"):
            await srv_targets("_peer._tcp.empty.example", resolver)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            resolver.port = silent.getsockname()[1]
            with pytest.raises(Unresolved, match=r"(?i)time"):
                await srv_targets("_peer._tcp.example", resolver)
        with pytest.raises(Unresolved):
            await srv_targets("_" + "x" * 80 + "._tcp.example", resolver)
