"""Files fetched and delivered, on virtual time, against an upstream by script."""

from __future__ import annotations

import dataclasses
import json
import random
import zipfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pytest
import trio

from p2pcdn.counters import Counters
from p2pcdn.digest import Sha256
from p2pcdn.errors import DigestMismatch, NotFound, P2pcdnError, Refused, Unavailable
from p2pcdn.fetch import Delivery, Fetch, Metadata, OriginReader, Wanted
from p2pcdn.http1 import FileSlice
from p2pcdn.simple import parse_page
from p2pcdn.store import HELD_BACK_SIZE_BYTES, Blob, Partial, Store
from tests.worlds import INDEX, Answer, Script, ScriptedUpstream, lonely_swarm, open_store

CONTENT = random.Random(3).randbytes(3_000_000)
NAME = "big-1.0-py3-none-any.whl"


def wanted(content: bytes = CONTENT, *, size: bool = True, hashed: bool = True, name: str = NAME) -> Wanted:
    file = {
        "filename": name,
        "url": f"https://files.example/packages/{name}",
        "hashes": {"sha256": sha256(content).hexdigest()} if hashed else {},
        **({"size": len(content)} if size else {}),
    }
    body = json.dumps({"meta": {"api-version": "1.1"}, "name": "big", "versions": [], "files": [file]}).encode()
    page = parse_page(body, "application/vnd.pypi.simple.v1+json", INDEX.url + "big/", "big")
    return Wanted(INDEX, "big", page.files[0])


class Scripted:
    """The fetching rooms of one node without neighbours."""

    def __init__(self, store: Store, nursery: trio.Nursery, script: Script) -> None:
        self.now = script
        self.upstream = ScriptedUpstream(lambda url, headers: self.now(url, headers))
        self.counters = Counters()
        origin = OriginReader(self.upstream, self.counters, random.Random(1))
        self.changed: list[str] = []
        swarm = self.swarm = lonely_swarm(store, self.counters)
        self.metadata = Metadata(
            store=store,
            swarm=swarm,
            origin=origin,
            nursery=nursery,
            offline=False,
            whole=lambda wanted: self.fetch.whole(wanted),
            on_change=self.changed.append,
        )
        self.fetch = Fetch(
            store=store,
            swarm=swarm,
            origin=origin,
            counters=self.counters,
            nursery=nursery,
            offline=False,
            on_kept=self.metadata.note_kept,
        )
        self.delivery = Delivery(origin, nursery)

    async def get(self, what: Wanted, start: int = 0, end: int | None = None) -> bytes:
        """What a client gets, byte for byte."""
        held = await self.fetch.open(what)
        if isinstance(held, Blob):
            return (await held.read())[start:end]
        got = bytearray()
        await self.follow(what, held, got, start, end)
        return bytes(got)

    async def follow(
        self, what: Wanted, growing: Partial, got: bytearray, start: int = 0, end: int | None = None
    ) -> None:
        async for part in self.delivery.follow(what, growing, start, end):
            got += await part.file.pread(part.size_bytes, part.offset) if isinstance(part, FileSlice) else part


@asynccontextmanager
async def scripted(directory: Path, script: Script) -> AsyncIterator[tuple[Scripted, Store]]:
    async with open_store(directory) as store, trio.open_nursery() as nursery:
        yield Scripted(store, nursery, script), store
        nursery.cancel_scope.cancel()


