"""Hash-checking mode: which digests are allowed, and what is said where a file has another."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from p2pcdn_shim.zephyr.pip.errors import PipError

Allowed = Mapping[str, frozenset[str]]

_MISMATCH = (
    "THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated the package versions, "
    "please update the hashes. Otherwise, examine the package contents carefully; someone may have tampered with them."
)
_MISSING = (
    "Hashes are required in --require-hashes mode, but they are missing from some requirements. Here is a list of"
    " those requirements along with the hashes their downloaded archives actually had. Add lines like these to your "
    "requirements files to prevent tampering. (If you did not enable --require-hashes manually, note that it turns on "
    "automatically when any package has a hash.)"
)
_UNPINNED = "In --require-hashes mode, all requirements must have their versions pinned with ==. These do not:"
_DIRECTORY = "Can't verify hashes for these file:// requirements because they point to directories:"
_VCS = "Can't verify hashes for these requirements because we don't have a way to hash version control repositories:"


def digest_of(path: Path, algorithm: str = "sha256") -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def check(path: Path, allowed: Allowed, shown: str) -> None:
    """Raises PipError unless the file has one of the digests."""
    got = {name: digest_of(path, name) for name in allowed if name in hashlib.algorithms_available}
    if any(got.get(name) in digests for name, digests in allowed.items()):
        return
    lines = [f"    {shown}:"]
    for name, digests in allowed.items():
        wanted = sorted(digests)
        lines += [f"        Expected {name} {digest}" if not at else f"             or {digest}"
                  for at, digest in enumerate(wanted)]  # fmt: skip
        lines.append(f"             Got        {got.get(name, '')}\n")
    raise PipError("\n".join([_MISMATCH, *lines]))


def missing(path: Path, shown: str) -> PipError:
    return PipError(f"{_MISSING}\n    {shown} --hash=sha256:{digest_of(path)}")


def unpinned(shown: str, origin: str) -> PipError:
    return PipError(f"{_UNPINNED}\n    {shown}{f' (from {origin})' if origin else ''}")


def directory(shown: str) -> PipError:
    return PipError(f"{_DIRECTORY}\n    {shown}")


def vcs(shown: str) -> PipError:
    return PipError(f"{_VCS}\n    {shown}")


def intersected(one: Allowed, other: Allowed) -> Allowed:
    """Of a requirement and of a constraint: what both allow; what only one speaks of, as that says."""
    if not one:
        return other
    if not other:
        return one
    return {name: one[name] & other[name] for name in one if name in other}
