"""Tries to get out of a sandbox, and says on its stdout what it reached. Python 3.8 and newer; stdlib only.

It runs as text (`python -I -S -c`), so nothing of ours has to be shown inside. stdin: what `probe.py` laid out for it.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import resource
import signal
import socket
import stat
import sys
import time
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Given = dict[str, Any]
    Probe = Callable[[Given], object]

PROBES: list[tuple[str, Probe]] = []
# A test outside of any sandbox must not wait for this one.
LINGER_S = 60
# Every machine has one or the other, and every user may read most of them.
HOST_FILES = ("/etc/hostname", "/etc/fstab", "/etc/machine-id", "/etc/os-release", "/etc/shadow", "/proc/1/environ")


def probe(name: str) -> Callable[[Probe], Probe]:
    """A probe returns what it reached, or None; an OSError means that it reached nothing."""

    def register(function: Probe) -> Probe:
        PROBES.append((name, function))
        return function

    return register


@probe("reads a file outside")
def read_outside(given: Given) -> object:
    for path in (given["secret"], *HOST_FILES):
        try:
            with open(path, "rb") as file:
                if file.read(1):
                    return path
        except OSError:
            continue
    return None


@probe("lists a directory outside")
def list_outside(given: Given) -> object:
    return os.listdir(os.path.dirname(given["secret"])) or None


@probe("reads through a link that leads outside")
def link_outside(given: Given) -> object:
    os.symlink(given["secret"], given["scratch"] + "/leads-outside")
    with open(given["scratch"] + "/leads-outside", "rb") as file:
        return file.read(1) and given["secret"]


@probe("writes outside")
def write_outside(given: Given) -> object:
    for directory in [os.path.dirname(given["secret"]), "/", "/usr", "/etc", "/dev", *given["read_only"]]:
        try:
            path = directory.rstrip("/") + "/.p2pcdn-probe"
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL))
            os.unlink(path)
            return directory
        except OSError:
            continue
    return None


@probe("changes a file it may only read")
def change_given(given: Given) -> object:
    for directory in ["/usr", *given["read_only"]]:
        mode = stat.S_IMODE(os.stat(directory).st_mode)
        with suppress(OSError):
            os.chmod(directory, mode)
            return directory
        with suppress(OSError):
            os.utime(directory, None)
            return directory
    return None


@probe("links a file it may only read")
def link_given(given: Given) -> object:
    os.link(given["python"], given["scratch"] + "/linked")
    return given["python"]


@probe("makes a device")
def make_device(given: Given) -> object:
    path = given["scratch"] + "/device"
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.close(os.open(path, os.O_RDONLY))
    return path


@probe("connects to this machine")
def connect_loopback(given: Given) -> object:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.settimeout(1)
        if one.connect_ex(("127.0.0.1", given["port"])) in (0, errno.ECONNREFUSED):
            return "127.0.0.1"
    return None


@probe("opens a socket that leads outside")
def open_sockets(given: Given) -> object:
    kinds: list[tuple[int, int]] = [(socket.AF_INET, socket.SOCK_DGRAM), (socket.AF_INET6, socket.SOCK_STREAM)]
    # Netlink, packet, vsock.
    kinds += [(16, socket.SOCK_RAW), (17, socket.SOCK_RAW), (40, socket.SOCK_STREAM)]
    for family, kind in kinds:
        try:
            socket.socket(family, kind).close()
            return f"address family {family}"
        except OSError:
            continue
    return None


@probe("connects to an abstract unix socket outside")
def connect_abstract(given: Given) -> object:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
        one.connect("\0" + given["abstract"])
    return given["abstract"]


@probe("connects to a unix socket outside")
def connect_path(given: Given) -> object:
    here = os.getcwd()
    os.chdir(os.path.dirname(given["socket"]))
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
            one.connect(os.path.basename(given["socket"]))
    finally:
        os.chdir(here)
    return given["socket"]


@probe("sees other processes")
def see_processes(given: Given) -> object:
    if os.getpid() > 8:
        return f"its own number is {os.getpid()}"
    others = [name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
    return others and "/proc/" + others[0]


@probe("shares a namespace with the node")
def share_namespaces(given: Given) -> object:
    for name, number in given["namespaces"].items():
        try:
            if os.stat("/proc/self/ns/" + name).st_ino == number:
                return name
        except OSError:
            continue
    return None


@probe("reads the settings of the kernel")
def read_settings(given: Given) -> object:
    for path in ("/proc/sys/kernel", "/proc/kallsyms", "/proc/keys", "/sys/kernel", "/sys/fs/cgroup"):
        if os.path.exists(path):
            return path
    return None


@probe("makes a system call that is denied")
def denied_calls(given: Given) -> object:
    libc = ctypes.CDLL(None, use_errno=True)
    for name, (number, arguments) in given["calls"].items():
        ctypes.set_errno(0)
        result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(one) for one in arguments])
        if result != -1 or ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS):
            return name
    return None


@probe("may gain rights")
def gain_rights(given: Given) -> object:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(39, 0, 0, 0, 0) != 1:
        return "no_new_privs is off"
    if any(libc.prctl(23, capability, 0, 0, 0) == 1 for capability in range(41)):
        return "capabilities"
    return os.getuid() == 0 and "root"


@probe("inherits a file")
def inherit_files(given: Given) -> object:
    for descriptor in range(3, 256):
        try:
            os.fstat(descriptor)
            return f"descriptor {descriptor}"
        except OSError:
            continue
    return None


@probe("sees the node's environment")
def see_environment(given: Given) -> object:
    strange = sorted(set(os.environ) - set(given["environment"]) - {"LC_CTYPE"})
    return strange and strange[0]


@probe("starts more processes than it may")
def start_many(given: Given) -> object:
    if resource.getrlimit(resource.RLIMIT_NPROC)[1] > given["processes"]:
        return "the limit is not set"
    # That the kernel counts ours, and does not exempt this user, shows with a small number too.
    few = 16
    resource.setrlimit(resource.RLIMIT_NPROC, (few, resource.getrlimit(resource.RLIMIT_NPROC)[1]))
    children: list[int] = []
    try:
        while len(children) <= few:
            child = os.fork()
            if child == 0:
                signal.pause()
            children.append(child)
        return f"{len(children)} at once"
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


@probe("takes more memory than it may")
def take_memory(given: Given) -> object:
    mmap.mmap(-1, given["address_space_bytes"] + 1).close()
    return f"{given['address_space_bytes']} bytes"


@probe("fills more of the disk than it may")
def fill_disk(given: Given) -> object:
    room = os.statvfs(given["scratch"])
    if room.f_blocks * room.f_frsize > given["scratch_bytes"] + 65536:
        return given["scratch"]
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with open(given["scratch"] + "/long", "wb", buffering=0) as file:
        file.seek(given["file_bytes"])
        file.write(b"!")
    return f"a file of more than {given['file_bytes']} bytes"


def linger() -> None:
    """Leaves a process behind that holds our stderr: who reads it sees no end as long as it lives."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 2)
            time.sleep(LINGER_S)
        os._exit(0)


def main() -> None:
    given = json.load(sys.stdin)
    reached = {}
    for name, function in PROBES:
        try:
            what = function(given)
        except (OSError, MemoryError, OverflowError):
            what = None
        if what:
            reached[name] = str(what)
    sys.stdout.write(json.dumps({"tried": len(PROBES), "reached": reached}) + "\n")
    sys.stdout.flush()
    if given["linger"] and not reached:
        linger()


main()
