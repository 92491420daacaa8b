"""What an export holds in memory, and what an import takes of a tar that was cut or means harm."""

from __future__ import annotations

import tarfile
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from p2pcdn import frames
from p2pcdn.carry import FIRST_MEMBER, PAGE_SIZE_BYTES_MAX, export_store, import_store
from p2pcdn.digest import Sha256
from p2pcdn.errors import NotFound, RemoteProtocolError
from p2pcdn.http1 import FileSlice
from p2pcdn.store import Origin, Store
from tests.worlds import INDEX, LIMITS, open_store

CONTENT = bytes(range(256)) * 4096
SIX = Origin("six-1.0.tar.gz", "six", INDEX.key, "lan")
LISTED = [Sha256.of(CONTENT), len(CONTENT), SIX.filename, SIX.project, SIX.index_key, SIX.share]


def member(name: str, content: bytes, size_bytes: int | None = None) -> bytes:
    head = tarfile.TarInfo(name)
    head.size = len(content) if size_bytes is None else size_bytes
    return head.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


def listing(files: list[Any], pages: list[Any]) -> bytes:
    return member(FIRST_MEMBER, frames.encode({"format": 1, "files": files, "pages": pages}))


async def parts(content: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(content), 65536):
        yield content[at : at + 65536]


async def test_an_import_that_is_cut_leaves_nothing_growing(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    tar = listing([LISTED], []) + member("blobs/1", CONTENT)
    async with open_store(tmp_path) as store:
        with pytest.raises(RemoteProtocolError, match="too early"):
            await import_store(store, parts(tar[:500_000]), {INDEX.key})
        assert store.running(Sha256.of(CONTENT)) is None
        imported = await import_store(store, parts(tar), {INDEX.key})
        assert imported.blobs == 1


async def test_a_cut_import_does_not_stop_the_download_that_it_joined(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    tar = listing([LISTED], []) + member("blobs/1", CONTENT)
    async with open_store(tmp_path) as store:
        download = await store.grow(Sha256.of(CONTENT), len(CONTENT), SIX)
        with pytest.raises(RemoteProtocolError, match="too early"):
            await import_store(store, parts(tar[:500_000]), {INDEX.key})
        await download.write(0, CONTENT)
        await download.finish()
        assert store.holds(Sha256.of(CONTENT))


@pytest.mark.parametrize("size_bytes", [-1, -513, True, PAGE_SIZE_BYTES_MAX + 1])
async def test_a_page_of_an_odd_size_is_not_taken_into_memory(
    tmp_path: Path, autojump_clock: trio.abc.Clock, size_bytes: int
) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        yield listing([], [[f"{INDEX.key}/six", size_bytes]]) + member("pages/0", b"", int(size_bytes))
        while True:
            taken += 1
            yield bytes(1024 * 1024)

    async with open_store(tmp_path) as store:
        with pytest.raises(RemoteProtocolError, match="makes no sense"):
            await import_store(store, endless(), {INDEX.key})
    assert taken == 0


async def test_an_export_never_holds_all_pages_and_sends_none_that_changed_meanwhile(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with open_store(tmp_path) as store:
        for batch in range(7):
            names = [f"{INDEX.key}/p{batch}-{number}" for number in range(128)]
            await store.change(values={("pages", name): bytes(64 * 1024) for name in names})
        tracemalloc.start()
        async with aclosing(export_store(store, ())) as tar:
            sizes = [len(part) async for part in tar if isinstance(part, bytes)]
        assert len(sizes) == 898
        assert tracemalloc.get_traced_memory()[1] < 40 * 1024 * 1024
        tracemalloc.stop()
        async with aclosing(export_store(store, ())) as tar:
            await anext(tar)
            await store.change(values={("pages", f"{INDEX.key}/p0-0"): b"new"})
            with pytest.raises(NotFound, match="try again"):
                await anext(tar)


async def test_an_export_is_whole_though_a_full_store_makes_room_meanwhile(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    contents = [bytes([number]) * len(CONTENT) for number in range(9)]
    async with open_store(tmp_path, replace(LIMITS, size_bytes=9 * len(CONTENT) // 2)) as store:
        for content in contents[:3]:
            await keep(store, content)
        async with aclosing(export_store(store, ())) as tar:
            first = await anext(tar)
            for content in contents[3:]:
                await keep(store, content)
            whole = [first, *[part async for part in tar]]
        assert sum(isinstance(part, FileSlice) for part in whole) == 3
        assert all(store.holds(Sha256.of(content)) for content in contents[:3])
        await store.collect(0)
        assert not store.summary().blobs, "afterwards they may go"


async def keep(store: Store, content: bytes) -> None:
    partial = await store.grow(Sha256.of(content), len(content), SIX)
    await partial.write(0, content)
    await partial.finish()


async def test_an_export_carries_everything_over_and_counts_as_no_use(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with open_store(tmp_path / "from") as store:
        growing = await store.grow(Sha256.of(CONTENT), len(CONTENT), SIX)
        await growing.write(0, CONTENT)
        await growing.finish()
        await store.change(values={("pages", f"{INDEX.key}/six"): b"a page"})
        used_at = [row.used_at for row in store.rows()]
        await trio.sleep(1000)
        tar = bytearray()
        async with aclosing(export_store(store, ())) as export:
            async for part in export:
                tar += part if isinstance(part, bytes) else await part.file.pread(part.size_bytes, part.offset)
        assert [row.used_at for row in store.rows()] == used_at
    async with open_store(tmp_path / "to") as store:
        imported = await import_store(store, parts(bytes(tar)), {INDEX.key})
        assert (imported.blobs, imported.pages, imported.refused) == (1, 1, [])
        assert store.value("pages", f"{INDEX.key}/six") == b"a page"
        assert store.holds(Sha256.of(CONTENT))


async def test_of_an_imported_page_nobody_goes_by_the_version_that_its_maker_wrote(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """What locks need of a page is kept by its version: a wrong one would bring back what another page listed."""
    row = {"body": b"x", "version": "0" * 32}
    for number, (value, kept) in enumerate([(frames.encode(row), {"body": b"x"}), (b"no frame", None)]):
        tar = listing([], [[f"{INDEX.key}/six", len(value)]]) + member("pages/0", value)
        async with open_store(tmp_path / str(number)) as store:
            assert (await import_store(store, parts(tar), {INDEX.key})).pages == 1
            found = store.value("pages", f"{INDEX.key}/six")
            assert found == (frames.encode(kept) if kept is not None else value)
