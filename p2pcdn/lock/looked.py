"""What locks have looked at of a page: of each such version its files and its metadata, all in one row. Pure.

A lock wants of a hundred projects one version each, and of a long history sometimes all. Both are one look at the
catalog for a project, where the files of a series (`kept_files.py`) and each metadata (`kept.py`) would be many.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate, pairwise

from p2pcdn import frames
from p2pcdn.lock.kept_files import Files

# boto3's fifteen hundred versions have 1.5 MB. A row is written anew with each version that comes to it, so what is
# beyond stays where it is kept otherwise.
LOOKED_SIZE_BYTES_MAX = 4 * 1024 * 1024


class Looked(Mapping[str, tuple[Files, bytes]]):
    """By version: the files, and the metadata as it is kept. Of thousands of versions hardly one is asked for files."""

    def __init__(
        self, metadata: Mapping[str, bytes], sizes: Sequence[int], texts: bytes, unbuilt: Iterable[str]
    ) -> None:
        """texts: the files of all versions, in their order, which have these sizes. unbuilt: those without a wheel."""
        self.metadata = metadata
        self.unbuilt = frozenset(unbuilt)
        self._sizes = sizes
        self._texts = texts

    @cached_property
    def _places(self) -> dict[str, tuple[int, int]]:
        return dict(zip(self.metadata, pairwise((0, *accumulate(self._sizes))), strict=True))

    def __getitem__(self, version: str) -> tuple[Files, bytes]:
        start, stop = self._places[version]
        return Files(self._texts[start:stop].decode()), self.metadata[version]

    def __iter__(self) -> Iterator[str]:
        return iter(self.metadata)

    def __len__(self) -> int:
        return len(self.metadata)


NOTHING_LOOKED_AT = Looked({}, (), b"", ())


def encode_looked(looked: Mapping[str, tuple[Files, bytes]]) -> bytes:
    """Many versions of a project say the same, so metadata stands there once. All files are one text, of which is read
    what is asked for.
    """
    said: dict[bytes, int] = {}
    of_version = [said.setdefault(metadata, len(said)) for _, metadata in looked.values()]
    texts = [files.text.encode() for files, _ in looked.values()]
    unbuilt = [version for version, (files, _) in looked.items() if not files.has_wheel]
    return frames.encode([[*looked], of_version, [*said], [*map(len, texts)], b"".join(texts), unbuilt])


def decode_looked(octets: bytes) -> Looked:
    versions, of_version, said, sizes, texts, unbuilt = frames.decode_own(octets)
    metadata = dict(zip(versions, map(said.__getitem__, of_version), strict=True))
    return Looked(metadata, sizes, texts, unbuilt)
