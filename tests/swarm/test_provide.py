"""The peer face, asked directly: what is given, what is refused, and that refusals tell nothing."""

from __future__ import annotations

import os
from collections.abc import Awaitable
from pathlib import Path

import pytest

from p2pcdn.digest import Sha256
from p2pcdn.errors import NotFound
from p2pcdn.http1 import FileSlice, Request, Response
from p2pcdn.store import Origin
from p2pcdn.swarm.giving.manners import SLOTS
from p2pcdn.swarm.giving.slots import SLOTS_PER_FILE, SLOTS_PER_HOST
from p2pcdn.swarm.pieces.manifest import Manifest, Proof, manifest_of
from p2pcdn.swarm.swarm import Swarm
from p2pcdn.swarm.wire.messages import (
    IDS_MAX,
    PUBLIC_KEY,
    SMALL_SIZE_BYTES_MAX,
    Hello,
    blob_id,
    decode_have,
    decode_small,
)
from p2pcdn.world import Share
from tests.store.test_store_descriptors import no_descriptor_free
from tests.swarm.nodes import MIB, PUBLIC, content_of, node, piece_path, until

CONTENT = content_of(1, 3 * MIB)


async def ask(swarm: Swarm, path: str, *, peer: str = "192.0.2.9:5", query: str = "") -> Response:
    answer = swarm.answer(Request("GET", path.encode(), path, query, {}, peer=peer))
    return await answer if isinstance(answer, Awaitable) else answer


def id_of(content: bytes) -> str:
    return blob_id(PUBLIC_KEY, Sha256.of(content))


async def ask_piece(swarm: Swarm, content: bytes, *wanted: int, peer: str = "192.0.2.9:5") -> Response:
    path, query = piece_path(content, *wanted)
    return await ask(swarm, path, query=query, peer=peer)


def origin(share: Share) -> Origin:
    return Origin("thing-1.0-py3-none-any.whl", "thing", "0123456789abcdef", share)


async def test_whole_public_blobs_are_given_and_all_others_look_unknown(tmp_path: Path) -> None:
    async with node(tmp_path / "a") as it:
        await it.keep(CONTENT)
        hidden: list[bytes] = []
        for number, share in enumerate(("never", "group")):
            hidden.append(content_of(10 + number, MIB))
            await it.keep(hidden[-1], origin(share))  # type: ignore[arg-type]
        hidden.append(content_of(20, MIB))
        await it.store.change(bury=[(await it.keep(hidden[-1])).sha256])
        hidden.append(content_of(21, MIB))
        growing = await it.wants(hidden[-1])
        await growing.write(0, hidden[-1][:1000])
        unknown = await ask(it.swarm, f"/v1/blob/{id_of(b'nobody has it')}/manifest")
        assert unknown.status == 404
        for content in hidden:
            assert await ask(it.swarm, f"/v1/blob/{id_of(content)}/manifest") == unknown
            assert await ask_piece(it.swarm, content, 0) == unknown
        answer = await ask(it.swarm, "/v1/have/" + ",".join(map(id_of, [*hidden, CONTENT])))
        assert isinstance(answer.body, bytes)
        assert decode_have(answer.body, 5) == [None, None, None, None, len(CONTENT)]


async def test_who_closes_an_index_closes_what_it_gave_before(tmp_path: Path) -> None:
    path = f"/v1/blob/{id_of(CONTENT)}/manifest"
    key, other = PUBLIC.index_key, "f" * 16
    async with node(tmp_path / "a", shares={key: "lan"}) as it:
        await it.keep(CONTENT)
        assert (await ask(it.swarm, path)).status == 200
    statuses: dict[tuple[Share | None, Share], int] = {}
    for own in ("never", "lan", None):
        for others in ("never", "lan"):
            shares: dict[str, Share] = {other: others} if own is None else {key: own, other: others}
            async with node(tmp_path / "a", shares=shares) as it:
                await until(lambda it=it: it.swarm._directory)
                statuses[own, others] = (await ask(it.swarm, path)).status
    assert statuses == {
        ("never", "never"): 404,
        ("never", "lan"): 404,
        ("lan", "never"): 200,
        ("lan", "lan"): 200,
        (None, "never"): 404,
        (None, "lan"): 200,
    }


async def test_a_piece_leaves_as_a_slice_of_the_file(tmp_path: Path) -> None:
    async with node(tmp_path / "a") as it:
        await it.keep(CONTENT)
        answer = await ask_piece(it.swarm, CONTENT, 1)
        assert isinstance(answer.body, FileSlice)
        assert (answer.body.offset, answer.body.size_bytes) == (256 * 1024, 256 * 1024)
        assert answer.release is not None
        answer.release()
        assert (await ask_piece(it.swarm, CONTENT, 12)).status == 404


async def test_a_file_that_was_fetched_anew_is_given_and_not_the_one_that_is_still_open(tmp_path: Path) -> None:
    """A bad sector drops a blob; neighbours whose questions kept its file open had nothing of the next one."""
    async with node(tmp_path / "a") as it:
        for _ in range(2):
            await it.keep(CONTENT)
            answer = await ask_piece(it.swarm, CONTENT, 1)
            assert isinstance(answer.body, FileSlice)
            assert answer.release is not None
            at, size_bytes = answer.body.offset, answer.body.size_bytes
            assert await answer.body.file.pread(size_bytes, at) == CONTENT[at : at + size_bytes]
            answer.release()
            unreadable = os.open("/proc/self/mem", os.O_RDONLY)  # whose first page is mapped nowhere: EIO
            os.dup2(unreadable, answer.body.file.fileno())
            with pytest.raises(NotFound):
                await answer.body.file.pread(100, 0)
            os.close(unreadable)


