"""Peers that lie, stall, die or are full: a bounded time, a strike where it is due, and never a wrong byte."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trio.testing

from p2pcdn.digest import Sha256
from p2pcdn.errors import DigestMismatch, Unavailable
from p2pcdn.swarm import Patience
from p2pcdn.swarm.neighbours.conversation import NO_PROGRESS_S
from p2pcdn.swarm.pieces.manifest import manifest_of
from p2pcdn.swarm.wire.messages import PUBLIC_KEY, blob_id
from tests.swarm.nodes import HANG_S, MIB, PUBLIC, SHORT, content_of, fake, honest, node, ok

CONTENT = content_of(1, 10 * MIB + 3)
Script = Callable[[str], bytes | None]


def with_pieces(answer: Callable[[bytes], bytes | None]) -> Script:
    """An honest manifest, and pieces that `answer` makes out of the right ones."""
    right = honest(CONTENT)

    def script(path: str) -> bytes | None:
        given = right(path)
        if "/piece?" in path and given.startswith(b"HTTP/1.1 200"):
            head, _, piece = given.partition(b"\r\n\r\n")
            told = b"\r\n".join(line for line in head.split(b"\r\n") if line.startswith((b"piece", b"proof")))
            said = answer(piece)
            return said and said.replace(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n" + told + b"\r\n", 1)
        return given

    return script


def with_manifest(answer: bytes) -> Script:
    right = honest(CONTENT)
    return lambda path: ok(answer) if path.endswith("/manifest") else right(path)


def flipped(piece: bytes) -> bytes:
    return ok(piece[:-1] + bytes([piece[-1] ^ 1]))


LIES: dict[str, Script] = {
    "a wrong piece": with_pieces(flipped),
    "a short piece": with_pieces(lambda piece: ok(piece[:-1])),
    "a long piece": with_pieces(lambda piece: ok(piece + b"x")),
    "always the same piece": with_pieces(lambda piece: ok(CONTENT[: len(piece)]) if piece[:9] != CONTENT[:9] else None),
    "two answers": with_pieces(lambda piece: ok(piece) + ok(piece)),
    "an endless head": with_pieces(lambda piece: b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000),
    "no length": with_pieces(lambda piece: b"HTTP/1.1 200 OK\r\n\r\n" + piece),
    "chunks": with_pieces(lambda piece: b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    "two lengths": with_pieces(lambda piece: b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"),
    "another protocol": with_pieces(lambda piece: b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    "a bitfield of another length": with_pieces(
        lambda piece: b"HTTP/1.1 409 Conflict\r\nholds: AAAAAAAA\r\ncontent-length: 0\r\n\r\n"
    ),
    "a manifest of another size": with_manifest(manifest_of(Sha256.of(CONTENT), CONTENT + b"x").encode()),
    "a manifest with a hash too few": with_manifest(manifest_of(Sha256.of(CONTENT), CONTENT).encode()[:-1]),
    "a manifest of noise": with_manifest(content_of(5, 300)),
    "a manifest without end": with_manifest(bytes(300 * 1024)),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_liar_is_found_out_struck_and_named_in_the_log(
    tmp_path: Path, lie: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with fake(LIES[lie]) as liar, node(tmp_path / "b", peers=[liar.sighting()]) as victim:
        partial = await victim.wants(CONTENT)
        with trio.fail_after(HANG_S), pytest.raises(Unavailable):
            await victim.swarm.fill(partial)
        (status,) = victim.swarm.peers()
        assert status.strikes >= 1
        assert status.wrong
        assert victim.counters.refused_pieces[status.address] >= 1
        line = next(record for record in caplog.records if "refused from" in record.message)
        assert status.address in line.message
        assert partial.origin.filename in line.message
        asked = len(liar.asked)
        with pytest.raises(Unavailable):
            await victim.swarm.fill(partial)
        assert len(liar.asked) == asked, "who lied is left alone"


@pytest.mark.parametrize("lie", ["a wrong piece", "a manifest of noise", "two answers"])
async def test_beside_a_liar_the_honest_one_gives_the_file(tmp_path: Path, lie: str) -> None:
    async with (
        fake(LIES[lie]) as liar,
        node(tmp_path / "a") as first,
        node(tmp_path / "b", peers=[liar.sighting(), first.sighting()]) as victim,
    ):
        await first.keep(CONTENT)
        partial = await victim.wants(CONTENT)
        with trio.fail_after(HANG_S):
            await victim.swarm.fill(partial)
            assert (await partial.finish()).sha256 == Sha256.of(CONTENT)
        assert not any(one.strikes for one in victim.swarm.peers() if one.address.endswith(f":{first.port}"))


async def test_a_false_manifest_costs_one_file_and_its_maker_a_strike(tmp_path: Path) -> None:
    wrong = content_of(2, len(CONTENT))
    async with (
        fake(honest(wrong, named=CONTENT)) as liar,
        node(tmp_path / "b", peers=[liar.sighting()]) as victim,
    ):
        partial = await victim.wants(CONTENT)
        await victim.swarm.fill(partial)
        with pytest.raises(DigestMismatch):
            await partial.finish()
        victim.swarm.distrust(partial)
        await partial.forget_provisional()
        (status,) = victim.swarm.peers()
        assert status.strikes == 1
        assert "manifest" in (status.wrong or "")
        await partial.write(0, CONTENT)
        assert (await partial.finish()).sha256 == Sha256.of(CONTENT)


async def test_after_a_lie_the_right_file_may_be_small_and_come_twice_at_once(tmp_path: Path) -> None:
    content = content_of(7, 1000)
    async with (
        fake(honest(content_of(8, 1000), named=content)) as liar,
        node(tmp_path / "b", peers=[liar.sighting()]) as victim,
    ):
        partial = await victim.wants(content)
        await victim.swarm.fill(partial)
        with pytest.raises(DigestMismatch):
            await partial.finish()
        victim.swarm.distrust(partial)
        told = victim.store.on_kept
        victim.store.on_kept = lambda sha256: (told(sha256), told(sha256))  # two kept it in one write
        await victim.store.keep_small(content, PUBLIC, expected=Sha256.of(content))
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert victim.store.blob(Sha256.of(content)) is not None


async def test_an_honest_provider_is_not_struck_for_a_liars_manifest(tmp_path: Path) -> None:
    wrong = content_of(2, len(CONTENT))
    async with (
        fake(honest(wrong, named=CONTENT)) as liar,
        node(tmp_path / "a") as first,
        node(tmp_path / "b", peers=[liar.sighting(), first.sighting()]) as victim,
    ):
        await first.keep(CONTENT)
        partial = await victim.wants(CONTENT)
        await victim.swarm.fill(partial)
        try:
            await partial.finish()
        except DigestMismatch:
            victim.swarm.distrust(partial)
        struck = [one.address for one in victim.swarm.peers() if one.strikes]
        assert f"127.0.0.1:{first.port}" not in struck


async def test_the_pieces_that_were_under_way_together_are_one_lie(tmp_path: Path) -> None:
    async with fake(LIES["a wrong piece"]) as liar, node(tmp_path / "b", peers=[liar.sighting()]) as victim:
        with pytest.raises(Unavailable):
            await victim.swarm.fill(await victim.wants(CONTENT))
        (status,) = victim.swarm.peers()
        assert status.strikes == 1
        assert not status.banned


async def test_a_small_blob_that_is_not_what_was_asked_for_is_not_taken(tmp_path: Path) -> None:
    from p2pcdn.swarm.wire.messages import encode_small

    def script(path: str) -> bytes:
        return ok(encode_small([b"something else"]))

    async with fake(script) as liar, node(tmp_path / "b", peers=[liar.sighting()]) as victim:
        assert await victim.swarm.read(Sha256.of(b"what I want"), 100) is None
        assert victim.swarm.peers()[0].strikes == 1


SILENT: dict[str, Script] = {
    "says nothing to a manifest": lambda path: None,
    "stops within a manifest": lambda path: b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nabc",
    "says nothing to a piece": with_pieces(lambda piece: None),
    "stops within a piece": with_pieces(lambda piece: ok(piece)[:-5000]),
    "hangs up on a manifest": lambda path: b"",
    "hangs up on a piece": with_pieces(lambda piece: b""),
}


@pytest.mark.parametrize("how", SILENT)
async def test_a_peer_that_stalls_or_dies_is_left_and_not_struck(tmp_path: Path, how: str) -> None:
    async with fake(SILENT[how]) as sick, node(tmp_path / "b", peers=[sick.sighting()]) as victim:
        partials = [await victim.wants(CONTENT)]
        with trio.fail_after(HANG_S), pytest.raises(Unavailable):
            await victim.swarm.fill(partials[0])
        (status,) = victim.swarm.peers()
        assert status.strikes == 0
        assert status.wrong
        asked = len(sick.asked)
        for seed in range(20):
            with pytest.raises(Unavailable):
                await victim.swarm.fill(await victim.wants(content_of(seed, 100)))
        # On a busy machine this takes so long that it is greeted again, and then tried again.
        assert len(sick.asked) - asked < 10, "it is left alone for a while"


@pytest.mark.parametrize("how", ["says nothing to a manifest", "stops within a piece", "hangs up on a piece"])
async def test_beside_a_sick_peer_the_sound_one_gives_the_file(tmp_path: Path, how: str) -> None:
    async with (
        fake(SILENT[how]) as sick,
        node(tmp_path / "a") as first,
        node(tmp_path / "b", peers=[sick.sighting(), first.sighting()]) as victim,
    ):
        await first.keep(CONTENT)
        partial = await victim.wants(CONTENT)
        with trio.fail_after(HANG_S):
            await victim.swarm.fill(partial)
            await partial.finish()


async def test_a_full_peer_is_asked_again_after_the_time_it_named(tmp_path: Path) -> None:
    refusals = [b"HTTP/1.1 503 Service Unavailable\r\nretry-after-ms: 20\r\ncontent-length: 0\r\n\r\n"] * 5
    script = with_pieces(lambda piece: refusals.pop() if refusals else ok(piece))
    async with fake(script) as busy, node(tmp_path / "b", peers=[busy.sighting()]) as second:
        partial = await second.wants(CONTENT)
        await second.swarm.fill(partial)
        await partial.finish()
        assert second.swarm.peers()[0].strikes == 0


async def test_a_peer_that_is_always_full_is_left_within_the_watchdogs_time(tmp_path: Path) -> None:
    full = b"HTTP/1.1 503 Service Unavailable\r\nretry-after-ms: 20\r\ncontent-length: 0\r\n\r\n"
    async with fake(with_pieces(lambda piece: full)) as busy, node(tmp_path / "b", peers=[busy.sighting()]) as second:
        with trio.fail_after(HANG_S), pytest.raises(Unavailable):
            await second.swarm.fill(await second.wants(CONTENT))
        (status,) = second.swarm.peers()
        assert status.strikes == 0
        assert not status.banned


async def test_without_a_known_size_a_file_larger_than_the_store_is_not_begun(tmp_path: Path) -> None:
    async with (
        fake(honest(CONTENT)) as liar,
        node(tmp_path / "b", peers=[liar.sighting()], store_size_bytes=5 * MIB) as victim,
    ):
        with pytest.raises(Unavailable):
            await victim.swarm.fill(await victim.wants(CONTENT, size_known=False))
        assert not any("/piece?" in path for path in liar.asked)


@pytest.mark.parametrize("question", ["/manifest", "/piece?"])
async def test_one_that_is_busy_for_ever_costs_its_time_once_or_twice_and_not_for_each_file(
    tmp_path: Path, question: str
) -> None:
    contents = [content_of(seed, 300_000) for seed in range(10)]
    scripts = {blob_id(PUBLIC_KEY, Sha256.of(content)): honest(content) for content in contents}

    def script(path: str) -> bytes:
        if question in path:
            return b"HTTP/1.1 503 Busy\r\nretry-after-ms: 50\r\ncontent-length: 0\r\n\r\n"
        return scripts[path.split("/")[3]](path)

    async with fake(script) as busy, node(tmp_path / "b", peers=[busy.sighting()]) as it:
        began = trio.current_time()
        for content in contents:
            with trio.fail_after(HANG_S), pytest.raises(Unavailable):
                await it.swarm.fill(await it.wants(content))
        assert trio.current_time() - began < 5 * SHORT.no_progress_s
        assert not any(one.strikes for one in it.swarm.peers())


@pytest.mark.alone
async def test_a_slow_neighbour_is_not_blamed_for_the_files_that_queue_here_for_its_answer(tmp_path: Path) -> None:
    contents = [content_of(seed, 1000) for seed in range(40)]
    scripts = {blob_id(PUBLIC_KEY, Sha256.of(content)): honest(content) for content in contents}
    given = []

    async with (
        fake(lambda path: scripts[path.split("/")[3]](path), answers_after_s=NO_PROGRESS_S / 8) as slow,
        node(tmp_path / "b", peers=[slow.sighting()], patience=Patience()) as it,
    ):

        async def fill(content: bytes) -> None:
            with suppress(Unavailable):
                await it.swarm.fill(await it.wants(content))
                given.append(content)

        async with trio.open_nursery() as nursery:
            for content in contents:
                nursery.start_soon(fill, content)
        assert given
        (status,) = it.swarm.peers()
        assert status.wrong is None
