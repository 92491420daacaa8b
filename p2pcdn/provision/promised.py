"""What a direct URL (`#sha512=…`) or a lock promises of a file beside its sha256, and whether it is so."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import parse_qsl

from p2pcdn.envs.model import LockedFile
from p2pcdn.errors import DigestMismatch, Refused
from p2pcdn.store import Blob
from p2pcdn.world import Threads

# Those that pip looks for in a fragment. The weak ones keep nobody out who means it, but what somebody wrote must hold.
ALGORITHMS = frozenset({"sha512", "sha384", "sha256", "sha224", "sha1", "md5"})
# Those of a lock may be any that this Python computes, and whose length is their own.
_OF_A_LOCK = frozenset(name for name in hashlib.algorithms_guaranteed if not name.startswith("shake"))
# Archives that come by URL may be gigabytes.
READ_SIZE_BYTES = 4 * 1024 * 1024


class Promise(NamedTuple):
    """digest: in lower case, as long as the algorithm makes it."""

    algorithm: str
    digest: str


def promises(project: str, fragment: str) -> tuple[Promise, ...]:
    """In their order; all of them must hold. Raises Refused for what no such algorithm gives."""
    pairs = [(name.lower(), value.strip().lower()) for name, value in parse_qsl(fragment, keep_blank_values=True)]
    found = tuple(Promise(name, value) for name, value in pairs if name in ALGORITHMS)
    for one in found:
        digits = 2 * hashlib.new(one.algorithm, usedforsecurity=False).digest_size
        if not re.fullmatch(f"[0-9a-f]{{{digits}}}", one.digest):
            raise Refused(f"{project} comes from a URL whose {one.algorithm} has not {digits} hexadecimal digits.")
    return found


def promises_of(file: LockedFile) -> tuple[Promise, ...]:
    """What a lock says of a file beside its sha256, as far as it can be computed here."""
    pairs = [(name.lower(), digest) for name, digest in file.hashes.items()]
    return tuple(Promise(name, digest) for name, digest in pairs if name in _OF_A_LOCK and name != "sha256")


async def check(name: str, blob: Blob, promised: Sequence[Promise], threads: Threads) -> None:
    """Raises DigestMismatch where one of them does not hold, and what reading the blob raises."""
    others = {one.algorithm for one in promised} - {"sha256"}  # by which the store knows it
    hashes = {algorithm: hashlib.new(algorithm, usedforsecurity=False) for algorithm in others}

    def update(content: bytes) -> None:
        for one in hashes.values():
            one.update(content)

    if blob.content is not None:
        update(blob.content)
    elif hashes:
        file = await blob.open()
        try:
            for at in range(0, blob.size_bytes, READ_SIZE_BYTES):
                await threads.run(update, await file.pread(min(READ_SIZE_BYTES, blob.size_bytes - at), at))
        finally:
            file.close()
    came = {"sha256": str(blob.sha256), **{algorithm: one.hexdigest() for algorithm, one in hashes.items()}}
    for algorithm, digest in promised:
        if came[algorithm] != digest:
            raise DigestMismatch(name, expected=f"{algorithm}:{digest}", got=f"{algorithm}:{came[algorithm]}")
