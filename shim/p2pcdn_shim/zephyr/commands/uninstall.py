"""`zephyr uninstall`: packages out of an environment, and what only they needed."""

from __future__ import annotations

from argparse import ArgumentParser
from functools import partial
from pathlib import Path

from p2pcdn.envs.generations import Environment
from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.command_line.flags import add_install_flags
from p2pcdn_shim.zephyr.commands.install import (
    Held,
    change_held,
    editables_of,
    requested_of,
    resolve_and_sync,
    versions_of,
)
from p2pcdn_shim.zephyr.environment import named
from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.project.pyproject import normalize

DESCRIPTION = """Takes packages that somebody installed by name out of the environment, with what nobody else needs.
pyproject.toml and pylock.toml are left alone: `zephyr remove` is for those."""


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="NAME", help="Which packages go.")
    add_install_flags(parser)


def run(call: Call) -> int:
    place = named.project_place(call.config, call.directory)
    names = [normalize(name) for name in call.options.names]
    change_held(place, partial(_uninstall, call, place, names))
    left = {name for name, _ in versions_of(Environment(str(place), command="", now_s=0.0).plan())}
    for name in names:
        if name in left:
            call.voice.note(f"{name} stays: other packages there need it.")
    return 0


def _uninstall(call: Call, place: Path, names: list[str], held: Held) -> None:
    versions = versions_of(held.plan)
    there = {name for name, _ in versions}
    if missing := [name for name in names if name not in there]:
        raise UsageError(f"zephyr did not install {', '.join(missing)} in {place}; nothing was changed.")
    requested = requested_of(call, place, held.plan)
    if needed := [name for name in names if name not in requested]:
        raise UsageError(f"{', '.join(needed)} is there because others in {place} need it; nothing was changed.")
    stay = [text for name, text in requested.items() if name not in names]
    resolve_and_sync(call, place, stay, versions, editables_of(held.plan), held)
