"""Which names of an archive may become paths below a directory: pure, and strict for every platform at once."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

# Linux's PATH_MAX is 4096 with the directory in front; the longest name in a real wheel has some 250.
NAME_SIZE_BYTES_MAX = 1024
# NAME_MAX of every usual file system.
PART_SIZE_BYTES_MAX = 255
_DRIVE = re.compile(r"[A-Za-z]:")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def why_unsafe(name: str) -> str:
    """Why a file of this name must not be unpacked, in half a sentence; "" for a good one."""
    parts = name.split("/")
    if name.startswith("/") or _DRIVE.match(name):
        return "is an absolute path"
    if any(part in ("", ".", "..") for part in parts):
        return "does not stay where it is unpacked"
    if "\\" in name or _CONTROL.search(name):
        return "has a backslash or a control character in it"
    return _why_too_long(name, parts)


def _why_too_long(name: str, parts: list[str]) -> str:
    try:
        sizes = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:
        return "is not Unicode"
    if sum(sizes) + len(parts) - 1 > NAME_SIZE_BYTES_MAX:
        return f"is longer than {NAME_SIZE_BYTES_MAX} bytes"
    return f"has a part of more than {PART_SIZE_BYTES_MAX} bytes" if max(sizes) > PART_SIZE_BYTES_MAX else ""


def folded(name: str) -> str:
    """What a name is on a file system that knows neither case nor how an accent was typed (Windows, macOS)."""
    return unicodedata.normalize("NFC", name).casefold() if not name.isascii() else name.lower()


def collisions(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs of names that cannot both be files: equal but for case or accents, or one the directory of the other."""
    files: dict[str, str] = {}
    for name in names:
        key = folded(name)
        if key in files:
            yield files[key], name
        files[key] = name
    for key, name in files.items():
        at = key.rfind("/")
        while at > 0:
            if key[:at] in files:
                yield files[key[:at]], name
            at = key.rfind("/", 0, at)
