"""A wheel as its archive and its dist-info describe it: names, parts, entry points, RECORD (PEP 427)."""

from __future__ import annotations

import configparser
import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast, get_args

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from p2pcdn.envs.archive import Archive, Member
from p2pcdn.envs.errors import BadWheel
from p2pcdn.envs.listing import EntryPoint, Part
from p2pcdn.envs.member_names import collisions, why_unsafe

# The longest METADATA on PyPI has some 1 MiB: a README with pictures in it.
METADATA_SIZE_BYTES_MAX = 16 * 1024 * 1024
# A row for each of 100,000 files.
RECORD_SIZE_BYTES_MAX = 64 * 1024 * 1024
# The version of the format that this code knows. A newer minor one is told, a newer major one refused.
WHEEL_VERSION = (1, 0)
# Those that PyPI and pip accept in RECORD ("sha256 or better").
RECORD_HASHES = frozenset({"sha256", "sha384", "sha512"})
# RECORD cannot list itself, and its signatures (PEP 815: no more written) are made after it.
UNRECORDED = frozenset({"RECORD", "RECORD.jws", "RECORD.p7s"})
_PARTS = frozenset(get_args(Part)) - {"root"}
# What the csv module is to be given: lines with their ends, whatever the end is.
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_ENTRY_POINT = re.compile(r"(?P<module>[\w.]+)\s*:\s*(?P<attribute>[\w.]+)\s*(\[[^\]]*\])?\s*")


@dataclass(frozen=True, slots=True)
class RecordRow:
    """What RECORD says of one file. digest: urlsafe base64 without padding. size_bytes: -1 where it does not say."""

    algorithm: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Wheel:
    """What is known of a wheel before its files are unpacked; everything in it was checked but the files' hashes.

    files: the members that are files. record: by path. info: the name of its .dist-info directory.
    """

    filename: str
    project: str
    version: str
    info: str
    purelib: bool
    tags: tuple[str, ...]
    files: tuple[Member, ...]
    record: Mapping[str, RecordRow]
    entry_points: tuple[EntryPoint, ...]
    notes: tuple[str, ...]


def read_wheel(archive: Archive, filename: str, *, forgiving: bool = False) -> Wheel:
    """Raises BadWheel, with a sentence that names the wheel and what is wrong with it.

    forgiving: as pip, which takes old wheels: with a RECORD that lacks rows, strong hashes or itself (what it says is
    true all the same), and with the scripts that setuptools once made of entry points, which are left out.
    """
    return _Reader(archive, filename, forgiving).wheel()


def place(path: str) -> tuple[Part, str]:
    """To which part of the scheme a file of a wheel belongs, and its path there. Raises ValueError for an unknown
    part.
    """
    top, _, rest = path.partition("/")
    if not rest or not top.endswith(".data"):
        return "root", path
    part, _, inner = rest.partition("/")
    if part not in _PARTS or not inner or (part == "scripts" and "/" in inner):
        raise ValueError(f"{path} belongs to no part of an environment")
    return cast(Part, part), inner


def scripts_of(entry_points: str) -> list[tuple[str, str, bool]]:
    """(name, what it calls, whether it has windows) of an entry_points.txt's scripts. Raises configparser.Error."""
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[method-assign, assignment]  # names keep their case
    parser.read_string(entry_points)
    sections = [(one, gui) for one, gui in (("console_scripts", False), ("gui_scripts", True)) if one in parser]
    return [(name, value, gui) for section, gui in sections for name, value in parser.items(section)]


