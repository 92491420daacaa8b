"""Show help for commands."""

from __future__ import annotations

from p2pcdn_shim.zephyr.pip.cli import Run

USAGE = "\n  %prog <command>"


def run(run: Run) -> int:
    return 0
