"""A process that has as many files open as it may: what is kept stays kept, and nothing is broken for good."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from p2pcdn.digest import Sha256
from p2pcdn.errors import StoreStopped, Unavailable
from tests.store.stores import MIB, WHEEL, content_of, keep, opened

# A little more than what the tests hold open.
DESCRIPTORS_MAX = 256


@contextmanager
def no_descriptor_free() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS_MAX, hard))
    taken = []
    try:
        with suppress(OSError):
            while len(taken) < DESCRIPTORS_MAX:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        assert len(taken) < DESCRIPTORS_MAX
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_file_that_cannot_be_opened_now_is_not_taken_for_a_lost_one(directory: Path) -> None:
    async with opened(directory) as store:
        kept = await keep(store, content_of(1, 2 * MIB))
        with no_descriptor_free(), pytest.raises(Unavailable):
            await kept.open()
        blob = store.blob(kept.sha256)
        assert blob is not None
        assert await blob.read() == content_of(1, 2 * MIB)


async def test_files_are_kept_again_once_descriptors_are_free(directory: Path) -> None:
    content = content_of(2, 2 * MIB)
    async with opened(directory) as store:
        with no_descriptor_free(), pytest.raises(StoreStopped):
            await store.grow(Sha256.of(content), len(content), WHEEL)
        assert store.summary().health == "ok"
        assert await (await keep(store, content)).read() == content


async def test_a_name_that_cannot_be_synced_for_want_of_a_descriptor_is_made_again(directory: Path) -> None:
    content = content_of(3, 2 * MIB)
    async with opened(directory) as store:
        partial = await store.grow(Sha256.of(content), len(content), WHEEL)
        await partial.write(0, content)
        with no_descriptor_free(), pytest.raises(StoreStopped):
            await partial.finish()
        assert store.blob(Sha256.of(content)) is None
        assert await (await keep(store, content)).read() == content
        assert store.summary().health == "ok"
