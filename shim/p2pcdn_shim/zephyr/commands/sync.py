"""`zephyr sync`: the project's environment becomes what its lock says."""

from __future__ import annotations

from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.command_line.flags import add_install_flags, add_selection_flags
from p2pcdn_shim.zephyr.lock import installing
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import ArgumentParser

DESCRIPTION = """Makes the project's environment (.venv) hold exactly what pylock.toml says, all at once or not at all.
A lock that does not belong to pyproject.toml any more is made anew first; with --frozen it is taken as it is."""


def arguments(parser: ArgumentParser) -> None:
    add_install_flags(parser)
    add_selection_flags(parser)


def run(call: Call) -> int:
    return installing.sync_project(call)
