"""What a sandboxed process may not ask of the kernel, as a table, and the table as a seccomp filter. Pure.

Allowed is what is not named: a list of all that numpy, gcc and rustc call would be wrong with each kernel. Files,
networks and other processes are shut off by namespaces and Landlock; the filter takes what these leave open, and takes
away the tools with which kernels have been broken.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from p2pcdn.sandbox.syscalls import ARCHES, number

_AF_UNIX = 1
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET: all that clone(2) takes.
_NAMESPACES = 0x7E020000


@dataclass(frozen=True, slots=True)
class When:
    """A condition on the lower half of one argument, counted from 0."""

    argument: int
    is_: Literal["equal", "unequal", "any bit of"]
    value: int


@dataclass(frozen=True, slots=True)
class Denied:
    """One call, refused always or under a condition. error: the errno that the caller sees."""

    call: str
    when: When | None = None
    error: int = errno.EPERM


def _always(calls: str) -> list[Denied]:
    return [Denied(call) for call in calls.split()]


DENIED: tuple[Denied, ...] = (
    # Other processes' memory and descriptors.
    *_always("ptrace process_vm_readv process_vm_writev process_madvise process_mrelease pidfd_getfd kcmp"),
    # Keyrings are not in any namespace of ours.
    *_always("keyctl add_key request_key"),
    # Large and young parts of the kernel that no build and no library call needs.
    *_always("bpf userfaultfd perf_event_open io_uring_setup io_uring_enter io_uring_register fanotify_init"),
    # The walls themselves; the last three tell paths of the host.
    *_always("mount umount2 pivot_root chroot unshare setns open_tree move_mount fsopen fsconfig fsmount fspick"),
    *_always("mount_setattr open_tree_attr statmount listmount"),
    Denied("clone", When(0, "any bit of", _NAMESPACES)),
    # Its flags lie in memory, where a filter cannot look; libc falls back to clone.
    Denied("clone3", error=errno.ENOSYS),
    # The machine.
    *_always("init_module finit_module delete_module kexec_load kexec_file_load reboot swapon swapoff acct quotactl"),
    *_always("quotactl_fd syslog vhangup clock_settime clock_adjtime settimeofday adjtimex sethostname setdomainname"),
    *_always("name_to_handle_at open_by_handle_at lookup_dcookie nfsservctl uselib"),
    *_always("personality modify_ldt iopl ioperm"),
    # Memory that outlives a process.
    *_always("shmget shmat shmctl msgget msgsnd msgrcv msgctl semget semop semtimedop semctl mq_open"),
    # Unix sockets reach no further than the sandbox (a network namespace and a root of its own), and multiprocessing
    # needs them; netlink, vsock, packets and the internet are not for it.
    Denied("socket", When(0, "unequal", _AF_UNIX)),
    # Typing into somebody's terminal.
    Denied("ioctl", When(1, "equal", _TIOCSTI)),
    Denied("ioctl", When(1, "equal", _TIOCLINUX)),
)

# linux/bpf_common.h and linux/seccomp.h.
_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERROR, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_X32 = 0x40000000

_Step = tuple[int, int, int, int]


def seccomp_filter(machine: str, denied: Sequence[Denied] = DENIED) -> bytes:
    """The BPF program (an array of struct sock_filter) for a machine of `ARCHES`. Raises KeyError for another one.

    A call of another table (32 bits, x32) ends the process: its numbers would mean something else.
    """
    steps: list[_Step] = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_JUMP_EQUAL, 1, 0, ARCHES[machine]),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    if machine == "x86_64":
        steps += [(_JUMP_GREATER_EQUAL, 0, 1, _X32), (_RETURN, 0, 0, _KILL_PROCESS)]
    for rule in denied:
        steps += _steps(rule, machine)
    steps.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("<HBBI", *step) for step in steps)


def _steps(rule: Denied, machine: str) -> Iterator[_Step]:
    """Each rule begins and ends with the number of the call loaded."""
    call = number(rule.call, machine)
    if call is None:
        return
    refuse: _Step = (_RETURN, 0, 0, _ERROR | rule.error)
    if rule.when is None:
        yield from ((_JUMP_EQUAL, 0, 1, call), refuse)
        return
    yield (_JUMP_EQUAL, 0, 4, call)
    yield (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * rule.when.argument)
    yield {
        "equal": (_JUMP_EQUAL, 0, 1, rule.when.value),
        "unequal": (_JUMP_EQUAL, 1, 0, rule.when.value),
        "any bit of": (_JUMP_BITS, 0, 1, rule.when.value),
    }[rule.when.is_]
    yield refuse
    yield (_LOAD, 0, 0, _NUMBER_AT)
