"""File systems of a test's own: a small one, and a directory that is mounted on another one as a container's volume."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def small_file_system(place: Path, options: str) -> Iterator[Path]:
    """In memory, at a new directory; skips where nobody may mount one. options: as in mount(8), `size=8m`."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("needs root to mount a small file system")
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "p2pcdn-test", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no small file system here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
