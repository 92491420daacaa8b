"""`zephyr sync`: the project's environment becomes what its lock says."""

from __future__ import annotations

from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.command_line.flags import add_install_flags
from p2pcdn_shim.zephyr.lock import installing
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import ArgumentParser

DESCRIPTION = """Makes the project's environment (.venv) hold exactly what pylock.toml says, all at once or not at all.
A lock that does not belong to pyproject.toml any more is made anew first; with --frozen it is taken as it is."""


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--frozen", action="store_true", help="Takes the lock as it is, and looks at nothing else.")
    parser.add_argument("--locked", action="store_true", help="Fails where the lock would have to be made anew.")
    add_install_flags(parser)
    parser.add_argument("--extra", action="append", default=[], metavar="NAME", help="With this extra.")
    parser.add_argument("--no-project", action="store_true", help="Leaves the project itself out.")
    parser.add_argument("--all-extras", action="store_true", help="With every extra of the project.")
    parser.add_argument("--group", action="append", default=[], metavar="NAME", help="With this dependency group.")
    parser.add_argument("--all-groups", action="store_true", help="With every dependency group.")
    parser.add_argument("--no-group", action="append", default=[], metavar="NAME", help="Without this one.")
    parser.add_argument(
        "--no-default-groups",
        action="store_true",
        help="Without the groups that are installed unless others are named.",
    )
    parser.add_argument("--no-dev", action="store_true", help="Without the group dev.")
    parser.add_argument(
        "--only-group",
        action="append",
        default=[],
        metavar="NAME",
        help="This group with what it needs, and nothing of the project.",
    )
    parser.add_argument("--only-dev", action="store_true", help="The same of the group dev.")


def run(call: Call) -> int:
    return installing.sync_project(call)
