"""Unpacks a source distribution that may be hostile: nothing outside of `target` is ever written."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from p2pcdn.build.members import MEMBERS_MAX, Member, check_together, safe_path
from p2pcdn.errors import Refused
from p2pcdn.sizes import format_size

MIB = 1024 * 1024
# As much as a build may have of scratch; the largest sdists on PyPI unpack to 1 GiB.
UNPACKED_SIZE_BYTES_MAX = 2048 * MIB
# PyPI's own rule for a bomb: both at once. Texts may pack 50:1, small files anything.
RATIO_MAX = 50
RATIO_FROM_SIZE_BYTES = 64 * MIB
# Of a tar's member: a path and a few words.
EXTENDED_SIZE_BYTES_MAX = 1 * MIB
# Of a zip: a hundred bytes for each of MEMBERS_MAX members.
DIRECTORY_SIZE_BYTES_MAX = 20 * MIB
# The end record and its comment.
_END_SIZE_BYTES_MAX = 22 + 65535
_EXTENDED = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
_COPY_SIZE_BYTES = 256 * 1024
# The bits that survive: no set-uid, nothing that only its author might read.
_FILE_MODE, _PROGRAM_MODE = 0o644, 0o755
_PACKINGS: dict[str, type[gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile]] = {
    ".gz": gzip.GzipFile,
    ".tgz": gzip.GzipFile,
    ".bz2": bz2.BZ2File,
    ".tbz": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".txz": lzma.LZMAFile,
    ".lzma": lzma.LZMAFile,
    ".tlz": lzma.LZMAFile,
}
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A member, and where its content comes from."""

    member: Member
    raw: tarfile.TarInfo | zipfile.ZipInfo
    is_program: bool
    mtime: float


