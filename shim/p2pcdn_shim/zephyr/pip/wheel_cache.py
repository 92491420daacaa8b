"""Wheels that were built of archives, kept for the next time: by the archive's content and by who builds.

The node keeps what it built, too, by all the inputs of a build; this saves the question what to build with, and works
for one cache directory as pip's does (--cache-dir, --no-cache-dir).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pcdn_shim.zephyr.pip.target import Target
    from p2pcdn_shim.zephyr.pip.voice import PipVoice


class WheelCache:
    """directory: None where there is none."""

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory

    @classmethod
    def of(cls, directory: Path, voice: PipVoice) -> WheelCache:
        """That of a command; one that cannot be written is told, and not used."""
        there = directory
        while not there.exists():
            there = there.parent
        if not os.access(there, os.W_OK | os.X_OK):
            voice.warn(
                f"The directory '{directory}' or its parent directory is not owned or is not writable by the current"
                " user. The cache has been disabled. Check the permissions and owner of that directory. If executing"
                " pip with sudo, you should use sudo's -H flag."
            )
            return cls(None)
        return cls(directory / "pip-wheels")

    def find(self, key: str) -> Path | None:
        if self.directory is None:
            return None
        return (
            next(iter(sorted((self.directory / key).glob("*.whl"))), None) if (self.directory / key).is_dir() else None
        )

    def keep(self, key: str, wheel: Path) -> Path:
        """Where it is from now on. Whole or not at all; a cache that cannot be written costs time and nothing else."""
        if self.directory is None:
            return wheel
        place = self.directory / key / wheel.name
        beside = place.with_name(f".{wheel.name}.{os.getpid()}")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(wheel, beside)
            beside.replace(place)
        except OSError:
            with suppress(OSError):
                beside.unlink()
            return wheel
        return place

    def wheels(self) -> list[Path]:
        return sorted(self.directory.rglob("*.whl")) if self.directory is not None and self.directory.is_dir() else []


def key_of(target: Target, what: str, subdirectory: str, settings: object) -> str:
    """what: the sha256 of an archive, or the commit of a repository with its URL."""
    best = target.probe.tags[0]
    told = json.dumps([what, subdirectory, settings or {}, best, target.version], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:40]
