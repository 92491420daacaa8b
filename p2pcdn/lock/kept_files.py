"""The files of a page, in the form in which a node keeps them beside its table (`kept.py`). Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

from p2pcdn import frames
from p2pcdn.digest import Sha256
from p2pcdn.simple import File

# So many files are packed together: zlib is begun for each block. Of a page that lists thousands some ten are wanted.
BLOCK_FILES_MIN = 64


def encode_files(by_version: Mapping[str, Sequence[File]]) -> bytes:
    """The files of a page by version, without their raw form, in blocks of neighbouring versions."""
    return frames.encode([[list(block), zlib.compress(frames.encode(block), 1)] for block in _blocks(by_version)])


def decode_files(octets: bytes) -> Mapping[str, bytes]:
    """By version the block that it is in, which `unpack_files` reads."""
    return {version: block for versions, block in frames.decode_own(octets) for version in versions}


def unpack_files(block: bytes, version: str) -> list[File]:
    return [_file(*row) for row in frames.decode_own(zlib.decompress(block))[version]]


def _blocks(by_version: Mapping[str, Sequence[File]]) -> Iterator[dict[str, list[tuple[Any, ...]]]]:
    block: dict[str, list[tuple[Any, ...]]] = {}
    count = 0
    for version, files in by_version.items():
        block[version] = list(map(_row, files))
        count += len(files)
        if count >= BLOCK_FILES_MIN:
            yield block
            block, count = {}, 0
    if block:
        yield block


def _file(
    filename: str,
    url: str,
    sha256: str | None,
    size_bytes: int | None,
    core_metadata: str | bool,
    yanked: bool | str,
    requires_python: str | None,
    upload_time: str | None,
) -> File:
    beside = Sha256(core_metadata) if isinstance(core_metadata, str) else core_metadata
    known = Sha256(sha256) if sha256 is not None else None
    return File(filename, url, known, size_bytes, beside, yanked, requires_python, upload_time, {})


# In the order in which `_file` takes them.
_row = attrgetter(
    "filename", "url", "sha256", "size_bytes", "core_metadata", "yanked", "requires_python", "upload_time"
)