def unpack(archive: Path, target: Path) -> Path:
    """Unpacks a .tar, packed in any of _PACKINGS, or a .zip into `target`, which it makes; the path of the sources.

    That is the one directory in which everything lies (PEP 625), else `target`. Raises Refused for an archive that is
    broken, hostile or beyond a limit; then nothing is left behind. It runs in a thread.
    """
    target.mkdir(mode=0o755)
    try:
        _unpack(archive, target)
    except BaseException as error:
        shutil.rmtree(target, ignore_errors=True)
        if isinstance(error, Refused):
            raise Refused(f"{archive.name} cannot be unpacked: {error}. Nothing was kept.") from error
        # Python's own readers also end in these on what they never expected (an unknown method, a bad number).
        if isinstance(error, (*_BROKEN, ValueError, NotImplementedError, RuntimeError)):
            raise Refused(f"{archive.name} cannot be unpacked: it is broken ({error}). Nothing was kept.") from error
        raise
    inside = list(target.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() and not inside[0].is_symlink() else target


def _unpack(archive: Path, target: Path) -> None:
    packed_bytes = archive.stat().st_size
    if archive.name.endswith(".zip"):
        _check_directory(archive)
        with zipfile.ZipFile(archive) as zipped:
            _unpack_entries(zipped, list(_zip_entries(zipped)), packed_bytes, target)
        return
    with tempfile.TemporaryFile(dir=target.parent) as plain:
        _unpack_stream(archive, plain, packed_bytes)
        with tarfile.open(fileobj=plain, mode="r:", tarinfo=_BoundedInfo) as tape:
            _unpack_entries(tape, list(_tar_entries(tape)), packed_bytes, target)


class _BoundedInfo(tarfile.TarInfo):
    """Python reads a member's extended header whole, before anybody is asked."""

    def _proc_member(self, tape: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _EXTENDED and self.size > EXTENDED_SIZE_BYTES_MAX:
            raise Refused(f"a header in it has more than {format_size(EXTENDED_SIZE_BYTES_MAX)}")
        return super()._proc_member(tape)  # type: ignore[misc,no-any-return]


def _check_directory(archive: Path) -> None:
    """Python reads the directory of a zip whole, before anybody is asked (PKWARE APPNOTE, 4.3.16)."""
    with archive.open("rb") as file:
        file.seek(max(0, archive.stat().st_size - _END_SIZE_BYTES_MAX))
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + 22 > len(tail):
        raise Refused("it is no zip archive")
    size_bytes = int.from_bytes(tail[at + 12 : at + 16], "little")
    if size_bytes > DIRECTORY_SIZE_BYTES_MAX or tail[max(0, at - 20) : at].startswith(b"PK\x06\x07"):
        raise Refused(f"its directory has more than {format_size(DIRECTORY_SIZE_BYTES_MAX)}")


def _unpack_entries(
    archive: tarfile.TarFile | zipfile.ZipFile, entries: list[_Entry], packed_bytes: int, target: Path
) -> None:
    check_together(entry.member for entry in entries)
    _check_size(sum(_size_bytes(entry.raw) for entry in entries), packed_bytes)
    _write(archive, entries, target)


def _unpack_stream(archive: Path, plain: IO[bytes], packed_bytes: int) -> None:
    """The tar archive itself, so that it can be read twice; a bomb ends here."""
    size_bytes = 0
    with _packed(archive) as stream:
        while part := stream.read(_COPY_SIZE_BYTES):
            size_bytes += len(part)
            _check_size(size_bytes, packed_bytes)
            plain.write(part)
    plain.seek(0)


def _packed(archive: Path) -> IO[bytes]:
    for ending, packing in _PACKINGS.items():
        if archive.name.endswith(ending):
            return cast("IO[bytes]", packing(archive))
    return archive.open("rb")


def _check_size(size_bytes: int, packed_bytes: int) -> None:
    if size_bytes > UNPACKED_SIZE_BYTES_MAX:
        raise Refused(f"it unpacks to more than {format_size(UNPACKED_SIZE_BYTES_MAX)}")
    if size_bytes > RATIO_FROM_SIZE_BYTES and size_bytes > RATIO_MAX * packed_bytes:
        raise Refused(f"it unpacks to more than {RATIO_MAX} times its size")


def _tar_entries(archive: tarfile.TarFile) -> Iterator[_Entry]:
    for at, raw in enumerate(archive):
        if at >= MEMBERS_MAX:
            raise Refused(f"it has more than {MEMBERS_MAX:,} members")
        path = safe_path(raw.name)
        if raw.isdir():
            member = Member(path, "directory")
        elif raw.issym():
            member = Member(path, "symlink", raw.linkname)
        elif raw.islnk():
            member = Member(path, "hardlink", safe_path(raw.linkname))
        elif raw.isreg() and raw.sparse is None:
            member = Member(path, "file")
        else:
            raise Refused(f"its member {raw.name!r} is a device, a pipe or something else that no source is")
        if path:
            yield _Entry(member, raw, bool(raw.mode & 0o111), raw.mtime)


def _zip_entries(archive: zipfile.ZipFile) -> Iterator[_Entry]:
    for raw in archive.infolist():
        path, mode = safe_path(raw.filename), raw.external_attr >> 16
        if raw.flag_bits & 1:
            raise Refused(f"its member {raw.filename!r} is encrypted")
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise Refused(f"its member {raw.filename!r} is a link or a device, which a zip of sources has not")
        member = Member(path, "directory" if raw.is_dir() else "file")
        if path:
            yield _Entry(member, raw, bool(mode & 0o111), time.mktime((*raw.date_time, 0, 1, -1)))


def _size_bytes(raw: tarfile.TarInfo | zipfile.ZipInfo) -> int:
    return raw.size if isinstance(raw, tarfile.TarInfo) else raw.file_size


def _write(archive: tarfile.TarFile | zipfile.ZipFile, entries: list[_Entry], target: Path) -> None:
    """Files first, links last: nothing is ever written through a link."""
    files: dict[str, _Entry] = {}
    for entry in entries:
        path = target / entry.member.path
        if entry.member.kind == "directory":
            path.mkdir(parents=True, exist_ok=True)
        elif entry.member.kind == "file":
            files[entry.member.path] = entry
            _write_file(archive, entry, entry, path)
        elif entry.member.kind == "hardlink":
            if entry.member.target not in files:
                raise Refused(
                    f"its link {entry.member.path!r} leads to {entry.member.target!r}, which is no file before it"
                )
            _write_file(archive, files[entry.member.target], entry, path)
    for directory, _, _ in os.walk(target):
        Path(directory).chmod(_PROGRAM_MODE)
    for entry in entries:
        if entry.member.kind == "symlink":
            path = target / entry.member.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(entry.member.target)


def _write_file(archive: tarfile.TarFile | zipfile.ZipFile, source: _Entry, entry: _Entry, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = _PROGRAM_MODE if source.is_program else _FILE_MODE
    # "x": never through a link, nor over a file that is there.
    with path.open("xb") as file, _content(archive, source) as content:
        shutil.copyfileobj(content, file, _COPY_SIZE_BYTES)
    path.chmod(mode)
    # Makefiles compare times: a generated file must stay newer than what it came from.
    os.utime(path, (entry.mtime, entry.mtime))


def _content(archive: tarfile.TarFile | zipfile.ZipFile, entry: _Entry) -> IO[bytes]:
    if isinstance(archive, zipfile.ZipFile):
        return archive.open(cast("zipfile.ZipInfo", entry.raw))
    content = archive.extractfile(cast("tarfile.TarInfo", entry.raw))
    assert content is not None
    return content
