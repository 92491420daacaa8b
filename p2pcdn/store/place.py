"""Claims the directory of a store for one node, after looking whether it can hold one. All of it runs in a thread."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from contextlib import suppress
from pathlib import Path

from p2pcdn.errors import StoreUnusable
from p2pcdn.store.health import is_full
from p2pcdn.store.layout import FORMAT_VERSION, Layout

# LMDB needs memory maps and locks that agree between processes; these file systems do not promise both.
FOREIGN_FILE_SYSTEMS = frozenset(
    {"9p", "afs", "ceph", "cifs", "nfs", "nfs4", "smb3", "smbfs", "vboxsf"}
    | {"fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs"}
)
# A transaction that evicts copies some dozens of pages of 4 KiB.
BALLAST_SIZE_BYTES = 1024 * 1024
MOUNTS = Path("/proc/self/mountinfo")
_FORMAT = re.compile(r"p2pcdn store (\d{1,9})\n", re.ASCII)
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC


class Claim:
    """The right to a store's directory, held until `release` or the end of the process.

    unclean: how many lives in a row before this one ended without saying so, by a kill or a power cut.
    """

    def __init__(self, descriptor: int, unclean: int = 0) -> None:
        self._descriptor = descriptor
        self.unclean = unclean

    def release(self, *, clean: bool = False) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor != -1:
            if clean:
                with suppress(OSError):
                    os.ftruncate(descriptor, 0)
            os.close(descriptor)


def claim(layout: Layout) -> Claim:
    """Makes the directory where it is missing, and locks it. Raises StoreUnusable with one sentence."""
    directory = layout.directory
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_owner(directory)
        _check_file_system(directory)
        _check_emptiness(layout)
        held = _lock(layout)
        try:
            _check_format(layout)
            _make_rooms(layout)
            take_ballast(layout)
        except BaseException:
            held.release()
            raise
    except OSError as error:
        raise StoreUnusable(_sentence(directory, error)) from error
    return held


def _check_owner(directory: Path) -> None:
    state = directory.lstat()
    if not stat.S_ISDIR(state.st_mode) and not directory.is_dir():
        raise StoreUnusable(f"The store {directory} is not a directory.")
    state = directory.stat()
    if state.st_uid != os.geteuid():
        raise StoreUnusable(
            f"The store {directory} belongs to user {state.st_uid}, and this node runs as {os.geteuid()}."
        )
    if state.st_mode & 0o077:
        # Private packages may lie in it.
        directory.chmod(0o700)


def _check_file_system(directory: Path) -> None:
    kind = file_system_of(directory)
    if kind in FOREIGN_FILE_SYSTEMS:
        raise StoreUnusable(
            f"The store {directory} lies on a {kind} file system, where it would not be safe; choose a local disk."
        )


def file_system_of(directory: Path, mounts: Path = MOUNTS) -> str:
    """The type of the file system that a directory lies on (proc(5), mountinfo), or "" where nobody says."""
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return ""
    here = str(directory.resolve())
    best, kind = -1, ""
    for line in lines:
        left, _, right = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), left.split(" ")[4])
        inside = here == point or here.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= best:
            best, kind = len(point), right.split(" ")[0]
    return kind


def _check_emptiness(layout: Layout) -> None:
    # A lock and a format that is not yet in place are what a kill during the first start leaves behind.
    ours = {layout.lock.name, layout.format.name + ".new"}
    if not layout.format.exists() and any(path.name not in ours for path in layout.directory.iterdir()):
        raise StoreUnusable(
            f"The directory {layout.directory} is not empty and is not a store; choose another, or empty it."
        )


def _lock(layout: Layout) -> Claim:
    descriptor = os.open(layout.lock, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 300, 0).decode("utf-8", "replace").partition("\n")[0] or "another process"
        os.close(descriptor)
        raise StoreUnusable(f"The store {layout.directory} is held by {holder}; one node a store.") from None
    except BaseException:
        os.close(descriptor)
        raise
    try:
        former = os.pread(descriptor, 300, 0).decode("utf-8", "replace").splitlines()
        unclean = _number(former[1]) + 1 if len(former) > 1 else len(former)
        _sign(descriptor, unclean, layout)
    except BaseException:
        os.close(descriptor)
        raise
    return Claim(descriptor, unclean)


def _sign(descriptor: int, unclean: int, layout: Layout) -> None:
    """Says who holds the lock. On a full disk the ballast makes room for that line, and a node can still start."""
    line = f"process {os.getpid()} on {os.uname().nodename}\n{unclean}\n".encode()
    os.ftruncate(descriptor, 0)
    try:
        os.pwrite(descriptor, line, 0)
    except OSError as error:
        if not is_full(error):
            raise
        throw_ballast(layout)
        os.pwrite(descriptor, line, 0)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0


def _check_format(layout: Layout) -> None:
    try:
        text = layout.format.read_text("ascii", "replace")
    except FileNotFoundError:
        _write_format(layout)
        return
    match = _FORMAT.fullmatch(text)
    if match is None:
        raise StoreUnusable(
            f"The store {layout.directory} has an unreadable file `format`; restore it, or choose another directory."
        )
    if int(match[1]) > FORMAT_VERSION:
        raise StoreUnusable(
            f"The store {layout.directory} has format {match[1]}, and this p2pcdn knows formats up to "
            f"{FORMAT_VERSION}; use a newer p2pcdn."
        )
    if int(match[1]) < FORMAT_VERSION:
        _write_format(layout)  # before the first row that an older node would not read


def _write_format(layout: Layout) -> None:
    new = layout.format.with_name(layout.format.name + ".new")
    with suppress(FileNotFoundError):
        new.unlink()
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
    try:
        os.write(descriptor, f"p2pcdn store {FORMAT_VERSION}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    new.rename(layout.format)
    sync_directory(layout.directory)


def _make_rooms(layout: Layout) -> None:
    device = layout.directory.stat().st_dev
    for room in (layout.catalog, layout.blobs, layout.partials, layout.trees):
        with suppress(FileExistsError):
            room.mkdir(mode=0o700)
        state = room.lstat()
        # A rename from partials to blobs must stay in one file system, and no link may lead it elsewhere.
        if not stat.S_ISDIR(state.st_mode) or state.st_dev != device:
            raise StoreUnusable(f"{room} must be a directory in the file system of the store itself.")
    sync_directory(layout.directory)


def take_ballast(layout: Layout) -> None:
    """Takes a little room on the disk, or none where there is none."""
    with suppress(OSError):
        descriptor = os.open(layout.ballast, os.O_WRONLY | os.O_CREAT | _FLAGS, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, BALLAST_SIZE_BYTES)
        finally:
            os.close(descriptor)


def throw_ballast(layout: Layout) -> None:
    """Gives it back."""
    with suppress(OSError):
        layout.ballast.unlink()


def sync_directory(directory: Path) -> None:
    """Makes the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | _FLAGS)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sentence(directory: Path, error: OSError) -> str:
    if error.errno == errno.EROFS:
        return f"The store {directory} lies on a read-only file system."
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"The store {directory} cannot be used by user {os.geteuid()}: permission denied."
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return f"The store {directory} cannot be opened: that is no directory."
    return f"The store {directory} cannot be opened: {error.strerror or error}."
