"""A `zephyr sync` that found nothing to do, remembered: the same call is answered at once while nothing has changed.

The answer came out of few files. Their stamps are compared before anything else is loaded, and no node is asked: that
is a quarter of what the long way takes. Whatever is not as it was, the long way finds out what that means.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence

from p2pcdn import __version__

try:
    from _blake2 import blake2b  # hashlib has it from there, and loads OpenSSL besides, for 2 ms
except ImportError:
    from hashlib import blake2b

# Calls that are remembered, each in a file of some 500 bytes; where two share a place, the later one has it.
PLACES = 256
FORMAT = 2
# A file that was touched so short a time before a call began may have changed while it ran, and is not relied upon:
# clocks of file systems tick every 10 ms at most, and those of two machines that share one differ by some more.
TOUCHED_BEFORE_NS = 1_000_000_000
# The variables that a sync may look at.
_VARIABLES = ("HOME", "LOCALAPPDATA", "USERPROFILE")
_FAMILIES = ("ZEPHYR_", "P2PCDN_", "XDG_", "UV_INDEX_")


def answer_to(words: Sequence[str], environ: Mapping[str, str] = os.environ) -> str | None:
    """What this very call printed when it found nothing to do, if that still holds; None: it has to look."""
    try:
        call = _call(words, environ)
        *paths, known, printed = read(_place(call, environ)).split("\0")
    except (OSError, ValueError):
        return None
    return printed if known == digest(call, *map(_stamp, paths)) else None


def remember(
    words: Sequence[str],
    paths: Iterable[str],
    printed: str,
    *,
    began_ns: int,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Notes what a call printed, and the files that it came of, absent ones too; not where one may be newer than it.

    began_ns: when the call began to read them, since 1970. A cache that cannot be written costs time and nothing else.
    """
    paths = list(paths)
    if any(_touched_ns(path) > began_ns - TOUCHED_BEFORE_NS for path in paths):
        return
    try:
        call = _call(words, environ)
        write(_place(call, environ), "\0".join([*paths, digest(call, *map(_stamp, paths)), printed]))
    except OSError:
        return


def now_ns() -> int:
    """The `began_ns` of a call that begins."""
    return time.time_ns()


def _call(words: Sequence[str], environ: Mapping[str, str]) -> str:
    """Everything but files that the answer depends on. The kernel's release is one of the markers (PEP 508)."""
    kernel = tuple(os.uname()) if hasattr(os, "uname") else ()
    variables = [
        f"{name}={value}" for name, value in sorted(environ.items()) if name in _VARIABLES or name.startswith(_FAMILIES)
    ]
    return "\0".join([f"{FORMAT} {__version__}", sys.executable, os.getcwd(), *kernel, *variables, "", *words])


def _place(call: str, environ: Mapping[str, str]) -> str:
    return f"{cache_place(environ)}/settled/{place_number(call, PLACES)}"


def digest(*texts: str) -> str:
    """What stands on the disk in place of texts: words, variables and settings have passwords in them."""
    return blake2b("\0".join(texts).encode("utf-8", "surrogateescape"), digest_size=32).hexdigest()


def place_number(text: str, places: int) -> int:
    """Which of so many places a text has."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogateescape"), digest_size=4).digest(), "little") % places


def _stamp(path: str) -> str:
    """What changes when a file does, or what it is a link to; "" for none."""
    try:
        state = os.stat(path)
    except OSError:
        return ""
    return f"{state.st_mtime_ns} {state.st_ctime_ns} {state.st_size} {state.st_ino} {state.st_mode}"


def _touched_ns(path: str) -> int:
    try:
        state = os.stat(path)
    except OSError:
        return 0
    return max(state.st_mtime_ns, state.st_ctime_ns)


def read(place: str) -> str:
    """A file of the cache. Raises OSError, also for one that another user has put there: it would be obeyed."""
    with open(place, encoding="utf-8", errors="surrogateescape", newline="") as file:
        if hasattr(os, "geteuid") and os.fstat(file.fileno()).st_uid != os.geteuid():
            raise PermissionError(f"{place} is another user's")
        return file.read()


def write(place: str, text: str) -> None:
    """The same, whole or not at all, for nobody else to read. Raises OSError."""
    beside = f"{place}.{os.getpid()}"
    os.makedirs(os.path.dirname(place), 0o700, exist_ok=True)
    with open(beside, "w", encoding="utf-8", errors="surrogateescape", newline="", opener=_open_for_us) as file:
        file.write(text)
    os.replace(beside, place)


def _open_for_us(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)


def cache_place(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> str:
    """The directory of what can be made again: ZEPHYR_CACHE_DIR, else the user's for such things."""
    if named := environ.get("ZEPHYR_CACHE_DIR"):
        return named
    home = environ.get("USERPROFILE" if os.name == "nt" else "HOME") or os.path.expanduser("~")
    home = home if home != "~" else "/nonexistent"
    if platform == "win32":
        return os.path.join(environ.get("LOCALAPPDATA") or f"{home}/AppData/Local", "zephyr", "Cache")
    if platform == "darwin":
        return f"{home}/Library/Caches/zephyr"
    named = environ.get("XDG_CACHE_HOME", "")
    return f"{named if named.startswith('/') else f'{home}/.cache'}/zephyr"
