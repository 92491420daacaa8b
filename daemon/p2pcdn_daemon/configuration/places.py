"""Where a node's files are when nobody said where: its store, its configuration file, its control socket."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path

# sun_path of unix(7) has 108 bytes, the last of which is zero.
SOCKET_PATH_BYTES_MAX = 107
CONTROL_SOCKET_NAME = "control.sock"
SYSTEM_CONFIG_FILE = Path("/etc/p2pcdn/config.toml")
SYSTEM_RUNTIME_DIRECTORY = Path("/run/p2pcdn")


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """The user's home; for one who has none (a container's number without a name) a directory that is nowhere."""
    try:
        return Path(environ.get("HOME") or Path.home())
    except RuntimeError:
        return Path("/nonexistent")


def default_store(environ: Mapping[str, str] = os.environ) -> Path:
    """What systemd gave the service (systemd.exec(5), StateDirectory=), else the user's directory for such things."""
    given = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    from platformdirs import user_cache_path

    return user_cache_path("p2pcdn", appauthor=False)


def default_config_file(environ: Mapping[str, str] = os.environ) -> Path:
    """`/etc/p2pcdn/config.toml` for root and the system service, else the user's `~/.config/p2pcdn/config.toml`."""
    if os.geteuid() == 0 or environ.get("STATE_DIRECTORY", "").startswith("/var/lib/"):
        return SYSTEM_CONFIG_FILE
    from platformdirs import user_config_path

    return user_config_path("p2pcdn", appauthor=False) / "config.toml"


def runtime_control_socket(environ: Mapping[str, str] = os.environ) -> Path:
    """The control socket of this user (of the system, for root) that commands look for first.

    A job of a CI has no session and so no XDG_RUNTIME_DIR: its steps meet in the user's temporary directory.
    """
    given = environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given) / CONTROL_SOCKET_NAME
    if os.geteuid() == 0:
        return SYSTEM_RUNTIME_DIRECTORY / CONTROL_SOCKET_NAME
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "p2pcdn" / CONTROL_SOCKET_NAME
    return own_temporary_directory() / CONTROL_SOCKET_NAME


def store_control_socket(store: Path) -> Path:
    """The control socket that belongs to a store, so that two nodes of one user never meet.

    Inside the store, or under a short name in the temporary directory where that path is too long for a socket.
    """
    inside = store / CONTROL_SOCKET_NAME
    if fits_socket(inside):
        return inside
    import hashlib  # a program that only looks for its node needs none of it

    name = hashlib.sha256(os.fsencode(store)).hexdigest()[:16]
    return own_temporary_directory() / f"{name}.sock"


def own_temporary_directory() -> Path:
    """Where this user's short-lived things are; `make_own_directory` makes it, and sees to it that it is ours."""
    import tempfile

    return Path(tempfile.gettempdir()) / f"p2pcdn-{os.geteuid()}"


def make_own_directory(path: Path) -> None:
    """Makes a directory that nobody else may use, or sees to it that it is one. Raises OSError, its text for users."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise PermissionError(errno.EPERM, "others may write in it")


def fits_socket(path: Path) -> bool:
    """Whether a unix socket can have this path."""
    return len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX
