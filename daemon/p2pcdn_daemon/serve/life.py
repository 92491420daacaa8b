"""The life of a served node: who is told that it is ready, which signals end it, and how long that may take."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import trio

from p2pcdn_daemon.configuration.config import ConfigError
from p2pcdn_daemon.serve import logs
from p2pcdn_daemon.serve.errand import Errand
from p2pcdn_daemon.serve.notify import notify, watchdog_interval_s

log = logging.getLogger(__name__)

# A node that is told to stop is gone within five seconds: running answers get most of them, their cancellation a
# little, and then the process ends by itself. What was acknowledged is on the disk since long before.
CANCEL_AFTER_S = 4.0
EXIT_AFTER_S = 4.7
# While the catalog is rebuilt, systemd is asked for so much more time, so often.
STARTING_MORE_TIME_S = 30
STARTING_ASKS_EVERY_S = 10


@dataclass(slots=True)
class Ready:
    """Says once, to whoever waits for it, that the node accepts connections. Raises ConfigError for no descriptor."""

    descriptor: int | None
    log: logs.Held
    on_stdout: bool = True

    def __post_init__(self) -> None:
        if self.descriptor is not None:
            try:
                os.set_inheritable(self.descriptor, self.descriptor <= 2)
            except OSError as error:
                raise ConfigError(f"--ready-fd: {self.descriptor} is not an open file descriptor.") from error

    def say(self, index_url: str) -> None:
        """The line on stdout, on the descriptor (which is closed), and READY=1 for systemd."""
        self.log.release()
        line = f"ready {index_url}\n"
        # Whoever waited may have gone.
        with suppress(OSError, ValueError):
            if self.on_stdout:
                sys.stdout.write(line)
                sys.stdout.flush()
        if self.descriptor is not None and self.descriptor != 1:
            with suppress(OSError):
                os.write(self.descriptor, line.encode())
            if self.descriptor > 2:
                os.close(self.descriptor)
        notify("READY=1", f"STATUS=Serving {index_url}", f"MAINPID={os.getpid()}")


@dataclass(slots=True)
class Life:
    """From the first signal to the end. Used by the tasks of `_serve`."""

    scope: trio.CancelScope
    errand: Errand | None = None
    stop: trio.Event = field(default_factory=trio.Event)
    is_ready: bool = False

    @property
    def exit_code(self) -> int:
        return 0 if self.errand is None else self.errand.exit_code

    async def watch_signals(self, *, task_status: trio.TaskStatus[None]) -> None:
        """The first SIGTERM or SIGINT stops the node, the second one at once. SIGHUP stops it on a terminal only."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            task_status.started()
            async for number in signals:
                if self.errand is not None and self.errand.forward(number):
                    continue
                if number == signal.SIGHUP and not _on_terminal():
                    continue
                if self.stop.is_set() or not self.is_ready:
                    self.scope.cancel()
                self.end()
                notify("STOPPING=1")
                log.info("stopping: %s", signal.Signals(number).name)

    async def run_errand(self, environ: Mapping[str, str]) -> None:
        """Runs the command, if there is one, and ends the node with it."""
        if self.errand is not None:
            await self.errand.run(environ)
            self.end()

    def end(self) -> None:
        """Ends the node, in time."""
        if not self.stop.is_set():
            self.scope.deadline = min(self.scope.deadline, trio.current_time() + CANCEL_AFTER_S)
            # A thread that hangs in the kernel (a dead network disk) would hold trio.run beyond its time.
            last = threading.Timer(EXIT_AFTER_S, lambda: os._exit(self.exit_code))
            last.daemon = True
            last.start()
            self.stop.set()

    async def ask_for_time(self) -> None:
        """Keeps systemd patient until the node is ready (sd_notify(3), EXTEND_TIMEOUT_USEC)."""
        while not self.is_ready:
            notify(f"EXTEND_TIMEOUT_USEC={STARTING_MORE_TIME_S * 1_000_000}")
            await trio.sleep(STARTING_ASKS_EVERY_S)

    async def feed_watchdog(self) -> None:
        """Tells systemd that the loop turns."""
        interval_s = watchdog_interval_s()
        while interval_s is not None:
            notify("WATCHDOG=1")
            await trio.sleep(interval_s)


def _on_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()
