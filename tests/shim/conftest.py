"""The interpreters of this machine, each asked once for all tests of this room."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from p2pcdn_shim.zephyr.interpreters import every
from p2pcdn_shim.zephyr.probes import Probe


@pytest.fixture(scope="session")
def interpreters(tmp_path_factory: pytest.TempPathFactory) -> list[Probe]:
    """Every interpreter that zephyr finds here, no two of one version; environments are left out."""
    environ = {**os.environ, "ZEPHYR_CACHE_DIR": str(tmp_path_factory.mktemp("cache"))}
    found = {one.full_version: one for one in every(Path("/"), environ) if not one.is_environment}
    assert found, "not even the one that runs these tests"
    return list(found.values())


@pytest.fixture
def interpreter(interpreters: list[Probe]) -> Probe:
    """One of them."""
    return interpreters[0]
