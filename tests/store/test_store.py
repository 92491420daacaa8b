"""What a store keeps, gives back, counts and forgets."""

from __future__ import annotations

from dataclasses import astuple, replace
from pathlib import Path

import pytest

from p2pcdn import frames
from p2pcdn.digest import BlobName, Sha256
from p2pcdn.errors import DigestMismatch, LocalProtocolError, NotFound
from p2pcdn.store import SMALL_BLOB_SIZE_BYTES_MAX, BlobRow, Origin
from p2pcdn.store.rows import pack_blob, unpack_blob
from tests.store.stores import MIB, WHEEL, HandClock, content_of, keep, opened


async def test_what_was_kept_is_there_after_a_restart(directory: Path) -> None:
    content = content_of(1, 3 * MIB + 5)
    async with opened(directory) as store:
        kept = await keep(store, content)
        assert (kept.name, kept.sha256, kept.size_bytes) == (BlobName.of(content), Sha256.of(content), len(content))
    async with opened(directory) as store:
        blob = store.blob(Sha256.of(content))
        assert blob is not None
        assert blob.origin == WHEEL
        assert await blob.read() == content
        assert store.summary().blobs == 1
        assert store.summary().size_bytes == len(content)
        assert store.summary().partials == 0
    assert list((directory / "partials").iterdir()) == []


async def test_a_small_blob_lives_inside_the_catalog(directory: Path) -> None:
    content = content_of(2, 20_000)
    async with opened(directory) as store:
        await store.keep_small(content, WHEEL, expected=Sha256.of(content))
        blob = store.blob(Sha256.of(content))
        assert blob is not None
        assert blob.content == content
        [row] = store.rows()
        assert row.inline
        assert row.size_bytes == 20_000
    assert list((directory / "blobs").iterdir()) == []


async def test_a_small_blob_with_the_wrong_hash_is_refused(directory: Path) -> None:
    async with opened(directory) as store:
        with pytest.raises(DigestMismatch):
            await store.keep_small(b"b", WHEEL, expected=Sha256.of(b"a"))
        with pytest.raises(LocalProtocolError):
            await store.keep_small(bytes(SMALL_BLOB_SIZE_BYTES_MAX + 1), WHEEL, expected=None)
        assert store.summary().blobs == 0


async def test_an_empty_file_is_a_blob(directory: Path) -> None:
    async with opened(directory) as store:
        await keep(store, b"")
        blob = store.blob(Sha256.of(b""))
        assert blob is not None
        assert await blob.read() == b""


async def test_a_file_without_hash_is_never_shared(directory: Path) -> None:
    async with opened(directory) as store:
        partial = await store.grow("index thing-1.0", None, WHEEL)
        await partial.write(0, b"anything")
        assert partial.missing() == [(8, 8)]
        blob = await partial.finish()
        assert blob.origin.share == "never"
        assert blob.sha256 == Sha256.of(b"anything")
        await store.set_origin(blob.sha256, WHEEL)
        named = store.blob(blob.sha256)
        assert named is not None
        assert named.origin.share == "lan"


async def test_values_are_kept_changed_and_deleted_together(directory: Path) -> None:
    async with opened(directory) as store:
        await store.change(values={("pages", "i/numpy"): b"page", ("metadata", "m"): b"meta", ("pages", "i/x"): b""})
        assert store.value("pages", "i/numpy") == b"page"
        assert store.value("metadata", "i/numpy") is None
        await store.change(values={("pages", "i/numpy"): None, ("metadata", "m"): b"newer"})
    async with opened(directory) as store:
        assert dict(store.values("pages")) == {"i/x": b""}
        assert list(store.keys("pages")) == ["i/x"]
        assert dict(store.values("metadata")) == {"m": b"newer"}
        assert store.value("pages", "k" * 5000) is None
        with pytest.raises(LocalProtocolError):
            await store.change(values={("pages", "k" * 5000): b""})


async def test_the_oldest_pages_go_when_the_table_is_full(directory: Path) -> None:
    clock = HandClock()
    async with opened(directory, pages_bytes=100_000, clock=clock) as store:
        for number in range(30):
            clock.time += 1
            await store.change(values={("pages", str(number)): bytes(10_000), ("trusted", str(number)): b"p"})
        pages = {int(key) for key, _ in store.values("pages")}
        assert pages == set(range(30 - len(pages), 30))
        assert 8 <= len(pages) <= 9
        assert len(list(store.values("trusted"))) == 30


