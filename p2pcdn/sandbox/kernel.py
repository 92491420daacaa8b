"""The system calls of the launcher that Python has no name for, by ctypes. Each raises OSError with the call's name."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REC, MS_PRIVATE = 0x4000, 1 << 18
MNT_DETACH = 2

# linux/mount.h
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV, ATTR_NOEXEC = 1, 2, 4, 8
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
_AT_FDCWD, _AT_RECURSIVE, _AT_EMPTY_PATH = -100, 0x8000, 0x1000
_MOVE_MOUNT_FROM_DESCRIPTOR = 0x4
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

SIGINT, SIGKILL, SIGPIPE = 2, 9, 13
_SIG_DFL, _SIG_IGN = 0, 1

# linux/prctl.h, linux/seccomp.h, linux/capability.h
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP = 1, 4, 22, 24
PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITIES_MAX = 64

_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("kind", ctypes.c_uint64),
        ("user", ctypes.c_uint64),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_void_p))


def syscall(what: str, number: int, *arguments: object) -> int:
    """By number. Raises OSError whose `filename` is `what`."""
    words = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    return _checked(what, _libc.syscall(ctypes.c_long(number), *words))


def unshare(flags: int) -> None:
    _checked("unshare", _libc.unshare(ctypes.c_int(flags)))


def mount(kind: str, target: str, flags: int, options: str = "") -> None:
    """Mounts a new file system of a kind; with the kind "" it changes how `target` spreads its mounts."""
    result = _libc.mount(b"none", target.encode(), kind.encode() or None, ctypes.c_ulong(flags), options.encode())
    _checked(f"mount {kind} at {target}", result)


def unmount(target: str) -> None:
    _checked(f"umount {target}", _libc.umount2(target.encode(), MNT_DETACH))


def clone_tree(path: str) -> int:
    """A descriptor of a detached copy of what is mounted at a path and below it."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_RECURSIVE
    return syscall(f"open_tree {path}", _OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags)


def restrict_tree(descriptor: int, attributes: int) -> None:
    """Sets attributes on a detached copy and all that is mounted below it, at once."""
    _set_attributes("mount_setattr", descriptor, b"", _AT_EMPTY_PATH | _AT_RECURSIVE, attributes)


def restrict_mount(path: str, attributes: int) -> None:
    """Sets attributes on the one mount at a path."""
    _set_attributes(f"mount_setattr {path}", _AT_FDCWD, os.fsencode(path), 0, attributes)


def attach_tree(descriptor: int, path: str) -> None:
    arguments = (descriptor, b"", _AT_FDCWD, os.fsencode(path), _MOVE_MOUNT_FROM_DESCRIPTOR)
    syscall(f"move_mount {path}", _MOVE_MOUNT, *arguments)


def pivot_here() -> None:
    """Makes the working directory the root and lets the old root go (pivot_root(2), the last example)."""
    syscall("pivot_root", _PIVOT_ROOT[os.uname().machine], b".", b".")
    unmount(".")
    os.chdir("/")


def prctl(option: int, value: int = 0, second: int = 0) -> None:
    words = [ctypes.c_ulong(one) for one in (value, second, 0, 0)]
    _checked(f"prctl {option}", _libc.prctl(ctypes.c_int(option), *words))


def set_signal(number: int, *, ignored: bool) -> None:
    """Ignores a signal, or lets it do what it does; nothing happens for those that nobody can catch.

    The module signal is made of enumerations, and they take longer to import than all else here.
    """
    _libc.signal(ctypes.c_int(number), ctypes.c_void_p(_SIG_IGN if ignored else _SIG_DFL))


def drop_capabilities() -> None:
    """Takes them out of every set, the bounding set too."""
    for capability in range(_CAPABILITIES_MAX):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:
            break  # EINVAL: one past the last that this kernel knows
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _checked("capset", _libc.capset(header, (ctypes.c_uint32 * 6)()))


def load_filter(program: bytes) -> None:
    """Loads a seccomp filter (8 bytes a step); no_new_privs must be set."""
    steps = ctypes.create_string_buffer(program, len(program))
    head = _Program(len(program) // 8, ctypes.cast(steps, ctypes.c_void_p))
    mode = ctypes.c_ulong(_SECCOMP_MODE_FILTER)
    _checked(
        "seccomp",
        _libc.prctl(ctypes.c_int(PR_SET_SECCOMP), mode, ctypes.byref(head), ctypes.c_ulong(0), ctypes.c_ulong(0)),
    )


def _set_attributes(what: str, directory: int, path: bytes, flags: int, attributes: int) -> None:
    wanted = _MountAttributes(attributes, 0, 0, 0)
    syscall(what, _MOUNT_SETATTR, directory, path, flags, ctypes.byref(wanted), ctypes.sizeof(wanted))


def _checked(what: str, result: int) -> int:
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), what)
    return result
