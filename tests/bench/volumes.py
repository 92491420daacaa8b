"""A directory that is mounted on another one of the same file system, as a container has its volumes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

_MOUNTED = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'


def run_with_volume(volume: Path, place: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Runs a command for which `volume` lies at `place`; skips where nobody may mount."""
    namespace = ("unshare", "--user", "--map-root-user", "--mount")
    try:
        allowed = subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("needs unshare, and the right to mount")
    return subprocess.run(
        [*namespace, "sh", "-c", _MOUNTED, "sh", str(volume), str(place), *command],
        capture_output=True,
        text=True,
        check=False,
    )
