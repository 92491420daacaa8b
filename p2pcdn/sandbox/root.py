"""A root with nothing in it but what a plan names: read-only trees, one writable scratch, a few devices, a /proc."""

from __future__ import annotations

import os

from p2pcdn.sandbox import kernel
from p2pcdn.sandbox.plan import SCRATCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from p2pcdn.sandbox.plan import Plan

# Every machine has it, and nobody else sees what we mount there.
_BUILDING_SITE = "/tmp"
# Mount points, links and four small files.
_ROOT_OPTIONS = "size=4m,nr_inodes=16384,mode=0755"
_READ_ONLY = kernel.ATTR_RDONLY | kernel.ATTR_NOSUID | kernel.ATTR_NODEV
_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}


class Trees:
    """Detached copies of what the plan shows, taken while we are still who we were: later we may not reach them."""

    def __init__(self, plan: Plan) -> None:
        self.attached: list[tuple[int, str]] = []
        self.links: list[tuple[str, str]] = []
        for path in plan["system"]:
            if os.path.islink(path):
                self.links.append((os.readlink(path), path))
            elif os.path.exists(path):
                self._take(path, path, _READ_ONLY)
        for source, target, writable in plan["binds"]:
            self._take(source, target, _READ_ONLY & ~kernel.ATTR_RDONLY if writable else _READ_ONLY)
        for path in filter(os.path.exists, plan["devices"]):
            self._take(path, path, kernel.ATTR_NOSUID | kernel.ATTR_NOEXEC)

    def _take(self, source: str, target: str, attributes: int) -> None:
        tree = kernel.clone_tree(source)
        kernel.restrict_tree(tree, attributes)
        self.attached.append((tree, target))


def enter(plan: Plan, trees: Trees) -> bool:
    """Builds the root and makes it ours. Says whether there is a /proc in it. Raises OSError."""
    tmpfs = kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount("tmpfs", _BUILDING_SITE, tmpfs, _ROOT_OPTIONS)
    os.chdir(_BUILDING_SITE)
    os.mkdir(SCRATCH[1:])
    kernel.mount(
        "tmpfs", SCRATCH[1:], tmpfs, f"size={plan['scratch_bytes']},nr_inodes={plan['scratch_files']},mode=0700"
    )
    os.mkdir("dev")
    _show("scratch/tmp", "tmp", 0o700)
    _show("scratch/shm", "dev/shm", 0o700)
    os.mkdir("scratch/home", 0o700)
    for tree, target in trees.attached:
        _attach(tree, target.lstrip("/"))
    _furnish(plan, trees)
    proc = _mount_proc()
    kernel.pivot_here()
    kernel.restrict_mount("/", _READ_ONLY | kernel.ATTR_NOEXEC)
    return proc


def _show(source: str, target: str, mode: int) -> None:
    """The same writable directory under a second name, so that all that is written counts as one."""
    os.mkdir(source, mode)
    os.mkdir(target, mode)
    kernel.attach_tree(kernel.clone_tree(source), target)


def _attach(tree: int, target: str) -> None:
    if os.path.isdir(f"/proc/self/fd/{tree}"):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.exists(target):
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    kernel.attach_tree(tree, target)
    os.close(tree)


def _furnish(plan: Plan, trees: Trees) -> None:
    for aim, path in trees.links:
        if not os.path.lexists(path.lstrip("/")):
            os.symlink(aim, path.lstrip("/"))
    for name, aim in _LINKS.items():
        os.symlink(aim, f"dev/{name}")
    for path, text in plan["files"]:
        os.makedirs(os.path.dirname(path).lstrip("/"), exist_ok=True)
        with open(path.lstrip("/"), "w", encoding="utf-8") as file:
            file.write(text)


def _mount_proc() -> bool:
    """A kernel whose /proc is partly masked (a container's) gives nobody a fresh one; then there is none.

    Seen are processes that the program could trace (hidepid=4, Linux 5.8): its own. hidepid=2 shows all of them to
    whoever is in the group 0 outside, as the owners of trees in containers often are.
    """
    os.mkdir("proc")
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    try:
        kernel.mount("proc", "proc", flags, "subset=pid,hidepid=4")
    except PermissionError:
        return False
    return True
