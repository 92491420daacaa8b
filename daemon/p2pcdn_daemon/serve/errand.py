"""A command for which a node is started, and with which it ends: `p2pcdn run --ephemeral -- COMMAND`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

import click
import trio

EXIT_NOT_FOUND = 127
EXIT_NOT_EXECUTABLE = 126
# What a shell says of a command that a signal ended: this, and the signal's number.
EXIT_BY_SIGNAL = 128


class Errand:
    """One command, run once; `exit_code` is there at the end. Used on trio's thread."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: trio.Process | None = None
        self._early: list[int] | None = None  # signals that came while it was being started
        self.exit_code = 0

    async def run(self, environ: Mapping[str, str]) -> None:
        """Runs it to its end, with our stdin, stdout and stderr. Cancelled, it is killed."""
        early: list[int] = []
        self._early = early
        try:
            self._process = process = await trio.lowlevel.open_process(list(self._command), env=dict(environ))
        except OSError as error:
            self.exit_code = say_cannot_run(self._command[0], error)
            return
        finally:
            self._early = None
        for number in early:
            self.forward(number)
        try:
            code = await process.wait()
        except trio.Cancelled:
            process.kill()
            raise
        finally:
            self._process = None
        self.exit_code = EXIT_BY_SIGNAL - code if code < 0 else code

    def forward(self, number: int) -> bool:
        """Gives the command a signal that was meant for us; False where it does not run."""
        if self._early is not None:
            self._early.append(number)
            return True
        if self._process is None:
            return False
        # The terminal has sent Ctrl-C to the command as well.
        if not (number == signal.SIGINT and sys.stdin is not None and sys.stdin.isatty()):
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)
        return True


def say_cannot_run(command: str, error: OSError) -> int:
    """One sentence on stderr, and the exit code that a shell would give."""
    if isinstance(error, FileNotFoundError):
        click.echo(f"p2pcdn: There is no command {command!r}.", err=True)
        return EXIT_NOT_FOUND
    click.echo(f"p2pcdn: {command!r} cannot be run: {error.strerror}.", err=True)
    return EXIT_NOT_EXECUTABLE
