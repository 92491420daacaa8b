"""What every `Processes` keeps, in any world that has programs."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
import trio

from p2pcdn.world import Processes


async def check_processes(processes: Processes, directory: Path) -> None:
    await _hears_and_answers(processes, directory)
    await _says_how_it_ended(processes)
    await _ends_with_its_block(processes)
    with pytest.raises(OSError, match="No such file"):
        async with processes.open(["/nowhere/program"], {}):
            pass


async def _hears_and_answers(processes: Processes, directory: Path) -> None:
    code = "import os, sys; print(sys.stdin.read(), sorted(set(os.environ) - {'LC_CTYPE'}), os.getcwd())"
    async with processes.open([sys.executable, "-c", code], {"ONLY": "this"}, directory) as process:
        await process.stdin.send_all(b"hello")
        await process.stdin.aclose()
        said = b"".join([part async for part in process.stdout])
        assert said.decode() == f"hello ['ONLY'] {directory}\n"
        assert await process.wait() == 0


async def _says_how_it_ended(processes: Processes) -> None:
    async with processes.open(["/bin/sh", "-c", "exit 3"], {}) as process:
        assert await process.wait() == 3
    async with processes.open(["/bin/sh", "-c", "kill -TERM $$"], {}) as process:
        assert await process.wait() == -signal.SIGTERM


async def _ends_with_its_block(processes: Processes) -> None:
    """And with it what it started: our end of the pipe sees the end only when nobody holds the other."""
    async with processes.open(["/bin/sh", "-c", "sleep 1000 & echo started; wait"], {}) as process:
        assert await process.stdout.receive_some(100) == b"started\n"
        process.kill()
        with trio.fail_after(20):
            assert await process.stdout.receive_some(100) == b""
        process.kill()
    assert await process.wait() == -signal.SIGKILL
