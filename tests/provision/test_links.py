"""Files of the store under their own names hold nothing that the store has given up."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from p2pcdn.errors import NotFound
from p2pcdn.provision.links import LOOK_EVERY_S, Links, links_alone, named_link
from p2pcdn.provision.local import keep_file
from tests.worlds import InlineThreads, open_store


async def test_a_link_goes_with_its_blob_and_not_before_it_could_be_used(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    (sdist := tmp_path / "demo-1.0.tar.gz").write_bytes(b"x" * 500_000)
    (other := tmp_path / "other-1.0.tar.gz").write_bytes(b"y" * 500_000)
    async with open_store(tmp_path / "store") as store, trio.open_nursery() as nursery:
        links = {}
        for file in (sdist, other):
            blob = await keep_file(store, InlineThreads(), file, "demo")
            links[file.name] = named_link(store, blob.sha256, file.name)
            if file is other:
                await store.pin(blob.sha256, True)
        assert not links_alone(store)
        nursery.start_soon(Links(store, InlineThreads()).tidy)
        await trio.testing.wait_all_tasks_blocked()
        assert (await store.collect(0)).blobs == 1
        assert links_alone(store) == {links[sdist.name]}
        await trio.sleep(1.5 * LOOK_EVERY_S)
        assert links[sdist.name].exists(), "somebody may just have been told its name"
        await trio.sleep(LOOK_EVERY_S)
        assert not links[sdist.name].parent.exists()
        assert links[other.name].exists()
        nursery.cancel_scope.cancel()


async def test_what_a_former_node_left_goes_at_the_start(tmp_path: Path) -> None:
    async with open_store(tmp_path / "store") as store, trio.open_nursery() as nursery:
        (left := store.workshop / "files" / ("0" * 64)).mkdir(parents=True)
        (left / "demo-1.0.tar.gz").write_bytes(b"")
        nursery.start_soon(Links(store, InlineThreads()).tidy)
        await trio.testing.wait_all_tasks_blocked()
        assert not left.exists()
        nursery.cancel_scope.cancel()


async def test_a_file_that_came_again_is_not_linked_as_it_was(tmp_path: Path) -> None:
    """Its bytes may have changed on the disk: that is why it went (`p2pcdn verify`)."""
    (sdist := tmp_path / "demo-1.0.tar.gz").write_bytes(b"x" * 500_000)
    async with open_store(tmp_path / "store") as store:
        blob = await keep_file(store, InlineThreads(), sdist, "demo")
        link = named_link(store, blob.sha256, sdist.name)
        assert named_link(store, blob.sha256, sdist.name) == link
        link.chmod(0o600)
        link.write_bytes(b"z" * 500_000)
        assert (await store.verify(lambda checked, of: None)).rotten
        with pytest.raises(NotFound):
            named_link(store, blob.sha256, sdist.name)
        again = await keep_file(store, InlineThreads(), sdist, "demo")
        assert named_link(store, again.sha256, sdist.name).read_bytes() == sdist.read_bytes()
