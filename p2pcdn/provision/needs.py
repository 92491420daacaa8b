"""What a project requires, by the word of its own build: the part of its METADATA on which its lock depends. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from p2pcdn.errors import Refused
from p2pcdn.lock.kept import name_in
from p2pcdn.resolve import Source, read_metadata


@dataclass(frozen=True, slots=True)
class Needs:
    """name: normalized. requires_dist: as it stands there, the extras' among them. provides_extra: normalized."""

    name: str
    requires_python: str
    requires_dist: tuple[str, ...]
    provides_extra: tuple[str, ...]


def read_needs(content: bytes, place: str) -> Needs:
    """Raises Refused for a METADATA that does not say whose it is. place: of what, for the sentence."""
    name = name_in(content)
    found = read_metadata(Source(name), content.decode("utf-8", "replace"))
    if not name or found.broken:
        raise Refused(f"What the build of {place} says of it cannot be read: {found.broken or 'it has no name'}.")
    return Needs(name, found.requires_python, found.requires_dist, found.provides_extra)
