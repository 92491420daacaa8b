"""Passwords for hosts: of the URL, of netrc, of keyring (--keyring-provider), or asked for on the terminal."""

from __future__ import annotations

import os
import shutil
import subprocess
from urllib.parse import urlsplit

from p2pcdn_shim.zephyr.configuration.credentials import from_netrc
from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.pip.web import without_password
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from p2pcdn_shim.zephyr.pip.target import Target
    from p2pcdn_shim.zephyr.pip.voice import PipVoice

KEYRING_TIME_S = 60
# Asks the keyring that the target's interpreter can import; prints the user and the password, a line each.
_ASK_KEYRING = """
import sys, keyring
url, user = sys.argv[1], sys.argv[2] or None
if hasattr(keyring, "get_credential"):
    found = keyring.get_credential(url, user)
    if found is not None:
        print(found.username); print(found.password)
else:
    password = user and keyring.get_password(url, user)
    if password:
        print(user); print(password)
"""


class Credentials:
    """One command's. index_urls: those that were named; what they say of a host counts for all its URLs."""

    def __init__(self, options: Any, target: Target, index_urls: list[str], voice: PipVoice) -> None:
        self._voice = voice
        self._options = options
        self._target = target
        self._urls = index_urls
        self._asked: dict[str, tuple[str, str] | None] = {}
        self._seen: dict[str, tuple[str, str]] = {}

    def known(self, url: str, user: str | None, password: str | None) -> tuple[str, str] | None:
        """What is there without asking anybody."""
        host = urlsplit(url).netloc
        if user is not None and password is not None:
            self._seen.setdefault(host, (user, password))
            return user, password
        if host in self._asked:
            return self._asked[host]
        for named in self._urls:
            place, own_user, own_password = without_password(named)
            if urlsplit(place).netloc == host and own_user is not None and own_password is not None:
                return own_user, own_password
        if user is None and (found := self._of_netrc(url)) is not None:
            return found
        # The files of a page lie where the page does, and its links do not repeat the password.
        return (user, password or "") if user is not None else self._seen.get(host)

    def asked(self, url: str, user: str | None, tried: tuple[str, str] | None) -> tuple[str, str] | None:
        """After a 401: keyring's word, else the user's at the terminal; None where nobody has one."""
        host = urlsplit(url).netloc
        found = self._of_keyring(url, user or self._user_for(host))
        if found is None and not self._options.no_input:
            found = _of_the_user(host, user)
        if found is None or found == tried:
            return None
        self._asked[host] = found
        return found

    def _of_netrc(self, url: str) -> tuple[str, str] | None:
        try:
            found = from_netrc(urlsplit(url).hostname or "", os.environ)
        except UsageError as error:
            self._voice.warn(f"{error}")
            return None
        return (found.username, found.password or "") if found is not None else None

    def _user_for(self, host: str) -> str | None:
        for named in self._urls:
            place, user, _ = without_password(named)
            if urlsplit(place).netloc == host and user:
                return user
        return None

    def _of_keyring(self, url: str, user: str | None) -> tuple[str, str] | None:
        provider = self._options.keyring_provider
        if provider == "disabled" or (provider == "auto" and self._options.no_input):
            return None
        places = [named for named in self._urls if urlsplit(named).netloc.rpartition("@")[2] == urlsplit(url).netloc]
        for service in [*(without_password(one)[0] for one in places), urlsplit(url).netloc]:
            found = None
            if provider in ("auto", "import"):
                found = _printed([str(self._target.python), "-c", _ASK_KEYRING, service, user or ""], None)
            if found is None and provider in ("auto", "subprocess") and (program := shutil.which("keyring")):
                found = _of_program(program, service, user)
            if found is not None:
                return found
        return None


def _of_the_user(host: str, user: str | None) -> tuple[str, str] | None:
    """Asked for on the terminal; None where nobody answers."""
    from getpass import getpass

    try:
        name = user or input(f"User for {host}: ")
        return name, getpass("Password: ")
    except EOFError:
        return None


def _of_program(program: str, service: str, user: str | None) -> tuple[str, str] | None:
    """`keyring --mode=creds`, and older ones that know passwords only."""
    found = _printed([program, "--mode=creds", "--output=plain", "get", service, *([user] if user else [])], None)
    if found is None and user:
        found = _printed([program, "get", service, user], user)
    return found


def _printed(words: list[str], user: str | None) -> tuple[str, str] | None:
    environ = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=KEYRING_TIME_S, env=environ
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    if done.returncode or len(lines) < (1 if user else 2):
        return None
    return (user, lines[0]) if user else (lines[0], lines[1])
