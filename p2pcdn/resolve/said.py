"""What a version says of itself, as one value: versions that say the same are equal, and a long history costs little.

It is UTF-8, of which the lines are why it cannot be used, Requires-Python, the extras, the version that it calls
itself, and then, a line each, what it requires. It may be kept, and crosses a pipe as it is.
"""

from __future__ import annotations

from p2pcdn.resolve.model import Metadata, Source


def octets_of(metadata: Metadata) -> bytes:
    """All but its source."""
    extras = "\t".join(metadata.provides_extra)
    lines = (metadata.broken, metadata.requires_python, extras, metadata.version, *metadata.requires_dist)
    return "\n".join([line if "\n" not in line else " ".join(line.split()) for line in lines]).encode(errors="replace")


def lines_of(octets: bytes) -> list[str]:
    """In the order of above."""
    return octets.decode().split("\n")


def metadata_of(source: Source, octets: bytes) -> Metadata:
    broken, requires_python, extras, version, *required = lines_of(octets)
    provides = tuple(extras.split("\t")) if extras else ()
    return Metadata(source, version, tuple(required), provides, requires_python, broken)


def is_broken(octets: bytes) -> bool:
    return not octets.startswith(b"\n")
