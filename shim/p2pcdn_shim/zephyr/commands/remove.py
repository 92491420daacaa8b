"""`zephyr remove`: a requirement of a project goes, and what only it needed."""

from __future__ import annotations

from argparse import ArgumentParser

from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.command_line.flags import add_install_flags, add_where_flags, where_of
from p2pcdn_shim.zephyr.commands.add import change
from p2pcdn_shim.zephyr.configuration.config_files import read_text
from p2pcdn_shim.zephyr.environment import named
from p2pcdn_shim.zephyr.lock import locking, own_build, turn
from p2pcdn_shim.zephyr.project import project_edit
from p2pcdn_shim.zephyr.project.pyproject import name_of, normalize

DESCRIPTION = """Takes requirements out of pyproject.toml, locks the project and syncs its environment."""


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="NAME", help="Whose requirements go.")
    add_where_flags(parser)
    parser.add_argument("--no-sync", action="store_true", help="Changes pyproject.toml and the lock only.")
    add_install_flags(parser)


def run(call: Call) -> int:
    with turn.of_project(call):
        return _remove(call)


def _remove(call: Call) -> int:
    project = own_build.asked(call, locking.project_of(call))
    before = read_text(project.file) or ""
    text, _ = project_edit.remove(before, call.options.names, where_of(call.options), file=project.file)
    left = set(map(name_of, project.edited(text).all_requirements))
    gone = [name for name in map(name_of, call.options.names) if name not in left]
    text = project_edit.drop_editables(text, gone, file=project.file)
    call.config = call.config.but(editable=tuple(one for one in call.config.editable if normalize(one) not in gone))
    with call.node() as client:
        locked = locking.make(call, client, project.edited(text), installs=not call.options.no_sync)
        code = change(call, client, project, before, text, locked.text)
    for name in gone:
        if (place := named.beside_project(call.config, call.directory, call.config.checkouts) / name).is_dir():
            call.voice.note(f"{place} stays, with all that you did there.")
    return code
