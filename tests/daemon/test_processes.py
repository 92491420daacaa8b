"""The real programs keep the contract."""

from __future__ import annotations

from pathlib import Path

from p2pcdn_daemon.doors.processes import RealProcesses
from tests.contract.processes import check_processes


async def test_the_real_processes_keep_the_contract(tmp_path: Path) -> None:
    await check_processes(RealProcesses(), tmp_path)
