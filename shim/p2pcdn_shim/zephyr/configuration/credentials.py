"""The user's name and password for an index: its URL, the environment, netrc, the keyring. Never shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from p2pcdn_shim.zephyr.errors import UsageError

# The second one where the first is not, as on Windows.
_NETRCS = (".netrc", "_netrc")
# A keyring that is locked waits for a person; a command in CI must not.
KEYRING_TIME_S = 10


class Credentials:
    """For HTTP's Basic scheme (RFC 7617). password is None where nobody knew it."""

    __slots__ = ("password", "username")

    def __init__(self, username: str, password: str | None) -> None:
        self.username = username
        self.password = password

    def __repr__(self) -> str:
        return "Credentials(...)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Credentials):
            return NotImplemented
        return (self.username, self.password) == (other.username, other.password)

    def __hash__(self) -> int:
        return hash((self.username, self.password))


def credentials_of(
    url: str, name: str | None, given: Credentials | None, environ: Mapping[str, str], keyring: str
) -> Credentials | None:
    """What is known for an index. given: what stood in its URL. keyring: `auto` or `never`.

    A whole pair is looked for in order: the URL, the environment, netrc; then the keyring is asked for the password of
    the user name that is known. Raises UsageError for a netrc file that was named and cannot be read.
    """
    if given is not None and given.password is not None:
        return given
    host = urlsplit(url).hostname or ""
    known = _from_environment(name or host, environ) or given
    if known is None or known.password is None:
        found = from_netrc(host, environ)
        if found is not None and (known is None or known.username in ("", found.username)):
            return found
    if known is not None and known.password is None and known.username and keyring == "auto":
        return Credentials(known.username, _ask_keyring(url, host, known.username))
    return known


def _from_environment(name: str, environ: Mapping[str, str]) -> Credentials | None:
    """`ZEPHYR_INDEX_<NAME>_USERNAME` and `_PASSWORD`, else those of p2pcdn and uv, written alike."""
    written = re.sub(r"[^A-Z0-9]", "_", name.upper())
    for prefix in ("ZEPHYR", "P2PCDN", "UV"):
        username = environ.get(f"{prefix}_INDEX_{written}_USERNAME")
        password = environ.get(f"{prefix}_INDEX_{written}_PASSWORD")
        if username is not None or password is not None:
            return Credentials(username or "", password)
    return None


def from_netrc(host: str, environ: Mapping[str, str]) -> Credentials | None:
    """The pair of that very host; the file's `default` was meant for anonymous ftp. Raises UsageError."""
    named = environ.get("NETRC")
    home = Path(environ.get("HOME") or Path.home())
    file = Path(named) if named else next((home / name for name in _NETRCS if (home / name).is_file()), None)
    if file is None:
        return None
    import netrc

    try:
        found = netrc.netrc(str(file)).hosts.get(host)
    except netrc.NetrcParseError as error:
        # Its own message quotes the line, and the line may hold a password.
        raise UsageError(f"The netrc file {file} is broken in line {error.lineno}.") from None
    except (OSError, UnicodeError) as error:
        raise UsageError(f"The netrc file {file} cannot be read ({type(error).__name__}).") from None
    return Credentials(found[0], found[2]) if found and host != "default" else None


def _ask_keyring(url: str, host: str, username: str) -> str | None:
    """Its own process without a terminal: whatever backend the user has, it cannot ask back."""
    import subprocess
    import sys
    from importlib.util import find_spec
    from shutil import which

    command = [sys.executable, "-m", "keyring"] if find_spec("keyring") else [which("keyring") or ""]
    if not command[0]:
        return None
    for service in (url, host):
        try:
            asked = subprocess.run(
                [*command, "get", service, username],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                timeout=KEYRING_TIME_S, check=False, start_new_session=True, text=True, errors="replace",
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return None
        if asked.returncode == 0 and (password := asked.stdout.rstrip("\r\n")):
            return password
    return None
