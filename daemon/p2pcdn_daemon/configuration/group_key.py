"""Where this machine's group key is: in the environment, or in a file of mode 0600 beside the configuration.

The file may hold the bare line, or be one that systemd and container engines read as an environment file:
`P2PCDN_GROUP_KEY=…`. We write the second form, so that the system service, whose user cannot read what is root's alone,
gets it from systemd.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from p2pcdn.group import GroupKey
from p2pcdn_daemon.configuration import places
from p2pcdn_daemon.configuration.config import Config, ConfigError
from p2pcdn_daemon.configuration.layers import GROUP_KEY_VARIABLE

log = logging.getLogger(__name__)

FILE_NAME = "group.key"
# One line and some comments; a larger file is another one.
SIZE_BYTES_MAX = 8 * 1024

_HEAD = """\
# The key of a group of p2pcdn nodes. It is a secret: whoever has it is a member. `p2pcdn group --help` says more.
"""


@dataclass(frozen=True, slots=True)
class Found:
    """The key and where it came from, for people."""

    key: GroupKey
    source: str


def place(config: Config, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where the key's file is or would be; None where the configuration itself is nowhere (/dev/null)."""
    if config.group_key_file is not None:
        return config.group_key_file.absolute()
    if config.file is not None and not config.file.is_file():
        return None
    return (config.file or places.default_config_file(environ)).absolute().parent / FILE_NAME


def find(config: Config, environ: Mapping[str, str] = os.environ) -> Found | None:
    """This machine's key; None in open mode. Raises ConfigError for a key that cannot be used."""
    line = environ.get(GROUP_KEY_VARIABLE, "").strip()
    if line and not config.source("group-key-file").startswith("flag "):
        return Found(_parse(line, GROUP_KEY_VARIABLE), f"environment {GROUP_KEY_VARIABLE}")
    path = place(config, environ)
    if path is None or (config.group_key_file is None and not path.exists()):
        return None
    return Found(read(path), f"file {path}")


def take(config: Config, environ: MutableMapping[str, str] = os.environ) -> GroupKey | None:
    """As `find`, for the node: what it starts later (builds, installers) does not inherit the variable."""
    found = find(config, environ)
    environ.pop(GROUP_KEY_VARIABLE, None)
    return None if found is None else found.key


def read(path: Path) -> GroupKey:
    """The key in a file. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(SIZE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"The group key {path} cannot be read: {error.strerror}.") from error
    if len(content) > SIZE_BYTES_MAX:
        raise ConfigError(f"{path} is larger than {SIZE_BYTES_MAX // 1024} KiB and no group key.")
    if stat.S_ISREG(mode) and mode & 0o007:
        log.warning("everybody on this machine can read the group key: `chmod 600 %s`", path)
    lines = [line.strip() for line in content.decode("utf-8", "replace").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if len(lines) != 1:
        raise ConfigError(f"{path} holds {len(lines) or 'no'} lines where one group key belongs.")
    return _parse(lines[0].removeprefix(f"{GROUP_KEY_VARIABLE}=").strip("\"'"), str(path))


def keep(path: Path, key: GroupKey) -> None:
    """Writes the key's file, mode 0600, whole or not at all. Raises ConfigError."""
    beside = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            beside.unlink()
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{_HEAD}{GROUP_KEY_VARIABLE}={key.line}\n")
            file.flush()
            os.fsync(descriptor)
        beside.rename(path)
    except OSError as error:
        raise ConfigError(
            f"The group key cannot be kept in {path}: {error.strerror}; name another file by --group-key-file."
        ) from error


def _parse(line: str, where: str) -> GroupKey:
    try:
        return GroupKey.parse(line)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error