async def test_twenty_clients_at_once_cost_one_get_and_all_get_the_bytes(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with scripted(tmp_path, lambda url, headers: Answer(CONTENT, pause_s=0.01)) as (world, _store):
        got: list[bytes] = []

        async def client() -> None:
            got.append(await world.get(wanted()))

        async with trio.open_nursery() as clients:
            for _ in range(20):
                clients.start_soon(client)
        assert got == [CONTENT] * 20
        assert len(world.upstream.asked) == 1
        held = await world.fetch.open(wanted())
        assert isinstance(held, (Blob, Partial))
        assert world.counters.upstream_bytes[INDEX.url] == len(CONTENT)


async def test_the_first_byte_goes_out_long_before_the_last_arrives(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with scripted(tmp_path, lambda url, headers: Answer(CONTENT, pause_s=1)) as (world, _):
        growing = await world.fetch.open(wanted())
        assert isinstance(growing, Partial)
        assert await growing.readable(0) > 0
        assert trio.current_time() < 3


async def test_an_impatient_client_cancels_nobodys_download(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    async with scripted(tmp_path, lambda url, headers: Answer(CONTENT, pause_s=0.1)) as (world, store):
        with trio.move_on_after(1):
            await world.get(wanted())
        await trio.sleep(60)
        blob = store.blob(Sha256(sha256(CONTENT).hexdigest()))
        assert blob is not None
        assert await blob.read() == CONTENT


async def test_a_cut_connection_goes_on_by_range_where_it_stopped(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with scripted(tmp_path, lambda url, headers: Answer(CONTENT, cut_after=1_000_000)) as (world, _):
        assert await world.get(wanted()) == CONTENT
        ranges = [headers.get("range") for _, headers in world.upstream.asked]
        assert ranges[0] is None
        assert all(wish is not None and wish.startswith("bytes=") for wish in ranges[1:])
        assert world.counters.upstream_bytes[INDEX.url] == len(CONTENT), "nothing came twice"


async def test_an_upstream_that_knows_no_range_is_read_from_the_start_and_passed_over(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    answers = iter([Answer(CONTENT, cut_after=1_500_000), Answer(CONTENT, headers={})])

    def script(url: str, headers: object) -> Answer:
        return next(answers)

    async with scripted(tmp_path, script) as (world, _):
        original = world.upstream.get

        def without_range(index: object, url: str, headers: dict[str, str] | None = None):  # type: ignore[no-untyped-def]
            plain = {name: value for name, value in (headers or {}).items() if name != "range"}
            return original(INDEX, url, plain)

        world.upstream.get = without_range  # type: ignore[method-assign, assignment]
        assert await world.get(wanted()) == CONTENT


@pytest.mark.parametrize(("start", "end"), [(0, None), (0, 100), (1_000_000, 1_000_100), (2_999_000, 3_000_000)])
async def test_wrong_bytes_are_never_a_complete_answer_and_nothing_is_kept(
    tmp_path: Path, autojump_clock: trio.abc.Clock, start: int, end: int | None
) -> None:
    wrong = bytearray(CONTENT)
    wrong[-1] ^= 1
    async with scripted(tmp_path, lambda url, headers: Answer(bytes(wrong))) as (world, store):
        held = await world.fetch.open(wanted())
        assert isinstance(held, Partial)
        got = bytearray()
        with pytest.raises(DigestMismatch):
            await world.follow(wanted(), held, got, start, end)
        asked_for = (end if end is not None else len(CONTENT)) - start
        assert len(got) <= max(0, asked_for - HELD_BACK_SIZE_BYTES)
        assert store.summary().blobs == 0
        assert not any((tmp_path / "store").rglob("partials/*"))

        world.now = lambda url, headers: Answer(CONTENT)
        assert await world.get(wanted()) == CONTENT, "the next attempt begins anew"


async def test_an_upstream_that_is_down_fails_the_file_and_the_next_attempt_resumes(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    def cut_for_good(url: str, headers: object) -> Answer:
        first = len(world.upstream.asked) == 1
        return Answer(CONTENT, cut_after=2_000_000) if first else Answer(error=Unavailable("no route"))

    async with scripted(tmp_path, cut_for_good) as (world, _):
        with pytest.raises(Unavailable):
            await world.get(wanted())
        world.now = lambda url, headers: Answer(CONTENT)
        assert await world.get(wanted()) == CONTENT
        wished = world.upstream.asked[-1][1]["range"]
        assert int(wished.removeprefix("bytes=").rstrip("-")) >= 1_000_000


async def test_after_a_restart_the_download_goes_on_from_the_verified_pieces(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with scripted(tmp_path, lambda url, headers: Answer(CONTENT, pause_s=1)) as (world, _):
        with trio.move_on_after(40):
            await world.get(wanted())
    async with scripted(tmp_path, lambda url, headers: Answer(CONTENT)) as (world, _):
        assert await world.get(wanted()) == CONTENT
        assert "range" in world.upstream.asked[0][1]


async def test_a_file_of_unknown_size_arrives_whole(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    answer = Answer(CONTENT, headers={"content-length": "?"}, pause_s=0.01)
    async with scripted(tmp_path, lambda url, headers: answer) as (world, _):
        assert await world.get(wanted(size=False)) == CONTENT


async def test_a_file_without_a_hash_is_trusted_on_first_use_and_never_shared(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    what = wanted(hashed=False)
    async with scripted(tmp_path, lambda url, headers: Answer(CONTENT)) as (world, _store):
        assert await world.get(what) == CONTENT
        await trio.sleep(1)
        held = world.fetch.held(what)
        assert isinstance(held, Blob)
        assert held.origin.share == "never"
        assert await world.get(what) == CONTENT
        assert len(world.upstream.asked) == 1


async def test_a_file_without_a_hash_is_not_fetched_over_plain_http_for_an_index_that_has_tls(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with scripted(tmp_path, lambda url, headers: Answer(CONTENT)) as (world, _):
        whole = wanted(hashed=False)
        open_one = dataclasses.replace(whole, file=dataclasses.replace(whole.file, url="http://files.example/big.whl"))
        with pytest.raises(Refused, match="over plain http and gives no hash"):
            await world.get(open_one)
        with pytest.raises(Refused, match="over plain http and gives no hash"):  # nor its end, for its METADATA
            await world.fetch._filling._origin.tail(open_one, 1024)
        assert not world.upstream.asked
        hashed = dataclasses.replace(
            wanted(), file=dataclasses.replace(wanted().file, url="http://files.example/big.whl")
        )
        assert await world.get(hashed) == CONTENT


async def test_a_404_of_the_file_host_is_a_404(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    async with scripted(tmp_path, lambda url, headers: Answer(status=404)) as (world, _):
        with pytest.raises(NotFound, match=rf"files\.example has no file {NAME}\."):
            await world.get(wanted())


# -- metadata ---------------------------------------------------------------------------------------------------------

METADATA = b"Metadata-Version: 2.1\nName: big\nVersion: 1.0\n"


def wheel() -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("big/data.bin", random.Random(5).randbytes(2_000_000))
        archive.writestr("big-1.0.dist-info/METADATA", METADATA)
    return buffer.getvalue()


async def test_metadata_that_the_index_lacks_is_range_read_out_of_the_wheel(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    content = wheel()
    async with scripted(tmp_path, lambda url, headers: Answer(content)) as (world, _store):
        assert await world.metadata.of(wanted(content)) == METADATA
        assert world.counters.upstream_bytes[INDEX.url] < 100_000
        before = len(world.upstream.asked)
        assert await world.metadata.of(wanted(content)) == METADATA
        assert len(world.upstream.asked) == before, "it is kept"
        assert world.changed == ["big"]


def of_unknown_size(content: bytes) -> Wanted:
    """As an index of links has it."""
    what = wanted(content)
    return dataclasses.replace(what, file=dataclasses.replace(what.file, size_bytes=None))


async def test_the_end_of_a_wheel_of_unknown_length_is_asked_for_at_once(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    content = wheel()
    async with scripted(tmp_path, lambda url, headers: Answer(content)) as (world, _store):
        assert await world.metadata.of(of_unknown_size(content)) == METADATA
        assert [headers["range"] for _, headers in world.upstream.asked] == ["bytes=-65536"]


@pytest.mark.parametrize("refusal", [Answer(status=416), Answer(status=400), Answer(status=503)])
async def test_an_upstream_that_knows_no_such_range_is_asked_for_the_length_first(
    tmp_path: Path, autojump_clock: trio.abc.Clock, refusal: Answer
) -> None:
    content = wheel()

    def script(url: str, headers: Mapping[str, str]) -> Answer:
        return refusal if headers["range"].startswith("bytes=-") else Answer(content)

    async with scripted(tmp_path, script) as (world, _store):
        assert await world.metadata.of(of_unknown_size(content)) == METADATA
        ranges = [headers["range"] for _, headers in world.upstream.asked]
        assert ranges[:2] == ["bytes=-65536", "bytes=0-0"]


@pytest.mark.parametrize("more", [-7, 7, 70_000])
async def test_metadata_is_found_where_the_index_says_another_size(
    tmp_path: Path, autojump_clock: trio.abc.Clock, more: int
) -> None:
    content = wheel()
    what = wanted(content)
    other = dataclasses.replace(what, file=dataclasses.replace(what.file, size_bytes=len(content) + more))
    async with scripted(tmp_path, lambda url, headers: Answer(content)) as (world, _store):
        assert await world.metadata.of(other) == METADATA


async def test_an_upstream_that_sends_the_whole_file_for_its_end_is_left_before_that(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    content = wheel()

    def script(url: str, headers: Mapping[str, str]) -> Answer:
        whole = headers["range"].startswith("bytes=-")
        return Answer(content, status=203 if whole else 200)

    async with scripted(tmp_path, script) as (world, _store):
        assert await world.metadata.of(of_unknown_size(content)) == METADATA
        assert world.counters.upstream_bytes[INDEX.url] < 100_000


async def test_the_metadata_of_a_wheel_that_came_is_taken_out_of_it(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    content = wheel()
    what = wanted(content)
    async with scripted(tmp_path, lambda url, headers: Answer(content)) as (world, _store):
        await world.get(what)
        await trio.sleep(1)
        assert world.metadata.name_of(what) == Sha256.of(METADATA)
        assert await world.metadata.of(what) == METADATA
        assert len(world.upstream.asked) == 1


async def test_metadata_that_is_not_what_the_index_says_is_refused(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    what = wanted()
    declared = dataclasses.replace(what, file=dataclasses.replace(what.file, core_metadata=Sha256.of(METADATA)))
    async with scripted(tmp_path, lambda url, headers: Answer(b"lies")) as (world, _store):
        with pytest.raises(P2pcdnError) as caught:
            await world.metadata.of(declared)
        assert isinstance(caught.value, DigestMismatch)
        world.now = lambda url, headers: Answer(METADATA)
        assert await world.metadata.of(declared) == METADATA
        assert world.upstream.asked[-1][0].endswith(".whl.metadata")


def declaring(metadata: bytes, content: bytes, *, hashed: bool = True) -> Wanted:
    what = wanted(content, hashed=hashed)
    return dataclasses.replace(what, file=dataclasses.replace(what.file, core_metadata=Sha256.of(metadata)))


def serving(beside: Answer, content: bytes) -> Script:
    """An upstream that answers so beside a wheel, and gives what is asked of the wheel."""
    return lambda url, headers: beside if url.endswith(".metadata") else Answer(content)


OTHER = METADATA + b"Requires-Dist: other\n"


@pytest.mark.parametrize("hashed", [True, False])
@pytest.mark.parametrize("beside", [Answer(status=404), Answer(b"lies")], ids=["missing", "spoilt"])
async def test_declared_metadata_that_is_not_given_is_read_out_of_the_wheel(
    tmp_path: Path, autojump_clock: trio.abc.Clock, beside: Answer, hashed: bool
) -> None:
    content = wheel()
    what = declaring(METADATA, content, hashed=hashed)
    async with scripted(tmp_path, serving(beside, content)) as (world, _store):
        assert await world.metadata.of(what) == METADATA
        assert world.metadata.at_hand(what) == METADATA
        assert world.counters.upstream_bytes[INDEX.url] < len(content) / 10, "some places of the wheel"


@pytest.mark.parametrize("beside", [Answer(status=404), Answer(METADATA)], ids=["missing", "of no such hash"])
async def test_where_wheel_and_index_say_other_metadata_the_whole_wheel_is_believed_and_that_is_logged(
    tmp_path: Path, autojump_clock: trio.abc.Clock, caplog: pytest.LogCaptureFixture, beside: Answer
) -> None:
    content = wheel()
    what = declaring(OTHER, content)
    async with scripted(tmp_path, serving(beside, content)) as (world, store):
        assert await world.metadata.of(what) == METADATA
        assert what.file.sha256 is not None
        assert store.holds(what.file.sha256), "the wheel came whole"
        assert "the wheel is believed" in caplog.text
        assert world.metadata.name_of(what) == Sha256.of(OTHER), "nothing else is given under that name"
        assert world.metadata.at_hand(what) is None
        asked = len(world.upstream.asked)
        assert await world.metadata.of(what) == METADATA
        assert len(world.upstream.asked) == asked


@pytest.mark.parametrize(
    "what", [declaring(OTHER, wheel(), hashed=False), declaring(OTHER, b"another wheel")], ids=["none", "another"]
)
async def test_metadata_of_neither_hash_is_never_believed(
    tmp_path: Path, autojump_clock: trio.abc.Clock, what: Wanted
) -> None:
    """The wheel's hash is not given, or is not that of what comes."""
    async with scripted(tmp_path, serving(Answer(METADATA), wheel())) as (world, store):
        with pytest.raises(DigestMismatch):
            await world.metadata.of(what)
        assert world.metadata.own_name_of(what) is None
        assert not store.holds(Sha256.of(METADATA))
