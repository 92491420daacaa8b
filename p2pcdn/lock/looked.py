"""What locks have looked at of a page: of each such version its files and its metadata, all in one row. Pure.

A lock wants of a hundred projects one version each, and of a long history sometimes all. Both are one look at the
catalog for a project, where the files of a series (`kept_files.py`) and each metadata (`kept.py`) would be many.
"""

from __future__ import annotations

from collections.abc import Mapping

from p2pcdn import frames
from p2pcdn.lock.kept_files import Files

# boto3's fifteen hundred versions have 1.5 MB. A row is written anew with each version that comes to it, so what is
# beyond stays where it is kept otherwise.
LOOKED_SIZE_BYTES_MAX = 4 * 1024 * 1024

# By version: the files, and the metadata as it is kept.
Looked = Mapping[str, tuple[Files, bytes]]


def encode_looked(looked: Looked) -> bytes:
    """Many versions of a project say the same, so metadata stands there once."""
    places: dict[bytes, int] = {}
    for _, metadata in looked.values():
        places.setdefault(metadata, len(places))
    return frames.encode(
        [{version: [files.text, places[metadata]] for version, (files, metadata) in looked.items()}, [*places]]
    )


def decode_looked(octets: bytes) -> Looked:
    versions, metadata = frames.decode_own(octets)
    return {version: (Files(text), metadata[place]) for version, (text, place) in versions.items()}
