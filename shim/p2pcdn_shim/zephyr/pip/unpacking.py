"""Unpacks a wheel as pip takes it: with a RECORD that may be incomplete, but never with one that lies.

The store's own reader of archives does the reading, with all its checks (bombs, overlaps, names that lead elsewhere).
What RECORD says of a file must be true; files of which it says nothing, and rows of files that are not there, are let
pass, as old wheels have them. `zephyr sync` is stricter.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterator, Mapping
from configparser import Error as ParserError
from email.parser import HeaderParser
from pathlib import Path

from p2pcdn.envs.archive import Archive, Member
from p2pcdn.envs.listing import Entry, EntryPoint, Listing, Part
from p2pcdn.envs.member_names import why_unsafe
from p2pcdn.envs.record import record_row, urlsafe
from p2pcdn.envs.unpack import shebang_of
from p2pcdn.envs.wheel import UNRECORDED, place, scripts_of
from p2pcdn.errors import P2pcdnError
from p2pcdn_shim.zephyr.pip.errors import PipError

SCHEME_KEYS = ("data", "headers", "platlib", "purelib", "scripts")
TEXT_SIZE_BYTES_MAX = 64 * 1024 * 1024


def unpack_wheel(wheel: Path, filename: str, project: str, tree: Path) -> Listing:
    """Raises PipError."""
    descriptor = os.open(wheel, os.O_RDONLY | os.O_CLOEXEC)
    try:
        archive = Archive(descriptor, filename)
        return _Unpacking(archive, wheel, filename, project, tree).run()
    except (P2pcdnError, csv.Error) as error:
        raise PipError(f"{filename}: {error}" if isinstance(error, csv.Error) else str(error)) from error
    except OSError as error:
        raise PipError(f"Could not install packages due to an OSError: {error}\n") from error
    finally:
        os.close(descriptor)


def _is_wrapper(name: str, points: tuple[EntryPoint, ...]) -> bool:
    """Whether a script is what setuptools once made of an entry point; the entry point is made anew here."""
    top, _, rest = name.partition("/")
    key, _, file = rest.partition("/")
    if not top.endswith(".data") or key != "scripts":
        return False
    for ending in (".exe", "-script.py", ".pya"):
        file = file.removesuffix(ending)
    return any(file == point.name for point in points)


class _Unpacking:
    def __init__(self, archive: Archive, wheel: Path, filename: str, project: str, tree: Path) -> None:
        self._archive = archive
        self._wheel = wheel
        self._filename = filename
        self._project = project
        self._tree = tree
        self._files = {one.name: one for one in archive.members if not one.is_directory}

    def run(self) -> Listing:
        info = next(name.partition("/")[0] for name in self._files if name.partition("/")[0].endswith(".dist-info"))
        told = HeaderParser().parsestr(self._text(f"{info}/METADATA"))
        wheel = HeaderParser().parsestr(self._text(f"{info}/WHEEL"))
        points = tuple(self._entry_points(info))
        record = dict(self._record(info))
        entries = tuple(self._entry(one, info, record) for one in sorted(self._files.values(), key=lambda one: one.name)
                        if one.name != f"{info}/RECORD" and not _is_wrapper(one.name, points))  # fmt: skip
        purelib = str(wheel["Root-Is-Purelib"] or "").strip().lower() == "true"
        tags = tuple(str(tag) for tag in wheel.get_all("Tag") or ())
        listing = Listing(str(told["Name"]), str(told["Version"]), info, purelib, tags, entries, points)
        rows = [record_row(one.path, one.sha256, one.size_bytes) for one in entries]
        (self._tree / info).mkdir(parents=True, exist_ok=True)
        (self._tree / info / "RECORD").write_text("".join([*rows, record_row(f"{info}/RECORD")]), encoding="utf-8")
        return listing

    def _text(self, name: str) -> str:
        return self._archive.read(self._files[name], TEXT_SIZE_BYTES_MAX).decode("utf-8", "surrogateescape")

    def _record(self, info: str) -> Iterator[tuple[str, tuple[str, str]]]:
        if f"{info}/RECORD" not in self._files:
            return
        for row in csv.reader(self._text(f"{info}/RECORD").splitlines()):
            if len(row) > 1 and "=" in row[1]:
                algorithm, _, digest = row[1].partition("=")
                yield row[0], (algorithm, digest.rstrip("="))

    def _entry(self, one: Member, info: str, record: Mapping[str, tuple[str, str]]) -> Entry:
        if why_unsafe(one.name):
            raise PipError(
                f"The wheel {str(self._wheel)!r} has a file {one.name!r} trying to install outside the target directory"
            )
        part, below = self._place(one.name)
        to = self._tree / one.name
        to.parent.mkdir(parents=True, exist_ok=True)
        algorithm, promised = record.get(one.name, ("", ""))
        digest, other, first = self._write(one, to, algorithm)
        if promised and other and one.name.rpartition("/")[2] not in UNRECORDED and other != promised:
            raise PipError(f"{self._filename}: {one.name} is not what its RECORD says. Nothing of it was installed.")
        program = bool(one.mode & 0o111) or part == "scripts"
        to.chmod(0o755 if program else 0o644)
        return Entry(
            one.name, one.size_bytes, digest, program, part, below, shebang_of(first) if part == "scripts" else ""
        )

    def _place(self, name: str) -> tuple[Part, str]:
        top, _, rest = name.partition("/")
        if top.endswith(".data"):
            key, slash, below = rest.partition("/")
            if not slash or not below:
                raise PipError(
                    f"Unexpected file in {self._wheel}: {name!r}. .data directory contents should be named like:"
                    " '<scheme key>/<path>'."
                )
            if key not in SCHEME_KEYS:
                raise PipError(
                    f"Unknown scheme key used in {self._wheel}: {key} (for file {name!r}). .data directory contents"
                    " should be in subdirectories named with a valid scheme key"
                    f" ({', '.join(SCHEME_KEYS)})"
                )
        try:
            return place(name)
        except ValueError as error:
            raise PipError(f"{self._filename}: {error}") from error

    def _write(self, one: Member, to: Path, algorithm: str) -> tuple[str, str, bytes]:
        """The sha256, the digest by the other algorithm, and the first bytes."""
        sha256 = hashlib.sha256()
        known = algorithm in hashlib.algorithms_available
        other = sha256 if algorithm == "sha256" else hashlib.new(algorithm) if known else None
        first = b""
        with to.open("wb") as file:
            for chunk in self._archive.chunks(one):
                first = first or chunk[:64]
                sha256.update(chunk)
                if other is not None and other is not sha256:
                    other.update(chunk)
                file.write(chunk)
        return urlsafe(sha256.digest()), urlsafe(other.digest()) if other is not None else "", first

    def _entry_points(self, info: str) -> Iterator[EntryPoint]:
        if f"{info}/entry_points.txt" not in self._files:
            return
        try:
            scripts = scripts_of(self._text(f"{info}/entry_points.txt"))
        except ParserError as error:
            raise PipError(f"{self._project} has an invalid wheel, entry_points.txt cannot be read: {error}") from error
        for name, value, gui in scripts:
            if why_unsafe(name) or "/" in name:
                raise PipError(f"{self._project} has an invalid wheel, its command {name[:80]!r} is no name of a file.")
            module, colon, attribute = value.partition("[")[0].strip().partition(":")
            if not colon or not attribute.strip():
                raise PipError(
                    f"Invalid script entry point: {name} = {value} - A callable suffix is required. See"
                    " https://packaging.python.org/specifications/entry-points/#use-for-scripts for more information."
                )
            yield EntryPoint(name, module.strip(), attribute.strip(), gui)
