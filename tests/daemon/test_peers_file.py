"""A file of neighbours: what may stand in it, that it may come late, change, be written while it is read, and go."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from p2pcdn.world import Announcement, Sighting
from p2pcdn_daemon.neighbours import peers_file
from p2pcdn_daemon.neighbours.peers_file import PeersFile, read_peer, read_peers

ANNOUNCEMENT = Announcement("ab" * 16, 7273, "", "0.1")
# Looking again takes a hundredth of a second here.
TIME_S_MAX = 15.0


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
    assert len(peers) <= peers_file.FILE_LINES_MAX
    assert wrong


@asynccontextmanager
async def watched(path: Path) -> AsyncIterator[trio.MemoryReceiveChannel[Sighting]]:
    send, receive = trio.open_memory_channel[Sighting](100)
    with trio.fail_after(TIME_S_MAX):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(PeersFile(path).run, ANNOUNCEMENT, send)
            yield receive
            nursery.cancel_scope.cancel()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(peers_file, "FILE_EVERY_S", 0.01)
    return tmp_path / "peers"


def write(path: Path, text: str) -> None:
    path.write_text(text)


def remove(path: Path) -> None:
    path.unlink()


def times(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_atime_ns, status.st_mtime_ns


def replace_file(path: Path, text: str) -> None:
    path.with_name("next").write_text(text)
    path.with_name("next").rename(path)


async def test_a_peers_file_may_come_late_and_change(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with watched(path) as found:
        while not caplog.records:
            await trio.testing.wait_all_tasks_blocked()
        replace_file(path, "one:1\nnonsense\n")
        assert await found.receive() == Sighting("one", 1)
        replace_file(path, "two:22\none:1\n")
        assert await found.receive() == Sighting("two", 22)
    told = [record.message for record in caplog.records]
    assert sum("cannot be read" in one for one in told) == 1
    assert any("line 2" in one for one in told)


async def test_a_line_that_is_taken_out_is_told_and_the_others_are_not_told_again(path: Path) -> None:
    write(path, "one:1\ntwo:22\n")
    async with watched(path) as found:
        assert [await found.receive() for _ in range(2)] == [Sighting("one", 1), Sighting("two", 22)]
        write(path, "two:22\n")
        assert await found.receive() == Sighting("one", 1, gone=True)
        # While the file is away nobody is let go; what is missing when it comes back is.
        remove(path)
        with trio.move_on_after(0.1):
            pytest.fail(f"told: {await found.receive()}")
        replace_file(path, "three:3\n")
        assert {await found.receive() for _ in range(2)} == {Sighting("two", 22, gone=True), Sighting("three", 3)}


async def test_a_change_of_one_byte_in_the_same_tick_of_the_clock_is_seen(path: Path) -> None:
    write(path, "one:1\n")
    before = times(path)
    async with watched(path) as found:
        assert await found.receive() == Sighting("one", 1)
        with path.open("r+") as file:
            file.write("two:2\n")
        os.utime(path, ns=before)
        assert {await found.receive() for _ in range(2)} == {Sighting("one", 1, gone=True), Sighting("two", 2)}


async def test_what_was_read_half_written_is_put_right(path: Path) -> None:
    write(path, "10.0.0.1:7273\n10.0.0.2:72")
    async with watched(path) as found:
        assert [await found.receive() for _ in range(2)] == [Sighting("10.0.0.1", 7273), Sighting("10.0.0.2", 72)]
        with path.open("a") as file:
            file.write("73\n")
        told = {await found.receive() for _ in range(2)}
    assert told == {Sighting("10.0.0.2", 72, gone=True), Sighting("10.0.0.2", 7273)}
