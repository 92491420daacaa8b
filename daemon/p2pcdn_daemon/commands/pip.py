"""The command that is the user's own pip: `p2pcdn pip install numpy`."""

from __future__ import annotations

import os
import sys

import click


# Whatever stands after `pip` belongs to pip, `--help` too.
@click.command(
    add_help_option=False, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="PIP ARGUMENTS...")
def pip(arguments: tuple[str, ...]) -> None:
    """Runs your own pip with its package index set to this node and nothing else changed.

    All that follows belongs to pip, `--help` too; the exit code is pip's, or 2 when no node runs. Settings of yours
    that name another index on the command line win, as ever.
    """
    # The shim stands above this house: it is started, not imported.
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "p2pcdn_shim.pip", *arguments])
