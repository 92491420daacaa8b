"""What locks have looked at of a page: the metadata of just those versions, and their files, all in one row. Pure.

A lock wants of a hundred projects one version each, and of a long history sometimes all. Both are one look at the
catalog for a project, where the files of a series (`kept_files.py`) and each metadata (`kept.py`) would be many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from p2pcdn import frames
from p2pcdn.lock.kept_files import WHOLE_SIZE_BYTES_MAX, Files

# boto3's fifteen hundred versions have half a megabyte. A row is written anew with each version that comes to it, so
# what is beyond stays where it is kept otherwise.
LOOKED_SIZE_BYTES_MAX = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Looked:
    """By version. metadata: as `octets_of` has it. unbuilt: those without a wheel.

    files: of all of them, or of a long history none: hardly one of its versions is asked for them.
    """

    metadata: Mapping[str, bytes] = field(default_factory=dict)
    files: Mapping[str, Files] = field(default_factory=dict)
    unbuilt: frozenset[str] = frozenset()

    def and_of(self, metadata: Mapping[str, bytes], files: Mapping[str, Files]) -> Looked:
        """With these versions, of which both are known."""
        every = {**self.files, **files} if len(self.files) == len(self.metadata) else {}
        if sum(len(one.text) for one in every.values()) > WHOLE_SIZE_BYTES_MAX:
            every = {}
        unbuilt = (version for version, one in files.items() if not one.has_wheel)
        return Looked({**self.metadata, **metadata}, every, self.unbuilt.union(unbuilt))


NOTHING_LOOKED_AT = Looked()


def encode_looked(looked: Looked) -> bytes:
    """Many versions of a project say the same, so metadata stands there once."""
    said: dict[bytes, int] = {}
    of_version = [said.setdefault(metadata, len(said)) for metadata in looked.metadata.values()]
    texts = [looked.files[version].text for version in looked.metadata] if looked.files else []
    return frames.encode([[*looked.metadata], of_version, [*said], texts, sorted(looked.unbuilt)])


def decode_looked(octets: bytes) -> Looked:
    versions, of_version, said, texts, unbuilt = frames.decode_own(octets)
    files = dict(zip(versions, map(Files, texts), strict=True)) if texts else {}
    return Looked(dict(zip(versions, map(said.__getitem__, of_version), strict=True)), files, frozenset(unbuilt))
