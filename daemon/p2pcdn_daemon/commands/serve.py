"""The command that is the node: serve."""

from __future__ import annotations

import sys
from typing import Any

import click

from p2pcdn_daemon.commands import options


@click.command()
@options.settings()
@click.option(
    "--ready-fd",
    type=click.IntRange(min=0),
    metavar="N",
    help="Writes the ready line to this file descriptor too, and closes it.",
)
@click.option(
    "--ephemeral",
    is_flag=True,
    help="Runs a node for one job: a temporary store, free ports, no multicast, unless something else is named.",
)
@click.option("--leaves-when-replaced", is_flag=True, hidden=True, help="As zephyr starts it, which starts another.")
def serve(ready_fd: int | None, ephemeral: bool, leaves_when_replaced: bool, **flags: Any) -> None:
    """Runs a node: a package index on this machine that keeps what it saw and shares it with its neighbours.

    Prints `ready http://127.0.0.1:PORT/simple/` on stdout when it accepts connections. SIGTERM ends it within 5 seconds
    with exit code 0. Exits with 2 when the configuration or the store cannot be used or a port is taken.
    """
    config = options.configuration(flags)
    # The node's libraries take longer to load than `p2pcdn status` may take in all.
    from p2pcdn_daemon.serve import run

    if ephemeral:
        from p2pcdn_daemon.serve.ephemeral import for_one_job

        with for_one_job(config) as config:
            sys.exit(run.serve(config, ready_fd=ready_fd))
    sys.exit(run.serve(config, ready_fd=ready_fd, leaves_when_replaced=leaves_when_replaced))
