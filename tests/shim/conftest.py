"""The interpreters of this machine, each asked once for all tests of this room."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from p2pcdn_shim.zephyr.interpreters import every
from p2pcdn_shim.zephyr.probes import Probe, probe


@pytest.fixture(scope="session")
def interpreters(tmp_path_factory: pytest.TempPathFactory) -> list[Probe]:
    """Every interpreter that zephyr finds here, no two of one version; environments are left out."""
    environ = {**os.environ, "ZEPHYR_CACHE_DIR": str(tmp_path_factory.mktemp("cache"))}
    behind = probe(Path(sys.executable), environ).base_executable  # these tests may run in an environment
    installed = [*every(Path("/"), environ), probe(Path(behind), environ)]
    return list({one.full_version: one for one in installed if not one.is_environment}.values())


@pytest.fixture
def interpreter(interpreters: list[Probe]) -> Probe:
    """One of them."""
    return interpreters[0]