async def test_a_withdrawn_blob_is_not_given_until_it_is_unearthed(directory: Path) -> None:
    async with opened(directory) as store:
        blob = await keep(store, b"withdrawn")
        assert store.blob(blob.sha256) is not None
        await store.change(values={("pages", "i/thing"): b"without it"}, bury=[blob.sha256])
        assert store.blob(blob.sha256) is None
        assert [row.buried for row in store.rows()] == [True]
    async with opened(directory) as store:
        assert store.blob(blob.sha256) is None
        await store.drop(blob.sha256)
        await keep(store, b"withdrawn")
        assert store.blob(blob.sha256) is None
        await store.change(unearth=[blob.sha256])
        assert store.blob(blob.sha256) is not None


async def test_the_least_recently_used_goes_first_and_a_pinned_one_stays(directory: Path) -> None:
    clock = HandClock()
    async with opened(directory, clock=clock) as store:
        blobs = []
        for seed in range(5):
            clock.time += 1
            blobs.append(await keep(store, content_of(seed, MIB)))
        clock.time += 1
        await store.pin(blobs[1].sha256, True)
        assert store.blob(blobs[0].sha256) is not None
        freed = await store.collect(to_bytes=3 * MIB)
        assert (freed.bytes, freed.blobs) == (2 * MIB, 2)
        assert {row.sha256 for row in store.rows()} == {blobs[n].sha256 for n in (0, 1, 4)}
        assert store.summary().size_bytes == 3 * MIB
        assert store.summary().evicted_bytes == 2 * MIB
        names = {path.name for path in (directory / "blobs").rglob("*") if path.is_file()}
        assert names == {blobs[n].name for n in (0, 1, 4)}
        with pytest.raises(NotFound):
            await store.pin(blobs[2].sha256, True)


async def test_used_times_survive_a_restart(directory: Path) -> None:
    clock = HandClock()
    async with opened(directory, clock=clock) as store:
        first, second = await keep(store, b"first" * 100), await keep(store, b"second" * 100)
        clock.time += 60
        assert store.blob(first.sha256)
    async with opened(directory, clock=clock) as store:
        await store.collect(to_bytes=550)
        assert [row.sha256 for row in store.rows()] == [first.sha256]
        assert store.blob(second.sha256) is None


async def test_a_blob_that_is_being_sent_is_not_evicted(directory: Path) -> None:
    async with opened(directory) as store:
        blob = await keep(store, content_of(3, MIB))
        file = await blob.open()
        assert (await store.collect(to_bytes=0)).blobs == 0
        file.close()
        file.close()
        assert (await store.collect(to_bytes=0)).blobs == 1
        assert store.blob(blob.sha256) is None


async def test_the_store_stays_within_its_limit_by_itself(directory: Path) -> None:
    clock = HandClock()
    async with opened(directory, size_bytes=4 * MIB, clock=clock) as store:
        for seed in range(8):
            clock.time += 1
            await keep(store, content_of(seed, MIB))
            assert store.summary().size_bytes <= 4 * MIB
        assert store.blob(Sha256.of(content_of(7, MIB))) is not None


async def test_what_nobody_used_for_long_goes(directory: Path) -> None:
    clock = HandClock()
    async with opened(directory, keep_for_s=100.0, clock=clock) as store:
        old, used = await keep(store, b"old"), await keep(store, b"used")
        clock.time += 90
        assert store.blob(used.sha256)
        clock.time += 20
        assert (await store.collect()).blobs == 1
        assert store.blob(old.sha256) is None
        assert store.blob(used.sha256) is not None


async def test_a_file_that_vanished_is_not_found_and_its_row_goes(directory: Path) -> None:
    async with opened(directory) as store:
        blob = await keep(store, content_of(4, MIB))
        (directory / "blobs" / blob.name[:2] / blob.name).unlink()
        with pytest.raises(NotFound):
            await blob.open()
        assert store.blob(blob.sha256) is None
        assert store.summary().blobs == 0


async def test_dropping_a_blob_takes_its_file_too(directory: Path) -> None:
    async with opened(directory) as store:
        blob = await keep(store, content_of(5, MIB))
        await store.drop(blob.sha256)
        assert store.blob(blob.sha256) is None
        assert not [path for path in (directory / "blobs").rglob("*") if path.is_file()]
        await keep(store, content_of(5, MIB))
        assert store.blob(blob.sha256) is not None


def test_a_row_of_a_store_that_did_not_note_who_gave_the_bytes_is_still_one() -> None:
    origin = Origin("thing-1.0.tar.gz", "thing", "0123456789abcdef", "lan", "upstream files.example")
    row = BlobRow(BlobName.of(b"x"), Sha256.of(b"x"), 1, origin, 1.0, 2.0)
    packed = pack_blob(row)
    assert unpack_blob(row.sha256, packed, buried=False) == row
    head = packed[: -len(frames.encode(list(astuple(origin))))]
    older = head + frames.encode(list(astuple(origin))[:4])
    assert unpack_blob(row.sha256, older, buried=False) == replace(row, origin=replace(origin, came=""))
