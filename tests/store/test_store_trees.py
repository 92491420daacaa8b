"""Trees: unpacked wheels that go with their blob, count in the limit, and free only what no environment holds."""

# ruff: noqa: ASYNC240  # a test may wait for the disk

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import trio

from p2pcdn.digest import Sha256
from p2pcdn.errors import LocalProtocolError, NotFound, RemoteProtocolError, StoreStopped
from p2pcdn.store import Made, Store
from tests.store.stores import HandClock, content_of, keep, open_store, opened

FILE_SIZE_BYTES = 10_000


async def unpack(wheel: Path, directory: Path) -> Made:
    (directory / "a").mkdir(parents=True)
    for name in ("a/one", "two"):
        path = directory / name
        path.write_bytes(wheel.read_bytes()[:FILE_SIZE_BYTES].ljust(FILE_SIZE_BYTES))
        path.chmod(0o444)
    (directory / "a").chmod(0o555)
    return Made(b"listing", 2 * FILE_SIZE_BYTES)


async def kept_with_tree(store: Store, seed: int, size_bytes: int = 1000) -> Sha256:
    sha256 = (await keep(store, content_of(seed, size_bytes))).sha256
    await store.keep_tree(sha256, unpack)
    return sha256


def names(directory: Path) -> set[str]:
    return {path.name for path in (directory / "trees").iterdir()}


async def test_a_tree_outlives_a_restart_with_its_listing(directory: Path) -> None:
    async with opened(directory) as store:
        sha256 = await kept_with_tree(store, 1)
    async with opened(directory) as store:
        tree = store.tree(sha256)
        assert tree is not None
        assert tree.listing == b"listing"
        assert (tree.path / "a" / "one").stat().st_size == FILE_SIZE_BYTES
        assert store.summary().tree_bytes == 2 * FILE_SIZE_BYTES


async def test_a_tree_goes_with_its_blob_and_its_byte_code_too(directory: Path) -> None:
    async with opened(directory) as store:
        sha256 = await kept_with_tree(store, 1)
        await store.keep_tree(sha256, unpack, "cpython-312")
        assert names(directory) == {sha256, f"{sha256}.cpython-312"}
        await store.drop(sha256)
        assert store.tree(sha256) is None
        assert store.summary().trees == 0
        await store.settled()
        assert names(directory) == set()


async def test_a_buried_blob_gives_no_tree(directory: Path) -> None:
    async with opened(directory) as store:
        sha256 = await kept_with_tree(store, 1)
        await store.change(bury=[sha256])
        assert store.tree(sha256) is None
        await store.change(unearth=[sha256])
        assert store.tree(sha256) is not None


async def test_the_limit_counts_trees_and_an_old_tree_goes_before_its_blob(directory: Path) -> None:
    clock = HandClock()
    async with opened(directory, clock=clock, size_bytes=50_000) as store:
        first = await kept_with_tree(store, 1)
        clock.time += 1
        second = await kept_with_tree(store, 2)
        clock.time += 1
        third = await kept_with_tree(store, 3)
        assert [store.tree(one) is not None for one in (first, second, third)] == [False, True, True]
        assert all(store.holds(one) for one in (first, second, third))
        await store.settled()
        assert names(directory) == {second, third}


async def test_a_tree_that_an_environment_holds_frees_nothing_and_stays(directory: Path, tmp_path: Path) -> None:
    clock = HandClock()
    async with opened(directory, clock=clock, size_bytes=50_000) as store:
        first = await kept_with_tree(store, 1)
        tree = store.tree(first)
        assert tree is not None
        for number, path in enumerate(path for path in tree.path.rglob("*") if path.is_file()):
            os.link(path, tmp_path / str(number))
        await store.collect()
        for seed in (2, 3):
            clock.time += 1
            await kept_with_tree(store, seed)
        assert store.summary().trees == 3, "what an environment holds anyway does not count"
        freed = await store.collect(0)
        assert store.summary().trees == 0
        assert freed.bytes == 3 * 1000 + 2 * 2 * FILE_SIZE_BYTES


async def test_a_spared_tree_stays(directory: Path) -> None:
    async with opened(directory) as store:
        sha256 = await kept_with_tree(store, 1)
        with store.spared([sha256]):
            await store.collect(0)
            assert store.tree(sha256) is not None
        await store.collect(0)
        assert store.tree(sha256) is None


