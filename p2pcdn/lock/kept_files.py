"""The files of a page, in the form in which a node keeps them beside its table (`kept.py`). Pure.

A lock names some ten of the thousands of files of a large page, so they are packed by series of versions (1.24, 1.25).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, overload

from p2pcdn import frames
from p2pcdn.digest import Sha256
from p2pcdn.simple import File, Plain

# Reading a row of this size takes some 0.1 ms, most of it for its checksum. Most projects' files fit in one.
WHOLE_SIZE_BYTES_MAX = 64 * 1024
# The beginning of a version that is a part of a key.
SERIES_SIZE_MAX = 40


# A file in plain words, and its raw form.
Row = tuple[Plain, Mapping[str, Any]]


def encode_files(
    versions: Iterable[str], files_of: Callable[[str], Iterable[Row]], only: Iterable[str] | None = None
) -> dict[str, bytes]:
    """The files of a page by version, in their order, as rows by the end of their key: one row, or where that would be
    large, one for each series.

    files_of: asked for the files of one version, in plain words and with their raw forms.
    only: the versions whose series are wanted now; the others' rows are not made.
    """
    wanted = None if only is None else {_series(version) for version in only}
    series: dict[str, dict[str, str]] = {}
    for version in versions:
        end = _series(version)
        if wanted is None or end in wanted:
            series.setdefault(end, {})[version] = "\n".join([_line(*one) for one in files_of(version)])
    packed = {end: zlib.compress(frames.encode(lines), 1) for end, lines in series.items()}
    if only is None and sum(map(len, packed.values())) <= WHOLE_SIZE_BYTES_MAX:
        return {"": frames.encode(packed)}
    return {"": frames.encode(None), **packed}


def encodable(file: File) -> File:
    """A page may say anything, by a JSON escape even a lone surrogate, which has no encoding."""

    def told(text: str) -> str:
        return text.encode("utf-8", "replace").decode()

    return replace(
        file,
        yanked=told(file.yanked) if isinstance(file.yanked, str) else file.yanked,
        requires_python=told(file.requires_python or "") or None,
        upload_time=told(file.upload_time or "") or None,
        raw={name: told(text) for name, text in file.raw.items() if isinstance(text, str)},
    )


def decode_files(row: Callable[[str], bytes | None], version: str) -> Mapping[str, Files] | None:
    """The files of this version, if it has any, and of the others of its series; None where they were not kept.

    row: gives what is kept, by the end of its key.
    """
    whole = row("")
    if whole is None:
        return None
    packed: dict[str, bytes] | None = frames.decode_own(whole)
    octets = row(_series(version)) if packed is None else packed.get(_series(version))
    if octets is None:
        return None if packed is None else {}
    return {of: Files(lines) for of, lines in frames.decode_own(zlib.decompress(octets)).items()}


def _series(version: str) -> str:
    return "/" + ".".join(version.split(".")[:2])[:SERIES_SIZE_MAX]


class Files(Sequence[File]):
    """The files of one version, each made when it is asked for."""

    def __init__(self, text: str) -> None:
        """text: a line for each file; it is taken apart where somebody looks: a series has many versions."""
        self.text = text

    @cached_property
    def _rows(self) -> list[list[str]]:
        return [line.split("\t") for line in self.text.split("\n")] if self.text else []

    @property
    def names(self) -> tuple[str, ...]:
        """Of all of them, in the same order: most are asked for nothing else."""
        return tuple([row[0] for row in self._rows])

    @property
    def requires_python(self) -> str | None:
        """What the first one by name says, of those that say anything."""
        said = [(row[0], row[6]) for row in self._rows if row[6]]
        return min(said)[1] if said else None

    @property
    def attested(self) -> File | None:
        """The first one by name that has a provenance."""
        named = [row for row in self._rows if row[8]]
        return _file(*min(named)) if named else None

    @property
    def has_wheel(self) -> bool:
        """The first one speaks for all: a wheel, if there is any."""
        return self.text.partition("\t")[0].endswith(".whl")

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, at: int) -> File: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[File]: ...
    def __getitem__(self, at: int | slice) -> File | Sequence[File]:
        return [_file(*row) for row in self._rows[at]] if isinstance(at, slice) else _file(*self._rows[at])


NO_FILES = Files("")


def _file(
    filename: str,
    url: str,
    sha256: str,
    size_bytes: str,
    core_metadata: str,
    yanked: str,
    requires_python: str,
    upload_time: str,
    provenance: str,
) -> File:
    return File(
        filename,
        url,
        Sha256(sha256) if sha256 else None,
        int(size_bytes) if size_bytes else None,
        Sha256(core_metadata) if len(core_metadata) > 1 else bool(core_metadata),
        yanked[1:] or bool(yanked),
        requires_python or None,
        upload_time or None,
        {"provenance": provenance} if provenance else {},
    )


def _line(plain: Plain, raw: Mapping[str, Any]) -> str:
    """In the order in which `_file` takes them. What is not there is empty; what is only true, or begins a reason, "+".

    Of its raw form, where the provenance is.
    """
    filename, url, sha256, size_bytes, beside, yanked, requires_python, upload_time = plain
    link = raw.get("provenance")
    fields = (
        filename,
        url,
        sha256 or "",
        "" if size_bytes is None else str(size_bytes),
        beside if isinstance(beside, str) else "+" * beside,
        f"+{yanked}" if isinstance(yanked, str) else "+" * yanked,
        requires_python or "",
        upload_time or "",
        link if isinstance(link, str) else "",
    )
    line = "\t".join(fields)
    # Nothing of what a lock says needs these signs, and a page may hold anything.
    return line if "\n" not in line and line.count("\t") == len(fields) - 1 else "\t".join(map(_in_one_line, fields))


def _in_one_line(text: str) -> str:
    return " ".join(text.split())
