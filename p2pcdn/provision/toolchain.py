"""The interpreter that builds, and environments with build requirements for it, which stay for the next build."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from p2pcdn.envs.install import Source, install
from p2pcdn.envs.plan import Plan
from p2pcdn.envs.scheme import Scheme
from p2pcdn.provision.asked import Ready

# Environments of build requirements are kept for the next build with the same ones; links, so they cost little.
ENVIRONMENTS_KEPT = 64


@dataclass(frozen=True, slots=True)
class Toolchain:
    """The interpreter that builds. python: the base one's path. allow_unsandboxed: the user's own word.

    demand: of which build requirements an attestation is demanded, and whose (`attested.Demand`).
    """

    python: Path
    markers: Mapping[str, str]
    tags: tuple[str, ...]
    scheme: Scheme
    allow_unsandboxed: bool = False
    demand: tuple[tuple[str, str], ...] = ()

    def digest(self) -> str:
        """Names everything of it that a wheel may depend on."""
        parts = [str(self.python), dict(self.markers), self.tags, *sorted(self.demand)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def installed(environments: Path, ready: Ready, toolchain: Toolchain) -> Path:
    """The directory of an environment with these wheels; made where it is not there. Blocks. Raises CannotInstall."""
    name = hashlib.sha256(f"{ready.digest} {toolchain.python}".encode()).hexdigest()[:32]
    directory = environments / name
    if directory.is_dir():
        os.utime(directory)
        return directory
    environments.mkdir(mode=0o755, parents=True, exist_ok=True)
    scratch = environments / f".{name}.{os.urandom(8).hex()}"
    try:
        scratch.mkdir(mode=0o755)
        sources = [Source(one.tree) for one in ready.wheels]
        python = str(directory / "bin" / "python")
        install(Plan.decode(ready.plan), sources, str(scratch), python=python, link_mode="hardlink")
        _add_interpreter(scratch, toolchain.python)
        with suppress(OSError):  # another build was faster
            scratch.rename(directory)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    _forget_old(environments, directory)
    return directory


def _add_interpreter(directory: Path, python: Path) -> None:
    """Makes it a virtual environment (PEP 405)."""
    (directory / "bin").mkdir(exist_ok=True)  # wheels may have scripts
    (directory / "bin" / "python").symlink_to(python)
    (directory / "pyvenv.cfg").write_text(f"home = {python.parent}\ninclude-system-site-packages = false\n")


def _forget_old(environments: Path, newest: Path) -> None:
    known = [path for path in environments.iterdir() if not path.name.startswith(".") and path != newest]
    known.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in known[ENVIRONMENTS_KEPT - 1 :]:
        shutil.rmtree(path, ignore_errors=True)
