"""How a real node starts other programs: trio's processes, each in a session of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trio


class RealProcess:
    """The `p2pcdn.world.Process` of the real world."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self.stdin: trio.abc.SendStream = process.stdin
        self.stdout: trio.abc.ReceiveStream = process.stdout
        self.stderr: trio.abc.ReceiveStream = process.stderr

    async def wait(self) -> int:
        return await self._process.wait()

    def kill(self) -> None:
        if sys.platform == "win32":
            self._process.kill()
            return
        # Its group has its number, which the kernel gives to nobody else as long as one member of it is left.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


class RealProcesses:
    """The `p2pcdn.world.Processes` of the real world."""

    @asynccontextmanager
    async def open(
        self, argv: Sequence[str], environment: Mapping[str, str], directory: Path | None = None
    ) -> AsyncIterator[RealProcess]:
        # A session of its own: Ctrl-C at the node's terminal is for the node, which then ends its programs itself.
        process = await trio.lowlevel.open_process(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            cwd=directory,
            start_new_session=True,
        )
        opened = RealProcess(process)
        try:
            yield opened
        finally:
            opened.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
                for stream in (opened.stdin, opened.stdout, opened.stderr):
                    await stream.aclose()