class _Reader:
    def __init__(self, archive: Archive, filename: str, forgiving: bool) -> None:
        self._archive = archive
        self._filename = filename
        self._forgiving = forgiving
        self._members = {member.name: member for member in archive.members}
        self._notes: list[str] = []

    def wheel(self) -> Wheel:
        files = tuple(member for member in self._archive.members if not member.is_directory)
        self._check_names(files)
        project, version = self._named()
        info = self._info(project, version)
        purelib, tags = self._wheel_file(info)
        real_project, real_version = self._metadata(info, project, version)
        record = self._record(info, files)
        entry_points = tuple(self._entry_points(info))
        notes = tuple(self._notes)
        if self._forgiving:
            files = tuple(member for member in files if not _is_wrapper(member.name, entry_points))
        return Wheel(
            self._filename, real_project, real_version, info, purelib, tags, files, record, entry_points, notes
        )

    def _check_names(self, files: tuple[Member, ...]) -> None:
        for member in self._archive.members:
            if why := why_unsafe(member.name.removesuffix("/")):
                raise self._bad(f"the name {member.name[:200]!r} {why}")
            if member.is_directory and member.size_bytes:
                raise self._bad(f"the directory {member.name} has bytes in it")
        for one, other in collisions(member.name for member in files):
            raise self._bad(f"{one} and {other} cannot both be files on every system")
        directories = (member.name.removesuffix("/") for member in self._archive.members if member.is_directory)
        for name in directories:
            if name in self._members:
                raise self._bad(f"{name} is both a file and a directory")
        for member in files:
            try:
                place(member.name)
            except ValueError as error:
                raise self._bad(str(error)) from error

    def _named(self) -> tuple[str, Version]:
        try:
            project, version, _, _ = parse_wheel_filename(self._filename)
        except InvalidWheelFilename as error:
            raise self._bad(f"its name is not a wheel's ({error})") from error
        return project, version

    def _info(self, project: str, version: Version) -> str:
        tops = {name.partition("/")[0] for name in self._members if "/" in name}
        found = sorted(top for top in tops if top.endswith(".dist-info"))
        if len(found) != 1:
            raise self._bad(f"it has {len(found)} .dist-info directories; a wheel has one")
        name, _, number = found[0].removesuffix(".dist-info").rpartition("-")
        if canonicalize_name(name) != project or not _same_version(number, version):
            raise self._bad(f"{found[0]} is of another project or version than the name of the wheel")
        return found[0]

    def _wheel_file(self, info: str) -> tuple[bool, tuple[str, ...]]:
        headers = self._headers(f"{info}/WHEEL")
        number = headers.get("wheel-version", [""])[0]
        if not re.fullmatch(r"\d{1,6}\.\d{1,6}", number, re.ASCII):
            raise self._bad(f"its WHEEL file has no proper Wheel-Version ({number[:40]!r})")
        major, minor = (int(part) for part in number.split("."))
        if major > WHEEL_VERSION[0]:
            raise self._bad(f"its format is {number}, and this program knows 1.0: a newer one is needed")
        if (major, minor) > WHEEL_VERSION:
            self._notes.append(f"{self._filename} has the newer format {number}; it was unpacked as 1.0.")
        purelib = headers.get("root-is-purelib", [""])[0].lower() == "true"
        return purelib, tuple(sorted(set(headers.get("tag", []))))

    def _metadata(self, info: str, project: str, version: Version) -> tuple[str, str]:
        headers = self._headers(f"{info}/METADATA")
        name, number = headers.get("name", [""])[0], headers.get("version", [""])[0]
        if canonicalize_name(name) != project or not _same_version(number, version):
            raise self._bad(f"its METADATA is of {name[:80]} {number[:80]}, not of what the wheel is called")
        return name, number

    def _headers(self, path: str) -> dict[str, list[str]]:
        """The header fields before the first empty line; names in lower case."""
        headers: dict[str, list[str]] = {}
        for line in self._text(path, METADATA_SIZE_BYTES_MAX).split("\n"):
            if not line.strip():
                break
            name, colon, value = line.partition(":")
            if colon and not line[0].isspace():
                headers.setdefault(name.strip().lower(), []).append(value.strip())
        return headers

    def _text(self, path: str, size_bytes_max: int) -> str:
        if path not in self._members:
            raise self._bad(f"{path} is missing")
        try:
            return self._archive.read(self._members[path], size_bytes_max).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._bad(f"{path} is not UTF-8") from error

    def _record(self, info: str, files: tuple[Member, ...]) -> dict[str, RecordRow]:
        record: dict[str, RecordRow] = {}
        unrecorded = {f"{info}/{name}" for name in UNRECORDED}
        for path, row in self._record_rows(f"{info}/RECORD"):
            if self._forgiving and (path not in self._members or row.algorithm not in RECORD_HASHES):
                continue
            member = self._members.get(path)
            if record.setdefault(member.name if member is not None else path, row) != row:
                raise self._bad(f"RECORD says two things of {path}")
            if member is None:
                raise self._bad(f"RECORD lists {path[:200]}, which is not in the wheel")
            if row.algorithm not in RECORD_HASHES and path not in unrecorded:
                raise self._bad(f"RECORD has no hash of {path}, or a weak one")
            if row.size_bytes not in (-1, member.size_bytes):
                raise self._bad(f"{path} has another size than RECORD says")
        for member in files:
            if member.name not in record and member.name not in unrecorded and not self._forgiving:
                raise self._bad(f"{member.name} is not in RECORD")
        return record

    def _record_rows(self, path: str) -> Iterator[tuple[str, RecordRow]]:
        if self._forgiving and path not in self._members:
            return
        text = self._text(path, RECORD_SIZE_BYTES_MAX)
        try:
            # A StringIO would have four bytes for each letter: 3 MB more for a wheel of 5,600 files.
            for row in csv.reader((line[0] for line in _LINE.finditer(text)), strict=True):
                if row:
                    name, digest, size = (*row, "", "")[:3] if self._forgiving else row
                    algorithm, _, value = digest.partition("=")
                    yield name, RecordRow(algorithm, value.rstrip("="), int(size) if size else -1)
        except (csv.Error, ValueError) as error:
            raise self._bad(f"a row of RECORD is malformed ({error})") from error

    def _entry_points(self, info: str) -> Iterator[EntryPoint]:
        path = f"{info}/entry_points.txt"
        if path not in self._members:
            return
        try:
            scripts = scripts_of(self._text(path, METADATA_SIZE_BYTES_MAX))
        except configparser.Error as error:
            raise self._bad(f"its entry_points.txt is malformed ({error})".replace("\n", " ")) from error
        for name, value, gui in scripts:
            yield self._entry_point(name, value, gui)

    def _entry_point(self, name: str, value: str, gui: bool) -> EntryPoint:
        match = _ENTRY_POINT.fullmatch(value)
        if why_unsafe(name) or "/" in name or not match:
            raise self._bad(f"its command {name[:80]!r} cannot be made of {value[:80]!r}")
        module, attribute = match["module"], match["attribute"]
        if not _DOTTED.fullmatch(module) or not _DOTTED.fullmatch(attribute):
            raise self._bad(f"its command {name[:80]!r} cannot be made of {value[:80]!r}")
        return EntryPoint(name, module, attribute, gui)

    def _bad(self, why: str) -> BadWheel:
        return BadWheel(f"{self._filename}: {why}. Nothing of it was kept.")


def _is_wrapper(name: str, points: tuple[EntryPoint, ...]) -> bool:
    """Whether a script is what setuptools once made of an entry point, which is made anew in each environment."""
    top, _, file = name.partition("/scripts/")
    for ending in (".exe", "-script.py", ".pya"):
        file = file.removesuffix(ending)
    return top.endswith(".data") and any(file == point.name for point in points)


def _same_version(text: str, version: Version) -> bool:
    try:
        return Version(text.replace("_", "-")) == version
    except InvalidVersion:
        return False
