"""Installs the systemd units that come with p2pcdn, and takes them away again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from p2pcdn_daemon.configuration.config import ConfigError

SYSTEM_DIRECTORY = Path("/etc/systemd/system")
UNITS = ("p2pcdn.socket", "p2pcdn.service")
_COMMAND_IN_UNITS = "/usr/bin/p2pcdn"
# Homes that the hardened unit cannot see (ProtectHome=yes).
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))


def install(*, user: bool, directory: Path | None = None) -> list[str]:
    """Writes the units, starts them, and returns the lines that say so.

    directory: where to write them only, instead of installing. Raises ConfigError where the place cannot be
    written or systemd is missing.
    """
    target = directory or _directory(user)
    command = _command(user)
    lines = []
    new = []
    for name in UNITS:
        content = _source(user, name).read_text().replace(_COMMAND_IN_UNITS, command)
        path = target / name
        before = _reads(path)
        state = "is there already" if before == content else "written"
        if before is None:
            new.append(path)
        try:
            target.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}{_root_hint(user)}.") from error
        lines.append(f"{path}: {state}.")
    if directory is None:
        try:
            lines += _systemctl(user, ["daemon-reload"])
        except ConfigError as error:  # there is no systemd to talk to
            _take_back(new)
            raise ConfigError(f"{error} Nothing was installed.") from error
        # The units may have been there and have changed.
        lines += _systemctl(user, ["enable", "--now", *UNITS], ["try-restart", UNITS[1]])
    flags = " --user" if user else ""
    lines.append(f"The node starts with {'your session' if user else 'the machine'}; `systemctl{flags} status p2pcdn`.")
    lines.append(f"To undo: p2pcdn setup systemd{flags} --undo")
    return lines


def uninstall(*, user: bool, directory: Path | None = None) -> list[str]:
    """Stops the node and removes its units; the store stays. Raises ConfigError.

    Without a systemd to talk to, the units are removed all the same.
    """
    target = directory or _directory(user)
    tells = directory is None and any((target / name).exists() for name in UNITS)
    why_not = _why_no_systemd(user) if tells else ""
    lines = _systemctl_if_it_can(user, ["disable", "--now", *UNITS]) if tells and not why_not else []
    for name in UNITS:
        path = target / name
        try:
            path.unlink()
            lines.append(f"{path}: removed.")
        except FileNotFoundError:
            lines.append(f"{path}: was not there.")
        except OSError as error:
            raise ConfigError(f"{path} cannot be removed: {error.strerror}{_root_hint(user)}.") from error
    if tells:
        lines += [why_not] if why_not else _systemctl_if_it_can(user, ["daemon-reload"])
    lines.append("What the node keeps is still there; see `store` in `p2pcdn config`.")
    return lines


def unit_directory() -> Path:
    """Where the units lie: beside this file in an installation, two folders above it in a checkout."""
    for place in (Path(__file__).parents[1] / "systemd", Path(__file__).parents[3] / "systemd"):
        if (place / UNITS[1]).exists():
            return place
    raise ConfigError("The systemd units did not come with this installation of p2pcdn.")


def _source(user: bool, name: str) -> Path:
    return unit_directory() / "user" / name if user else unit_directory() / name


def _directory(user: bool) -> Path:
    if not user:
        return SYSTEM_DIRECTORY
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "systemd" / "user"


def _command(user: bool) -> str:
    """The command `p2pcdn` that is running now, which the unit will run."""
    beside = Path(sys.executable).parent / "p2pcdn"
    found = str(beside) if beside.exists() else shutil.which("p2pcdn")
    if found is None:
        raise ConfigError("There is no command p2pcdn beside this interpreter or on the PATH that a unit could run.")
    path = Path(found)
    # A virtual environment stands on its interpreter: the real path of that must be visible too.
    hidden = [place for place in (path, Path(sys.executable).resolve()) if any(map(place.is_relative_to, _HOMES))]
    if hidden and not user:
        raise ConfigError(
            f"The system service cannot see {hidden[0]}, because it sees no home directory; install p2pcdn outside of "
            "one (such as in /opt/p2pcdn), or use `p2pcdn setup systemd --user`."
        )
    if any(sign.isspace() or sign in "%$\"'\\" for sign in found):
        raise ConfigError(f"systemd would not understand the path {found}; install p2pcdn where the path is plain.")
    return found


def _systemctl(user: bool, *calls: list[str]) -> list[str]:
    systemctl = shutil.which("systemctl")
    if systemctl is None:
        raise ConfigError("There is no systemctl on this machine; run `p2pcdn serve` by other means.")
    lines = []
    for call in calls:
        command = [systemctl, *(["--user"] if user else []), *call]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        shown = " ".join(["systemctl", *command[1:]])
        if done.returncode:
            why = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
            raise ConfigError(f"`{shown}` failed: {why.rstrip('.')}.")
        lines.append(f"{shown}: done.")
    return lines


def _systemctl_if_it_can(user: bool, *calls: list[str]) -> list[str]:
    try:
        return _systemctl(user, *calls)
    except ConfigError as error:
        return [str(error)]


def _why_no_systemd(user: bool) -> str:
    """A sentence where there is no systemd to talk to; "" where there is one."""
    systemctl = shutil.which("systemctl")
    if systemctl is None:
        return "There is no systemctl on this machine, so no systemd was told."
    asked = [systemctl, *(["--user"] if user else []), "show", "--property=Version"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if not done.returncode:
        return ""
    why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    of = "of your session " if user else ""
    return f"The systemd {of}does not answer ({why.rstrip('.')}), so it was not told."


def _take_back(units: list[Path]) -> None:
    """Units that systemd was not told of would come to life some day."""
    for path in units:
        with suppress(OSError):
            path.unlink()


def _reads(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def _root_hint(user: bool) -> str:
    return "" if user or os.geteuid() == 0 else " (only root may; or use --user)"
