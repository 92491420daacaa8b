"""Why a kernel or a container does not let us make a sandbox: a sentence that says what to change."""

from __future__ import annotations

import errno
import os

# Which kernel counts processes per user namespace (5.14), and has mount_setattr (5.12).
KERNEL_OLDEST = (5, 14)


class Missing(Exception):
    """The sandbox cannot be made; the message is a sentence for the user."""


def check_kernel() -> None:
    """Raises Missing where the kernel is too old."""
    release = os.uname().release
    # "6.1.0-18-amd64", "6.9+", "5.15.90.1-microsoft-standard-WSL2"
    version = ["".join(filter(str.isdigit, part)) for part in release.split("-")[0].split(".")[:2]]
    if tuple(map(int, version)) < KERNEL_OLDEST:
        needed = ".".join(map(str, KERNEL_OLDEST))
        raise Missing(f"this kernel is Linux {release}, and the sandbox needs {needed} or newer")


def no_namespaces(error: OSError) -> Missing:
    """Looks for the switch that forbids user namespaces."""
    if error.errno == errno.ENOSPC or _setting("user/max_user_namespaces") == "0":
        return Missing("no further user namespace is allowed; raise the setting user.max_user_namespaces")
    if _setting("kernel/unprivileged_userns_clone") == "0":
        return Missing("user namespaces are switched off; set kernel.unprivileged_userns_clone to 1")
    if _filtered():
        return Missing(
            "this container's seccomp profile forbids namespaces; start it with a profile that allows unshare and mount"
            " (docker: --security-opt seccomp=PROFILE), or run the node outside of it"
        )
    return Missing(f"the kernel refuses namespaces ({error.filename}: {error.strerror})")


def no_mounts(error: OSError) -> Missing:
    """Namespaces were given, but nothing may be done in them."""
    what = f"{error.filename}: {error.strerror}"
    if error.errno in (errno.EPERM, errno.EACCES) and _setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return Missing(
            f"AppArmor takes the rights out of user namespaces ({what}); install a profile that allows `userns` for"
            " this interpreter, or set kernel.apparmor_restrict_unprivileged_userns to 0"
        )
    if error.errno == errno.EPERM and _filtered():
        return Missing(f"this container's seccomp profile forbids mounts ({what})")
    return Missing(f"a fresh root cannot be built ({what})")


def _setting(name: str) -> str | None:
    try:
        with open(f"/proc/sys/{name}", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return None


def _filtered() -> bool:
    try:
        with open("/proc/self/status", encoding="utf-8") as file:
            return any(line.split() == ["Seccomp:", "2"] for line in file)
    except OSError:
        return False
