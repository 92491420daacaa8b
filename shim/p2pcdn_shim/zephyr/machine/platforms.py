"""What differs from platform to platform: where things are, how an environment is laid out, how a program is started.

Written for Linux, macOS and Windows; only Linux can be tried where this is developed. Everything is decided by
`os_name` and `platform` arguments, so that a test can ask for the others' answers.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from p2pcdn_shim.zephyr.settled import cache_place

# The minors that zephyr makes environments for.
OLDEST_MINOR = 8
NEWEST_MINOR = 14


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """The user's home; for one who has none a directory that is nowhere."""
    try:
        return Path(environ.get("USERPROFILE" if os.name == "nt" else "HOME") or Path.home())
    except RuntimeError:
        return Path("/nonexistent")


def may_be_planted(path: Path) -> bool:
    """Whether a stranger may have put it there for us to find: it is another user's, in a directory like /tmp.

    What is looked for in directories above is obeyed: programs in it are started. Where anybody may write and may
    remove, too (no sticky bit, as mounts of other systems show it), everything there is anybody's, and asked for.
    """
    if os.name == "nt":
        return False
    return path.parent.stat().st_mode & 0o1002 == 0o1002 and path.lstat().st_uid not in (0, os.geteuid())


def cache_directory(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """What can be made again."""
    return Path(cache_place(environ, platform))


def data_directory(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """What the user would miss: environments that have a name."""
    if platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or home(environ) / "AppData" / "Local") / "zephyr"
    if platform == "darwin":
        return home(environ) / "Library" / "Application Support" / "zephyr"
    return _xdg("XDG_DATA_HOME", ".local/share", environ) / "zephyr"


def scripts_name(os_name: str = os.name) -> str:
    """The directory of an environment's programs."""
    return "Scripts" if os_name == "nt" else "bin"


def python_of(environment: Path, os_name: str = os.name) -> Path:
    """An environment's interpreter."""
    return environment / ("Scripts/python.exe" if os_name == "nt" else "bin/python")


def why_unusable(python: Path) -> str:
    """What is wrong with an interpreter: "is gone", or what the system says of it; "" where it is there."""
    try:
        python.stat()
    except (FileNotFoundError, NotADirectoryError):
        return "is gone"
    except OSError as error:  # it may lie in another user's home
        return f"cannot be reached ({error.strerror or error})"
    return ""


def interpreter_names(minor: int | None = None, os_name: str = os.name) -> list[str]:
    """How an interpreter's file may be called, the most likely first."""
    if os_name == "nt":
        return ["python.exe"]
    if minor is not None:
        return [f"python3.{minor}"]
    versions = [f"python3.{number}" for number in range(NEWEST_MINOR, OLDEST_MINOR - 1, -1)]
    return ["python3", "python", *versions]


def is_executable(file: Path, os_name: str = os.name) -> bool:
    """Whether it can be started; a link of the Windows store only opens a shop window."""
    if os_name == "nt":
        return file.is_file() and "WindowsApps" not in file.parts
    return os.access(file, os.X_OK) and file.is_file()


def process_lives(pid: int, os_name: str = os.name) -> bool:
    """Whether there is such a process. On Windows one cannot ask without harm: then yes."""
    if os_name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def search_path(environ: Mapping[str, str]) -> list[Path]:
    """The directories of PATH, each once."""
    words = environ.get("PATH", os.defpath).split(os.pathsep)
    return list(dict.fromkeys(Path(word) for word in words if word and Path(word).is_absolute()))


def pyenv_root(environ: Mapping[str, str], os_name: str = os.name) -> Path:
    """Where pyenv (pyenv-win) keeps its versions."""
    if named := environ.get("PYENV_ROOT"):
        return Path(named)
    return home(environ) / (".pyenv/pyenv-win" if os_name == "nt" else ".pyenv")


def pyenv_python(version: Path, os_name: str = os.name) -> Path:
    """The interpreter of one of pyenv's versions."""
    return version / ("python.exe" if os_name == "nt" else "bin/python")


def other_places(environ: Mapping[str, str], platform: str = sys.platform) -> Iterator[Path]:
    """Interpreters that stand outside PATH: python.org's framework on macOS, what `py` knows of on Windows."""
    if platform == "darwin":
        framework = Path("/Library/Frameworks/Python.framework/Versions")
        for minor in range(NEWEST_MINOR, OLDEST_MINOR - 1, -1):
            yield framework / f"3.{minor}" / "bin" / f"python3.{minor}"
    elif platform == "win32":
        yield from _launcher_paths(environ)


def _launcher_paths(environ: Mapping[str, str]) -> Iterator[Path]:
    import subprocess

    try:
        said = subprocess.run(["py", "-0p"], capture_output=True, text=True, check=False, timeout=10, env=dict(environ))
    except (OSError, subprocess.TimeoutExpired):
        return
    yield from launcher_paths(said.stdout)


def launcher_paths(said: str) -> Iterator[Path]:
    """The interpreters in what `py -0p` prints: ` -V:3.12 *        C:\\...\\python.exe`."""
    for line in said.splitlines():
        if match := re.match(r"\s*-\S+\s+(?:\*\s+)?(\S.*\.exe)\s*$", line):
            yield Path(match[1])


def _xdg(variable: str, otherwise: str, environ: Mapping[str, str]) -> Path:
    named = environ.get(variable, "")
    return Path(named) if named.startswith("/") else home(environ) / otherwise
