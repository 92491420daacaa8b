"""Files of the store under their own names, for whoever works with files: links, which must not outlive their blobs.

A link to a blob that was evicted would hold its bytes where nobody counts them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from p2pcdn.digest import Sha256
from p2pcdn.errors import NotFound
from p2pcdn.store import Store
from p2pcdn.world import Threads

# Who was told a link's name has so long at least to use it.
LOOK_EVERY_S = 600.0


def named_link(store: Store, sha256: Sha256, filename: str) -> Path:
    """A blob's file under its own name, in a directory of its own: a link, so it costs nothing. Raises OSError."""
    file = store.file_of(sha256)
    if file is None:
        raise NotFound(f"{filename} is gone from the store; it must be fetched again.")
    directory = _files(store) / sha256
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / filename
    if path.exists() and not path.samefile(file):
        path.unlink()  # the blob went, perhaps because its bytes had changed on the disk, and came again
    with suppress(FileExistsError):
        os.link(file, path)
    return path


@dataclass(frozen=True, slots=True)
class Links:
    """Takes away the links whose blobs are gone, for as long as the node runs."""

    store: Store
    threads: Threads

    async def tidy(self) -> None:
        """At once what was left by a node before this one; then what a look ago was alone already."""
        alone = await self.threads.run(links_alone, self.store)
        while True:
            await self.threads.run(_remove, alone)
            before = await self.threads.run(links_alone, self.store)
            await trio.sleep(LOOK_EVERY_S)
            alone = before & await self.threads.run(links_alone, self.store)


def links_alone(store: Store) -> set[Path]:
    """Those that are all that is left of their blob: the last name of its file. Blocks."""
    found = set()
    for path in _files(store).glob("*/*"):
        with suppress(OSError):
            if path.stat().st_nlink == 1:
                found.add(path)
    return found


def _remove(links: Iterable[Path]) -> None:
    for path in links:
        with suppress(OSError):
            path.unlink()
            path.parent.rmdir()


def _files(store: Store) -> Path:
    return store.workshop / "files"