async def test_a_full_node_refuses_at_once_and_gives_again_when_a_slot_is_free(tmp_path: Path) -> None:
    contents = [content_of(seed, MIB) for seed in range(SLOTS // SLOTS_PER_FILE)]
    async with node(tmp_path / "a") as it:
        await it.keep(CONTENT)
        for content in contents:
            await it.keep(content)
        given = []
        for host in range(SLOTS):
            given.append(await ask_piece(it.swarm, contents[host // SLOTS_PER_FILE], 0, peer=f"192.0.2.{host}:1"))
        assert [answer.status for answer in given] == [200] * SLOTS
        refused = await ask_piece(it.swarm, CONTENT, 0)
        assert refused.status == 503
        assert int(dict(refused.headers)["retry-after-ms"]) > 0
        release = given[0].release
        assert release is not None
        release()
        assert (await ask_piece(it.swarm, CONTENT, 0)).status == 200


async def test_one_host_cannot_take_all_slots(tmp_path: Path) -> None:
    contents = [content_of(seed, MIB) for seed in range(3)]
    async with node(tmp_path / "a") as it:
        for content in contents:
            await it.keep(content)
        statuses = [
            (await ask_piece(it.swarm, content, 0, peer="192.0.2.1:1")).status
            for content in contents
            for _ in range(SLOTS_PER_FILE)
        ]
        assert statuses == [200] * SLOTS_PER_HOST + [503] * 3
        assert (await ask_piece(it.swarm, contents[2], 0, peer="192.0.2.2:1")).status == 200


async def test_a_manifest_is_made_once_and_kept_over_a_restart(tmp_path: Path) -> None:
    path = f"/v1/blob/{id_of(CONTENT)}/manifest"
    async with node(tmp_path / "a") as it:
        await it.keep(CONTENT)
        first = await ask(it.swarm, path)
        assert isinstance(first.body, bytes)
        assert Manifest.decode(Sha256.of(CONTENT), first.body) == manifest_of(Sha256.of(CONTENT), CONTENT)
        assert Proof.decode(dict(first.headers)["proof"]).holds_for_manifest(Sha256.of(CONTENT), first.body)
    async with node(tmp_path / "a") as it:
        assert it.store.value("manifests", Sha256.of(CONTENT)) == first.body


async def test_a_rotten_manifest_in_the_store_is_made_anew(tmp_path: Path) -> None:
    async with node(tmp_path / "a") as it:
        await it.keep(CONTENT)
        await it.store.change(values={("manifests", Sha256.of(CONTENT)): b"nonsense"})
        answer = await ask(it.swarm, f"/v1/blob/{id_of(CONTENT)}/manifest")
        assert isinstance(answer.body, bytes)
        assert Manifest.decode(Sha256.of(CONTENT), answer.body) == manifest_of(Sha256.of(CONTENT), CONTENT)


async def test_an_open_file_does_not_hold_up_its_removal(tmp_path: Path) -> None:
    async with node(tmp_path / "a") as it:
        blob = await it.keep(CONTENT)
        answer = await ask_piece(it.swarm, CONTENT, 0)
        await it.store.drop(blob.sha256)
        assert (await ask_piece(it.swarm, CONTENT, 0)).status == 404
        assert answer.release is not None
        answer.release()
        assert isinstance(answer.body, FileSlice)
        assert answer.body.file.fileno() == -1, "the last one out closes it"


async def test_small_blobs_come_as_many_as_fit_one_answer(tmp_path: Path) -> None:
    contents = [content_of(seed, 200 * 1024) for seed in range(IDS_MAX)]
    async with node(tmp_path / "a") as it:
        for content in contents:
            await it.store.keep_small(content, origin("lan"), expected=Sha256.of(content))
        answer = await ask(it.swarm, "/v1/small/" + ",".join(map(id_of, contents)))
        assert isinstance(answer.body, bytes)
        assert len(answer.body) <= SMALL_SIZE_BYTES_MAX
        given = decode_small(answer.body, IDS_MAX)
        assert given[0] == contents[0]
        assert given[-1] is None


async def test_a_hello_names_no_user_no_host_and_no_package(tmp_path: Path) -> None:
    async with node(tmp_path / "a") as it:
        await it.keep(CONTENT)
        answer = await ask(it.swarm, "/v1/hello")
        assert isinstance(answer.body, bytes)
        hello = Hello.decode(answer.body)
        assert (hello.version, hello.protocol) == ("0.1", 1)


@pytest.mark.parametrize("path", ["/", "/v1/blob/../../etc/passwd", "/simple/", "/v1/status", "/metrics"])
async def test_there_is_nothing_else_at_the_peer_face(tmp_path: Path, path: str) -> None:
    async with node(tmp_path / "a") as it:
        assert (await ask(it.swarm, path)).status == 404


async def test_a_file_that_cannot_be_opened_now_is_not_said_to_be_absent(tmp_path: Path) -> None:
    known, unknown = content_of(2, MIB), content_of(3, MIB)
    async with node(tmp_path / "a") as it:
        await it.keep(known)
        await it.keep(unknown)
        assert (await ask(it.swarm, f"/v1/blob/{id_of(known)}/manifest")).status == 200
        with no_descriptor_free():
            statuses = [
                (await ask_piece(it.swarm, known, 0)).status,
                (await ask(it.swarm, f"/v1/blob/{id_of(unknown)}/manifest")).status,
            ]
        assert statuses == [503, 503], "or who asks would believe that it is nowhere"
        assert (await ask_piece(it.swarm, known, 0)).status == 200
        assert (await ask(it.swarm, f"/v1/blob/{id_of(unknown)}/manifest")).status == 200