async def test_what_fails_leaves_nothing(directory: Path) -> None:
    async def half(wheel: Path, tree: Path) -> Made:
        tree.mkdir()
        (tree / "one").write_bytes(b"half")
        raise RemoteProtocolError("its RECORD lies")

    async def too_long(wheel: Path, tree: Path) -> Made:
        tree.mkdir()
        (tree / ("x" * 300)).write_bytes(b"")
        return Made(b"", 0)

    async with opened(directory) as store:
        sha256 = (await keep(store, content_of(1, 1000))).sha256
        with pytest.raises(RemoteProtocolError, match="its RECORD lies"):
            await store.keep_tree(sha256, half)
        with pytest.raises(RemoteProtocolError, match="File name too long"):
            await store.keep_tree(sha256, too_long)
        await store.settled()
        assert names(directory) == set()
        assert store.summary().health == "ok"
        with pytest.raises(NotFound):
            await store.keep_tree(Sha256("ab" * 32), unpack)
        with pytest.raises(LocalProtocolError):
            store.tree(sha256, "../../etc")


async def test_a_blob_that_goes_while_it_is_unpacked_leaves_no_tree(directory: Path) -> None:
    async with opened(directory) as store:
        sha256 = (await keep(store, content_of(1, 1000))).sha256

        async def drop_meanwhile(wheel: Path, tree: Path) -> Made:
            made = await unpack(wheel, tree)
            await store.drop(sha256)
            return made

        with pytest.raises(NotFound, match="was removed while it was unpacked"):
            await store.keep_tree(sha256, drop_meanwhile)
        await store.settled()
        assert names(directory) == set()


async def test_trees_that_are_made_together_become_durable_together(directory: Path) -> None:
    async with opened(directory) as store:
        kept = [(await keep(store, content_of(seed, 1000))).sha256 for seed in range(20)]
        async with trio.open_nursery() as nursery:
            for sha256 in kept:
                nursery.start_soon(store.keep_tree, sha256, unpack)
        assert names(directory) == set(kept)
        assert store.summary().trees == 20


async def test_a_directory_without_a_row_is_removed_at_the_start(directory: Path) -> None:
    store = await open_store(directory)
    sha256 = await kept_with_tree(store, 1)
    store.abandon()
    (directory / "trees" / f"{sha256}.new-1").mkdir()
    (directory / "trees" / ("ab" * 32)).mkdir()
    async with opened(directory) as store:
        await store.settled()
        assert names(directory) == {sha256}


async def test_a_tree_whose_directory_is_gone_is_made_again(directory: Path) -> None:
    async with opened(directory) as store:
        sha256 = await kept_with_tree(store, 1)
        tree = store.tree(sha256)
        assert tree is not None
        tree.path.rename(tree.path.with_name("elsewhere"))
        assert store.tree(sha256) is None
        await store.settled()
        assert store.summary().trees == 0
        await store.keep_tree(sha256, unpack)
        assert store.tree(sha256) is not None


async def test_a_tree_that_its_maker_finds_changed_is_dropped_with_its_byte_code(directory: Path) -> None:
    async with opened(directory) as store:
        first, second = await kept_with_tree(store, 1), await kept_with_tree(store, 2)
        await store.keep_tree(first, unpack, "cpython-312")
        store.is_tree_whole = lambda tree: tree.key.sha256 != first
        report = await store.verify(lambda checked, of: None)
        assert list(report.rotten_trees) == ["thing-1.0-py3-none-any.whl"]
        assert not report.rotten
        assert store.tree(first) is None
        await store.settled()
        assert names(directory) == {second}


async def test_a_full_disk_evicts_and_tries_once_more_and_then_says_so(directory: Path) -> None:
    full = OSError(errno.ENOSPC, "no space left")
    attempts = []

    async def full_once(wheel: Path, tree: Path) -> Made:
        attempts.append(tree)
        if len(attempts) == 1:
            tree.mkdir()
            (tree / "half").write_bytes(b"half")
            raise full
        return await unpack(wheel, tree)

    async def always_full(wheel: Path, tree: Path) -> Made:
        raise full

    async with opened(directory) as store:
        old = await kept_with_tree(store, 1)
        sha256 = (await keep(store, content_of(2, 1000))).sha256
        await store.keep_tree(sha256, full_once)
        assert store.tree(old) is None, "it made room"
        assert store.summary().health == "ok"
        with pytest.raises(StoreStopped, match="full"):
            await store.keep_tree(sha256, always_full, "cpython-312")
        assert store.summary().health != "ok"
        await store.keep_tree(sha256, unpack, "cpython-312")
        assert store.summary().health == "ok"
        await store.settled()
        assert names(directory) == {sha256, f"{sha256}.cpython-312"}
