"""Landlock: a process gives up paths for ever (the kernel's Documentation/userspace-api/landlock.rst)."""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Sequence

from p2pcdn.sandbox import kernel
from p2pcdn.sandbox.syscalls import number

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
# How many rights each version of the interface knows: refer came with 2, truncate with 3, device ioctl with 5.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
_FILE_RIGHTS_NEWEST = 16
_TCP_BIND_AND_CONNECT = 0b11
_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11

READ = _EXECUTE | _READ_FILE | _READ_DIR
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_ONLY_VERSION, _PATH_BENEATH = 1, 1


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scope", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """The version of the kernel's interface; 0 where it has none, or has it switched off."""
    try:
        return _call("landlock_create_ruleset", 0, 0, _ONLY_VERSION)
    except OSError:
        return 0


def restrict(abi: int, readable: Sequence[str], writable: Sequence[str]) -> None:
    """Leaves reading and executing below `readable`, everything but making devices below `writable`; nothing else.

    TCP, abstract sockets and signals to the outside are shut too, where this version (`abi`, at least 1) knows them.
    """
    every = (1 << _FILE_RIGHTS.get(abi, _FILE_RIGHTS_NEWEST)) - 1
    network = _TCP_BIND_AND_CONNECT if abi >= 4 else 0
    wanted = _Ruleset(every, network, _SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS if abi >= 6 else 0)
    size_bytes = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _call("landlock_create_ruleset", ctypes.byref(wanted), size_bytes, 0)
    for path in readable:
        _allow(ruleset, path, READ & every)
    for path in writable:
        _allow(ruleset, path, every & ~(_MAKE_CHAR | _MAKE_BLOCK | _IOCTL_DEV))
    _call("landlock_restrict_self", ruleset, 0)
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(parent).st_mode):
            rights &= _OF_FILES
        rule = _PathBeneath(rights, parent)
        _call("landlock_add_rule", ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(parent)


def _call(name: str, *arguments: object) -> int:
    call = number(name, os.uname().machine)
    assert call is not None
    return kernel.syscall(name, call, *arguments)
