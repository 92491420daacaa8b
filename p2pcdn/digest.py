"""Names by content: sha256 as an index names a file, BLAKE3 as we name a blob.

Both are `str` of exactly 64 lower-case hexadecimal digits. The constructors check that, so a value of these types may
become a path component (Ollama's CVE-2024-37032 was a digest that had not been checked).
"""

from __future__ import annotations

import hashlib
import re
from typing import Self

from blake3 import blake3

# Whatever holds bytes without a copy; `collections.abc.Buffer` is only there from Python 3.12 on.
Buffer = bytes | bytearray | memoryview

_HEX64 = re.compile(r"[0-9a-f]{64}", re.ASCII)


class _Hex64(str):
    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Raises ValueError unless text is 64 lower-case hexadecimal digits."""
        if not _HEX64.fullmatch(text):
            raise ValueError(f"not 64 lower-case hexadecimal digits: {text[:80]!r}")
        return super().__new__(cls, text)


class Sha256(_Hex64):
    """The sha256 by which an index or a lock names a file."""

    __slots__ = ()

    @classmethod
    def of(cls, content: Buffer) -> Self:
        return cls(hashlib.sha256(content).hexdigest())


class BlobName(_Hex64):
    """The BLAKE3 hash under which the store keeps a blob."""

    __slots__ = ()

    @classmethod
    def of(cls, content: Buffer) -> Self:
        return cls(blake3(content).hexdigest())


class TwoHashes:
    """Both names of one stream of bytes, computed in one walk over it."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._blake3 = blake3()
        self.size_bytes = 0

    def update(self, content: Buffer) -> None:
        self._sha256.update(content)
        self._blake3.update(content)
        self.size_bytes += memoryview(content).nbytes

    def sha256(self) -> Sha256:
        return Sha256(self._sha256.hexdigest())

    def blob_name(self) -> BlobName:
        return BlobName(self._blake3.hexdigest())
