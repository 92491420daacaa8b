"""A whole file in the store."""

from __future__ import annotations

from typing import Protocol

from p2pcdn.digest import BlobName, Sha256
from p2pcdn.store.rows import BlobRow, Origin
from p2pcdn.world import DiskFile


class Opener(Protocol):
    """Who opens the files of blobs, and counts how many are open."""

    async def open_blob(self, row: BlobRow) -> DiskFile: ...


class Blob:
    """A file whose sha256 was right when it was kept. content: its bytes, where they lie in the catalog."""

    __slots__ = ("_opener", "content", "row")

    def __init__(self, row: BlobRow, content: bytes | None, opener: Opener) -> None:
        self.row = row
        self.content = content
        self._opener = opener

    @property
    def sha256(self) -> Sha256:
        return self.row.sha256

    @property
    def name(self) -> BlobName:
        return self.row.name

    @property
    def size_bytes(self) -> int:
        return self.row.size_bytes

    @property
    def origin(self) -> Origin:
        return self.row.origin

    async def open(self) -> DiskFile:
        """Its file, for a blob without `content`; it is not evicted until that is closed.

        Raises NotFound where the file is gone or short; its row is then gone, too: fetch it again. So does reading it
        where the disk fails. Raises Unavailable where it is here and cannot be opened now.
        """
        assert self.content is None
        return await self._opener.open_blob(self.row)

    async def read(self) -> bytes:
        """All its bytes, wherever they lie; for files that are small enough for memory. Raises as `open`."""
        if self.content is not None:
            return self.content
        file = await self.open()
        try:
            return await file.pread(self.size_bytes, 0)
        finally:
            file.close()

    def __repr__(self) -> str:
        return f"Blob({self.row.origin.filename!r}, {self.size_bytes} bytes, sha256 {self.sha256[:12]}…)"
