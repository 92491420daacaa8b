"""Which interpreter's pip is the user's."""

from __future__ import annotations

import shutil
import subprocess
import sys

from p2pcdn_daemon.configuration.config import ConfigError


def with_pip(python: str | None) -> str:
    """The path of the interpreter that was named, else of the first on the PATH that has pip, else our own.

    Raises ConfigError where none has pip.
    """
    choices = [python] if python else ["python3", "python", sys.executable]
    for choice in choices:
        found = shutil.which(choice)
        if found and _has_pip(found):
            return found
    raise ConfigError(f"{python or 'No python on the PATH'} has no pip; name an interpreter that has with --python.")


def _has_pip(python: str) -> bool:
    try:
        return subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False
