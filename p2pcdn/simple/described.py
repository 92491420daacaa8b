"""The files of a page as it describes them: checked when it comes, and each a `File` when somebody looks at it.

Of a large page a lock looks at some ten files of thousands, and at three words of the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, overload

from p2pcdn.digest import Sha256
from p2pcdn.errors import RemoteProtocolError
from p2pcdn.names import is_file_name
from p2pcdn.simple.links import absolute_url
from p2pcdn.simple.model import File

# Known values are two deep; unknown keys may go deeper, but not so deep that writing them again could overflow a stack.
DEPTH_MAX = 32

# The key of PEP 714 first; then the ones that indexes wrote before it, of which PyPI still sends the last.
METADATA_KEYS = ("core-metadata", "dist-info-metadata", "data-dist-info-metadata")

_SHA256 = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_SIZE_BYTES_MAX = 2**63 - 1

# What a table of versions is made of: filename, yanked, requires_python, upload_time, each as `File` has it.
Told = tuple[str, bool | str, str | None, str | None]
# A file in words that are quickly made and written: the fields of `File` in their order, but the last, `raw`.
Plain = tuple[str, str, str | None, int | None, str | bool, bool | str, str | None, str | None]


class DescribedFiles(Sequence[File]):
    """The files that one page lists. Whoever goes through all of them makes them all, once."""

    def __init__(self, kept: Sequence[tuple[Mapping[str, Any], str]]) -> None:
        """kept: what `kept_of` gave."""
        self._kept = kept

    def told(self) -> Iterator[Told]:
        """Of all of them in their order, without making them."""
        for raw, _ in self._kept:
            yield (raw["filename"], *_of_version(raw))

    def plain(self, at: int) -> tuple[Plain, Mapping[str, Any]]:
        """One of them, and its raw form, without making it."""
        raw, url = self._kept[at]
        return _plain(raw, url), raw

    @cached_property
    def _made(self) -> tuple[File, ...]:
        return tuple([_file(*one) for one in self._kept])

    def __iter__(self) -> Iterator[File]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._kept)

    @overload
    def __getitem__(self, at: int) -> File: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[File]: ...
    def __getitem__(self, at: int | slice) -> File | Sequence[File]:
        return [_file(*one) for one in self._kept[at]] if isinstance(at, slice) else _file(*self._kept[at])


def told(files: Sequence[File]) -> Iterable[Told]:
    """What a table of versions is made of, whoever made the page."""
    if isinstance(files, DescribedFiles):
        return files.told()
    return [(file.filename, file.yanked, file.requires_python, file.upload_time) for file in files]


def plain(files: Sequence[File], at: int) -> tuple[Plain, Mapping[str, Any]]:
    """One file in plain words, and its raw form, whoever made the page."""
    if isinstance(files, DescribedFiles):
        return files.plain(at)
    one = files[at]
    words = one.filename, one.url, one.sha256, one.size_bytes, one.core_metadata
    return (*words, one.yanked, one.requires_python, one.upload_time), one.raw


def kept_of(described: Sequence[Any], page_url: str) -> list[tuple[Mapping[str, Any], str]]:
    """Those whose name, URL and sha256 are safe to pass on, with the absolute URL.

    Raises RemoteProtocolError for what is no file at all.
    """
    kept: list[tuple[Mapping[str, Any], str]] = []
    for raw in described:
        if type(raw) is not dict:
            raise RemoteProtocolError(f"{page_url}: a file is no JSON object")
        filename, link, hashes = raw.get("filename"), raw.get("url"), raw.get("hashes")
        if not isinstance(filename, str) or not isinstance(link, str):
            raise RemoteProtocolError(f"{page_url}: a file has no `filename` or no `url`")
        for inner in raw.values():
            if type(inner) is dict or type(inner) is list:
                check_depth(inner, page_url, 1)
        url = absolute_url(page_url, link)
        if url is not None and is_file_name(filename) and _is_readable(hashes):
            kept.append((raw, url))
    return kept


def check_depth(value: dict[str, Any] | list[Any], url: str, depth: int = 0) -> None:
    """Raises RemoteProtocolError."""
    if depth > DEPTH_MAX:
        raise RemoteProtocolError(f"{url}: nested deeper than {DEPTH_MAX} levels")
    for inner in value.values() if type(value) is dict else value:
        if type(inner) is dict or type(inner) is list:
            check_depth(inner, url, depth + 1)


def _is_readable(hashes: object) -> bool:
    """Without a readable hash it would pass for a file that never had one, and nobody would check it."""
    sha256 = hashes.get("sha256") if isinstance(hashes, dict) else None
    return sha256 is None or (isinstance(sha256, str) and _SHA256.fullmatch(sha256) is not None)


def _file(raw: Mapping[str, Any], url: str) -> File:
    filename, _, sha256, size_bytes, beside, yanked, requires_python, upload_time = _plain(raw, url)
    digest = None if sha256 is None else Sha256(sha256)
    core_metadata = Sha256(beside) if isinstance(beside, str) else beside
    return File(filename, url, digest, size_bytes, core_metadata, yanked, requires_python, upload_time, raw)


def _plain(raw: Mapping[str, Any], url: str) -> Plain:
    hashes, size = raw.get("hashes"), raw.get("size")
    return (
        raw["filename"],
        url,
        _sha256(hashes.get("sha256")) if isinstance(hashes, dict) else None,
        size if type(size) is int and 0 <= size <= _SIZE_BYTES_MAX else None,
        _core_metadata(raw),
        *_of_version(raw),
    )


def _of_version(raw: Mapping[str, Any]) -> tuple[bool | str, str | None, str | None]:
    """What a file says of its version: yanked, requires_python, upload_time."""
    requires_python, upload_time = raw.get("requires-python"), raw.get("upload-time")
    return (
        _yanked(raw.get("yanked")),
        requires_python if isinstance(requires_python, str) else None,
        upload_time if isinstance(upload_time, str) else None,
    )


def _core_metadata(raw: Mapping[str, Any]) -> str | bool:
    # PEP 714: an older key counts only where the newer one is absent.
    for key in METADATA_KEYS:
        if key in raw:
            value = raw[key]
            return (_sha256(value.get("sha256")) or True) if isinstance(value, dict) else value is True
    return False


def _yanked(value: object) -> bool | str:
    """PEP 691: true, or a non-empty string, means yanked."""
    return value if isinstance(value, str) and value else value is True


def _sha256(value: object) -> str | None:
    return value.lower() if isinstance(value, str) and _SHA256.fullmatch(value) else None
