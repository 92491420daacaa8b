"""The user's name and password for an index: from its URL, the environment, netrc, or the keyring. Never asked for."""

from __future__ import annotations

import base64
import logging
import netrc
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import trio

from p2pcdn_daemon.configuration import places

log = logging.getLogger(__name__)

# A keyring that is locked may wait for a person; a node must not.
KEYRING_TIME_S = 10


@dataclass(frozen=True, slots=True)
class Credentials:
    """For HTTP's Basic scheme (RFC 7617), never printed. `password` is None where only the keyring may know it."""

    username: str = field(repr=False)
    password: str | None = field(repr=False)

    def authorization(self) -> str:
        """The value of the Authorization field."""
        pair = f"{self.username}:{self.password or ''}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")


def from_environment(name: str, environment: Mapping[str, str]) -> Credentials | None:
    """`P2PCDN_INDEX_<NAME>_USERNAME` and `_PASSWORD`, else uv's `UV_INDEX_<NAME>_…`.

    name: the index's name or its host; whatever is neither letter nor digit in it is written `_`.
    """
    written = re.sub(r"[^A-Z0-9]", "_", name.upper())
    for prefix in ("P2PCDN", "UV"):
        username = environment.get(f"{prefix}_INDEX_{written}_USERNAME")
        password = environment.get(f"{prefix}_INDEX_{written}_PASSWORD")
        if username is not None or password is not None:
            return Credentials(username or "", password)
    return None


class Netrc:
    """The user's netrc file, read once. A file that cannot be read is as none, and the log says so."""

    def __init__(self, hosts: Mapping[str, tuple[str, str, str]] | None = None) -> None:
        self._hosts = hosts or {}

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Netrc:
        """The file that NETRC names, else `~/.netrc`."""
        named = environment.get("NETRC")
        path = Path(named) if named else places.home(environment) / ".netrc"
        try:
            # The password that stands in a broken line must not reach the log: netrc's own message quotes it.
            return cls(netrc.netrc(str(path)).hosts)
        except FileNotFoundError:
            if named:
                log.warning("The netrc file %s does not exist; no credentials were taken from it.", path)
        except netrc.NetrcParseError as error:
            log.warning("The netrc file %s is broken in line %s; none of it is used.", path, error.lineno)
        except (OSError, UnicodeError) as error:
            log.warning("The netrc file %s cannot be read (%s); it is left aside.", path, type(error).__name__)
        return cls()

    def of(self, host: str) -> Credentials | None:
        """The credentials for a host by its name.

        The file's `default` is left aside: it was meant for anonymous ftp, and would make every index a private one.
        """
        found = self._hosts.get(host) if host != "default" else None
        return Credentials(found[0], found[2]) if found else None


async def from_keyring(service: str, host: str, username: str) -> Credentials | None:
    """The keyring's password of that user for the index's URL, else for its host.

    Asked through a process without a terminal: whatever backend the user has, it cannot prompt.
    """
    if find_spec("keyring") is None:
        return None
    for place in (service, host):
        if password := await _ask_keyring(place, username):
            return Credentials(username, password)
    return None


async def _ask_keyring(service: str, username: str) -> str | None:
    command = [sys.executable, "-m", "keyring", "get", service, username]
    with trio.move_on_after(KEYRING_TIME_S):
        answer = await trio.run_process(
            command, stdin=b"", capture_stdout=True, stderr=subprocess.DEVNULL, check=False, start_new_session=True
        )
        if answer.returncode == 0:
            return bytes(answer.stdout).decode(errors="replace").rstrip("\r\n") or None
        return None
    log.warning("The keyring did not answer within %d s; it may be locked.", KEYRING_TIME_S)
    return None
