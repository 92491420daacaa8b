"""A tree of the store: what names it, what its maker says of it, and where it lies."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from p2pcdn.digest import Sha256
from p2pcdn.errors import LocalProtocolError

# What tells trees of one wheel apart: nothing for the wheel itself, else whose byte code it is, as "cpython-312-cb0d".
_KIND = re.compile(r"(?:[a-z0-9][a-z0-9_-]{0,63})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class TreeKey:
    """One tree: of which wheel, and which of its trees. kind: "" is the wheel as it was unpacked."""

    sha256: Sha256
    kind: str = ""

    def __post_init__(self) -> None:
        if not _KIND.fullmatch(self.kind):
            raise LocalProtocolError(f"{self.kind!r} cannot be the kind of a tree")

    @property
    def name(self) -> str:
        """Its directory's name."""
        return f"{self.sha256}.{self.kind}" if self.kind else str(self.sha256)

    @property
    def octets(self) -> bytes:
        """Its key in the catalog: all trees of a wheel stand together."""
        return bytes.fromhex(self.sha256) + self.kind.encode()

    @classmethod
    def of_octets(cls, octets: bytes) -> TreeKey:
        return cls(Sha256(octets[:32].hex()), octets[32:].decode("ascii"))


@dataclass(frozen=True, slots=True)
class Made:
    """What a maker says of the tree that it made. listing: opaque here; size_bytes: of all its files together."""

    listing: bytes
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Tree:
    """A whole tree in the store. Nobody writes in it; whoever links its files holds their bytes beyond its end."""

    key: TreeKey
    path: Path
    size_bytes: int
    listing: bytes


# Makes a directory of this name out of the wheel's file.
Make = Callable[[Path, Path], Awaitable[Made]]
