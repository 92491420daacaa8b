"""Files of this machine that become blobs: built wheels, and archives that a user names by their path."""

from __future__ import annotations

import hashlib
from pathlib import Path

from p2pcdn.digest import Sha256
from p2pcdn.errors import NotFound
from p2pcdn.store import Blob, Origin, Store
from p2pcdn.world import Threads

COPY_SIZE_BYTES = 1024 * 1024


async def keep_file(store: Store, threads: Threads, path: Path, project: str) -> Blob:
    """Takes a file of this machine into the store. Raises NotFound where it cannot be read, StoreStopped."""
    try:
        size_bytes, sha256 = await threads.run(size_and_hash, path)
        if (held := store.blob(sha256)) is not None:
            return held
        growing = await store.grow(sha256, size_bytes, Origin(path.name, project, "", "never", "this machine"))
        try:
            with path.open("rb") as file:
                at = 0
                while content := await threads.run(file.read, COPY_SIZE_BYTES):
                    await growing.write(at, content)
                    at += len(content)
            return await growing.finish()
        except BaseException:
            growing.fail(NotFound(f"{path} was not kept."))
            raise
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror or error}.") from error


def size_and_hash(path: Path) -> tuple[int, Sha256]:
    """Blocks. Raises OSError."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return path.stat().st_size, Sha256(digest)
