"""A store carried in one file, for networks without a wire: a tar of pages and blobs (POSIX.1-1988 ustar), out and in.

The first member is `p2pcdn.cbor`: {"format": 1, "files": [[sha256, size, filename, project, index key, share]],
"pages": [[key, size]]}; then come the pages and the blobs in that order, each under a name that says nothing new.
"""

from __future__ import annotations

import logging
import tarfile
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from typing import Any

from p2pcdn import frames
from p2pcdn.digest import Sha256
from p2pcdn.errors import DigestMismatch, NotFound, P2pcdnError, RemoteProtocolError, StoreStopped, Unavailable
from p2pcdn.http1 import FileSlice
from p2pcdn.store import BlobRow, Origin, Store

log = logging.getLogger(__name__)

FORMAT = 1
FIRST_MEMBER = "p2pcdn.cbor"
# 100,000 files are listed in some 20 MiB.
LIST_SIZE_BYTES_MAX = 256 * 1024 * 1024
# A page is kept packed, and is never larger than this before.
PAGE_SIZE_BYTES_MAX = 128 * 1024 * 1024
WRITE_SIZE_BYTES = 1024 * 1024
_BLOCK = 512


@dataclass(slots=True)
class Imported:
    """What came in, and what was refused with the reason."""

    blobs: int = 0
    pages: int = 0
    refused: list[dict[str, str]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


async def export_store(store: Store, projects: Collection[str]) -> AsyncGenerator[bytes | FileSlice]:
    """The tar as it goes out. projects: normalized names; none means all. Blobs of URLs without a hash stay here."""
    rows = [row for row in store.rows() if not row.buried and (not projects or row.origin.project in projects)]
    chosen = (pair for pair in store.values("pages") if not projects or pair[0].rpartition("/")[2] in projects)
    pages = [(key, len(value)) for key, value in chosen]  # all of them together may have a gigabyte
    listing = {
        "format": FORMAT,
        "files": [_listed(row) for row in rows],
        "pages": [[key, size] for key, size in pages],
    }
    content = frames.encode(listing)
    # What is promised in the list stays until it is sent, though a full store makes room for others all the time.
    with store.spared([row.sha256 for row in rows]):
        yield _header(FIRST_MEMBER, len(content)) + content + _padding(len(content))
        for number, (key, size) in enumerate(pages):
            value = store.value("pages", key)
            if value is None or len(value) != size:
                raise NotFound(f"The page {key} changed during the export; the file is not whole, try again.")
            yield _header(f"pages/{number}", size) + value + _padding(size)
        for row in rows:
            async with aclosing(_exported(store, row)) as parts:
                async for part in parts:
                    yield part
        yield bytes(2 * _BLOCK)


def _listed(row: BlobRow) -> list[Any]:
    origin = row.origin
    return [row.sha256, row.size_bytes, origin.filename, origin.project, origin.index_key, origin.share]


async def _exported(store: Store, row: BlobRow) -> AsyncGenerator[bytes | FileSlice]:
    blob = store.blob(row.sha256, mark=False)  # a copy for elsewhere is no use that keeps it here
    if blob is None or blob.size_bytes != row.size_bytes:
        raise NotFound(f"{row.origin.filename} left the store during the export; the file is not whole, try again.")
    yield _header(f"blobs/{row.sha256}", blob.size_bytes)
    if blob.content is not None:
        yield blob.content
    else:
        file = await blob.open()
        try:
            yield FileSlice(file, 0, blob.size_bytes)
        finally:
            file.close()
    yield _padding(blob.size_bytes)


async def import_store(store: Store, body: AsyncIterator[bytes], index_keys: Collection[str]) -> Imported:
    """Takes in what `export_store` wrote. Every blob is hashed; a wrong one is refused and the rest goes on.

    index_keys: the configured indexes; pages of others would never be asked for and are refused.
    Raises RemoteProtocolError where the bytes are no export, StoreStopped where nothing more can be kept; what came
    before stays.
    """
    source = _Members(body)
    name, size = await source.next_member()
    if name != FIRST_MEMBER or size > LIST_SIZE_BYTES_MAX:
        raise RemoteProtocolError("This file was not written by `p2pcdn export`: its list is missing.")
    listing = _checked_listing(frames.decode(await source.read_all(size)))
    imported = Imported()
    for key, size in listing["pages"]:
        await _import_page(store, source, key, size, index_keys, imported)
    for sha256, size, *origin in listing["files"]:
        await _import_blob(store, source, sha256, size, Origin(*origin), imported)
    return imported


def _checked_listing(listing: Any) -> dict[str, Any]:
    try:
        if listing["format"] != FORMAT:
            raise RemoteProtocolError(
                f"This export has format {listing['format']}, and this node reads format {FORMAT}: use a newer p2pcdn."
            )
        for sha256, size, *origin in listing["files"]:
            Sha256(sha256)
            named = all(isinstance(part, str) for part in origin) and len(origin) == 4
            if not (type(size) is int and size >= 0 and named and origin[3] in ("never", "group", "lan")):
                raise RemoteProtocolError("The list of this export makes no sense.")
        pages = listing["pages"]
        if not all(
            isinstance(key, str) and type(size) is int and 0 <= size <= PAGE_SIZE_BYTES_MAX for key, size in pages
        ):
            raise RemoteProtocolError("The list of this export makes no sense.")
    except (KeyError, TypeError, ValueError) as error:
        raise RemoteProtocolError("The list of this export makes no sense.") from error
    return listing  # type: ignore[no-any-return]


async def _import_page(
    store: Store, source: _Members, key: str, size: int, index_keys: Collection[str], imported: Imported
) -> None:
    await source.expect(size)
    value = await source.read_all(size)
    if key.partition("/")[0] not in index_keys:
        imported.refused.append({"name": key, "why": "no configured index has this key"})
    elif store.value("pages", key) is None:
        await store.change(values={("pages", key): _without_version(value)})
        imported.pages += 1


def _without_version(value: bytes) -> bytes:
    """A row of a page, which is read again here before anybody goes by its version: it names what was parsed of it."""
    try:
        record = frames.decode(value)
        return frames.encode({name: record[name] for name in record if name != "version"})
    except (P2pcdnError, TypeError):
        return value  # it cannot be read, and is asked for again


async def _import_blob(
    store: Store, source: _Members, sha256: str, size: int, origin: Origin, imported: Imported
) -> None:
    await source.expect(size)
    digest = Sha256(sha256)
    if store.holds(digest):
        await source.skip(size)
        return
    joined = store.running(digest) is not None
    partial = await store.grow(digest, size, origin)
    try:
        at = 0
        async for chunk in source.read(size):
            await partial.write(at, chunk)
            at += len(chunk)
        await partial.finish()
        imported.blobs += 1
    except DigestMismatch as error:
        imported.refused.append({"name": origin.filename, "why": str(error)})
    except StoreStopped:
        raise
    except P2pcdnError as error:
        imported.refused.append({"name": origin.filename, "why": str(error)})
        raise
    finally:
        if not joined:  # where it broke off, nobody else fills it, and its room is given back
            partial.fail(Unavailable(f"The import of {origin.filename} was broken off."))


class _Members:
    """Reads tar members one after another from a body that cannot be turned back."""

    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self._body = body
        self._buffer = bytearray()
        self._padding = 0

    async def next_member(self) -> tuple[str, int]:
        await self.skip(self._padding)
        block = await self.read_all(_BLOCK)
        try:
            head = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except (tarfile.HeaderError, UnicodeDecodeError) as error:
            raise RemoteProtocolError(f"This file was not written by `p2pcdn export`: {error}.") from error
        self._padding = -head.size % _BLOCK
        return head.name, head.size

    async def expect(self, size: int) -> None:
        _, found = await self.next_member()
        if found != size:
            raise RemoteProtocolError("A member of this export is not as long as its list says.")

    async def read(self, size: int) -> AsyncGenerator[bytes]:
        while size:
            await self._fill(min(size, WRITE_SIZE_BYTES))
            chunk = bytes(self._buffer[: min(size, WRITE_SIZE_BYTES)])
            del self._buffer[: len(chunk)]
            size -= len(chunk)
            yield chunk

    async def read_all(self, size: int) -> bytes:
        await self._fill(size)
        content = bytes(self._buffer[:size])
        del self._buffer[:size]
        return content

    async def skip(self, size: int) -> None:
        async for _ in self.read(size):
            pass

    async def _fill(self, size: int) -> None:
        while len(self._buffer) < size:
            chunk = await anext(self._body, b"")
            if not chunk:
                raise RemoteProtocolError("This export ends too early; what came before was kept.")
            self._buffer += chunk


def _header(name: str, size: int) -> bytes:
    head = tarfile.TarInfo(name)
    head.size = size
    # Above 8 GiB ustar has no room for the size; GNU's base-256 form is what every tar reads.
    return head.tobuf(tarfile.GNU_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)
