"""Unpacks a wheel once, into a tree that nobody changes any more."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from p2pcdn.envs.archive import Archive, Member
from p2pcdn.envs.errors import BadWheel
from p2pcdn.envs.link import write_all
from p2pcdn.envs.listing import Entry, Listing, Shebang
from p2pcdn.envs.record import record_row, urlsafe
from p2pcdn.envs.swap import write_out
from p2pcdn.envs.wheel import UNRECORDED, Wheel, place, read_wheel

FILE_MODE, PROGRAM_MODE = 0o444, 0o555
_LEFTOVER = ".unpacking"
# The longest first line that can be a `#!python` (PEP 427).
_SHEBANG_SIZE_BYTES = 64


def unpack(wheel: Path, filename: str, tree: Path, *, forgiving: bool = False) -> Listing:
    """Checks a wheel against its RECORD and unpacks it into the directory `tree`, which is then there whole or not at
    all.

    filename: the wheel's name, which says what it should be (the file itself may be a blob). forgiving: see
    `read_wheel`. Blocks: run it in a
    thread. Files become 0444 or 0555, directories 0555, all less the umask. It survives `kill -9`; for a power cut,
    call `settle` before you note anywhere that the tree is there. Two may unpack the same wheel at once. Raises
    BadWheel, and OSError for a disk that fails or is full; then nothing is left behind.
    """
    scratch = scratch_of(tree)
    scratch.mkdir()
    try:
        listing = _unpacked(wheel, filename, scratch, forgiving)
        publish(scratch, tree)
    except BaseException:
        remove_tree(scratch)
        raise
    return listing


def settle(directory: Path) -> None:
    """Waits until all that was written to this file system is on the disk: one call for a whole batch of trees.
    Raises OSError.
    """
    write_out(str(directory))


def remove_tree(tree: Path) -> None:
    """Removes a tree, or what is left of an unpacking; no error where there is none."""
    for directory, _, _ in os.walk(tree):
        with suppress(OSError):
            os.chmod(directory, 0o755)
    shutil.rmtree(tree, ignore_errors=True)
    if tree.exists():
        raise OSError(f"{tree} could not be removed")


def publish(scratch: Path, tree: Path) -> None:
    """Makes the scratch directory the tree; where another was faster, his is as good."""
    for directory, names, _ in os.walk(scratch):
        for name in names:
            _make_read_only(f"{directory}/{name}")
    try:
        os.rename(scratch, tree)
    except OSError:
        if not tree.is_dir():
            raise
        remove_tree(scratch)
        return
    # Its own mode comes last: renaming a directory changes its "..", which needs the right to write to it.
    with suppress(OSError):
        _make_read_only(str(tree))


def scratch_of(tree: Path) -> Path:
    """A name beside the tree that nobody else has, under which it is made."""
    return tree.with_name(f".{tree.name}.{os.urandom(8).hex()}{_LEFTOVER}")


def remove_leftovers(tree: Path) -> None:
    """Takes away what killed processes left of unpacking this tree, which nobody unpacks now; what resists stays."""
    for path in tree.parent.iterdir():
        if path.name.startswith(f".{tree.name}.") and is_leftover(path.name):
            with suppress(OSError):
                remove_tree(path)


def is_leftover(name: str) -> bool:
    """Whether a directory of this name beside the trees is what a killed unpacking left: the next start may remove
    it.
    """
    return name.startswith(".") and name.endswith(_LEFTOVER)


def _unpacked(wheel: Path, filename: str, scratch: Path, forgiving: bool) -> Listing:
    descriptor = os.open(wheel, os.O_RDONLY | os.O_CLOEXEC)
    try:
        archive = Archive(descriptor, filename)
        described = read_wheel(archive, filename, forgiving=forgiving)
        writer = _Writer(archive, described, scratch)
        entries = tuple(writer.entries())
    finally:
        os.close(descriptor)
    listing = Listing(
        project=described.project,
        version=described.version,
        info=described.info,
        purelib=described.purelib,
        tags=described.tags,
        entries=entries,
        entry_points=described.entry_points,
        notes=described.notes + writer.notes,
    )
    _write_record(listing, scratch)
    return listing


class _Writer:
    """Writes the files of one wheel below a scratch directory that is ours alone."""

    def __init__(self, archive: Archive, wheel: Wheel, scratch: Path) -> None:
        self._archive = archive
        self._wheel = wheel
        self._root = f"{scratch}/"
        self._made: set[str] = {""}
        self.notes: tuple[str, ...] = ()

    def entries(self) -> Iterator[Entry]:
        skipped = 0
        for member in sorted(self._wheel.files, key=lambda member: member.name):
            if member.name == f"{self._wheel.info}/RECORD":
                continue
            # Byte code in a wheel need not be that of the source beside it; what is needed is compiled here.
            if "__pycache__/" in member.name and member.name.endswith(".pyc"):
                skipped += 1
                continue
            yield self._entry(member)
        if skipped:
            brought = "a file of byte code; it was" if skipped == 1 else f"{skipped} files of byte code; they were"
            self.notes = (f"{self._wheel.filename} brings {brought} left out.",)

    def _entry(self, member: Member) -> Entry:
        name = member.name
        part, below = place(name)
        executable = bool(member.mode & 0o111) or part == "scripts"
        self._make_directory(name.rpartition("/")[0])
        digest, first = self._write(member, PROGRAM_MODE if executable else FILE_MODE)
        shebang = shebang_of(first) if part == "scripts" else ""
        return Entry(name, member.size_bytes, digest, executable, part, below, shebang)

    def _make_directory(self, name: str) -> None:
        if name not in self._made:
            self._make_directory(name.rpartition("/")[0])
            os.mkdir(self._root + name)
            self._made.add(name)

    def _write(self, member: Member, mode: int) -> tuple[str, bytes]:
        """The sha256 of the file, and its first bytes."""
        row = self._wheel.record.get(member.name)
        sha256 = hashlib.sha256()
        promised = None if row is None else sha256 if row.algorithm == "sha256" else hashlib.new(row.algorithm)
        first = b""
        descriptor = os.open(self._root + member.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            for chunk in self._archive.chunks(member):
                first = first or chunk[:_SHEBANG_SIZE_BYTES]
                sha256.update(chunk)
                if promised is not None and promised is not sha256:
                    promised.update(chunk)
                write_all(descriptor, chunk)
        finally:
            os.close(descriptor)
        unrecorded = member.name.rpartition("/")[2] in UNRECORDED
        if row is not None and promised is not None and not unrecorded and urlsafe(promised.digest()) != row.digest:
            raise BadWheel(
                f"{self._wheel.filename}: {member.name} is not what its RECORD says. Nothing of it was kept."
            )
        digest = urlsafe(sha256.digest())
        return (row.digest if row is not None and row.digest == digest else digest), first  # one string, not two


def shebang_of(first: bytes) -> Shebang:
    """What the first line of a script asks for: one that begins with `#!python`, be it `#!python3`, is replaced in each
    environment (PEP 427).
    """
    if not first.startswith(b"#!python"):
        return ""
    return "pythonw" if first.startswith(b"#!pythonw") else "python"


def _write_record(listing: Listing, scratch: Path) -> None:
    """RECORD as every environment begins it: rows of the files that were unpacked, in order, and one of itself."""
    rows = [record_row(entry.path, entry.sha256, entry.size_bytes) for entry in listing.entries]
    own = f"{listing.info}/RECORD"
    descriptor = os.open(scratch / own, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        write_all(descriptor, "".join([*rows, record_row(own)]).encode())
    finally:
        os.close(descriptor)


def _make_read_only(directory: str) -> None:
    os.chmod(directory, stat.S_IMODE(os.stat(directory).st_mode) & ~0o222)
