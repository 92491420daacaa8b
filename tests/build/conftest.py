"""A builder in a fresh workshop, with one tiny backend among its wheels."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from p2pcdn.build import BUILD_LIMITS, Builder
from p2pcdn.sandbox.spec import Limits
from p2pcdn_daemon.doors.processes import RealProcesses
from p2pcdn_daemon.doors.threads import TrioThreads
from tests.build.makers import EDITABLE, PREPARE, TINY, DirectoryShelf, LocalWheels, wheel
from tests.sandbox.conftest import obstacle

PYTHON = Path(os.path.realpath(sys.executable))


@dataclass
class Yard:
    """Where a test builds."""

    place: Path
    wheels: Path
    environments: LocalWheels
    shelf: DirectoryShelf
    processes: RealProcesses

    def builder(self, limits: Limits = BUILD_LIMITS, at_once_max: int = 4) -> Builder:
        workshop = self.place / "workshop"
        return Builder(
            self.processes,
            TrioThreads(),
            self.environments,
            self.shelf,
            workshop,
            limits=limits,
            at_once_max=at_once_max,
        )

    def left_behind(self) -> list[str]:
        return [path.name for path in (self.place / "workshop").iterdir() if path.name != "logs"]


@pytest.fixture
def bare_yard(tmp_path: Path) -> Yard:
    """Also where there is no sandbox."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel(wheels, "tiny", {"tiny.py": TINY})
    wheel(wheels, "tinier", {"tinier.py": TINY + EDITABLE})
    wheel(wheels, "preparing", {"preparing.py": TINY + PREPARE})
    wheel(wheels, "extra", {"extra.py": "HERE = True\n"})
    environments = LocalWheels(wheels, tmp_path / "environments")
    return Yard(tmp_path, wheels, environments, DirectoryShelf(tmp_path / "shelf"), RealProcesses())


@pytest.fixture
def yard(bare_yard: Yard) -> Yard:
    if why := obstacle():
        pytest.skip(why)
    return bare_yard
