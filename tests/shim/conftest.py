"""What tests of this room begin with: the interpreters of this machine, asked once, and a site for `zephyr pip`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pcdn_shim.zephyr.interpreters.finding import every
from p2pcdn_shim.zephyr.interpreters.probes import Probe, probe
from tests.shim.nodes import end_node_of
from tests.shim.pip_site import Site
from tests.shim.zephyr import environment


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


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A node that one of its commands started is ended."""
    yield Site(tmp_path)
    end_node_of(environment(tmp_path))
