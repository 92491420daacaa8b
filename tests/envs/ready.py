"""Wheels unpacked and environments begun, as a node and `zephyr venv` would have done it."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from p2pcdn.envs.generations import Environment
from p2pcdn.envs.install import Source
from p2pcdn.envs.plan import Plan
from p2pcdn.envs.planning import ReadyWheel, make_plan
from p2pcdn.envs.scheme import Scheme
from p2pcdn.envs.unpack import unpack
from tests.envs.made import MadeWheel

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
SCHEME = Scheme.of_venv(PYTHON)
SITE = f"lib/python{PYTHON}/site-packages"


def ready(trees: Path, *wheels: MadeWheel, requested: Sequence[str] = ()) -> tuple[list[ReadyWheel], list[Source]]:
    """The wheels with their trees below `trees`."""
    trees.mkdir(exist_ok=True)
    found, sources = [], []
    for wheel in wheels:
        content = wheel.content()
        sha256 = hashlib.sha256(content).hexdigest()
        blob, tree = trees / f"{sha256}.whl", trees / sha256
        if not tree.exists():
            blob.write_bytes(content)
        listing = unpack(blob, wheel.filename, tree)
        found.append(ReadyWheel(listing, wheel.filename, sha256, requested=wheel.project in requested))
        sources.append(Source(str(tree)))
    return found, sources


def planned(trees: Path, *wheels: MadeWheel) -> tuple[Plan, list[Source]]:
    found, sources = ready(trees, *wheels)
    return make_plan(found, SCHEME), sources


def bare_venv(root: Path) -> Path:
    """As `python -m venv --without-pip` leaves it, but for the activation scripts."""
    (root / SITE).mkdir(parents=True)
    (root / "bin").mkdir()
    (root / "include").mkdir()
    (root / "bin/python").symlink_to(os.path.realpath(sys.executable))
    (root / "lib64").symlink_to("lib")
    home = Path(os.path.realpath(sys.executable)).parent
    (root / "pyvenv.cfg").write_text(f"home = {home}\ninclude-system-site-packages = false\nversion = {PYTHON}\n")
    return root


def open_environment(root: Path, command: str = "zephyr sync", *, whole: bool = True) -> Environment:
    """With its lock held."""
    return Environment(str(root), command=command, now_s=1_700_000_000.0, whole=whole).locked(wait=_nobody_waits)


def _nobody_waits(sentence: str) -> None:
    raise AssertionError(sentence)
