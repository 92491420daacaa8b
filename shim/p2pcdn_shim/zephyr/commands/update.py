"""`zephyr update`: newer versions, as far as the project allows them."""

from __future__ import annotations

from argparse import ArgumentParser

from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.command_line.flags import add_install_flags
from p2pcdn_shim.zephyr.lock import installing, kept, lock_file, locking, own_build, turn

DESCRIPTION = """Locks the newest versions that pyproject.toml allows, of all packages or of those that are named, and
syncs the environment."""


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="Which packages; all of them where none is named.")
    parser.add_argument("--no-sync", action="store_true", help="Changes the lock only.")
    add_install_flags(parser)


def run(call: Call) -> int:
    with turn.of_project(call):
        return _update(call)


def _update(call: Call) -> int:
    project = locking.project_of(call)
    file = lock_file.place_of(project.file)
    former = lock_file.read(file)
    names = lock_file.known_names(file, call.options.names)
    with call.node() as client:
        project = own_build.asked(call, project, client, anew=True)
        locked = locking.make(call, client, project, upgrade=names or True, installs=not call.options.no_sync)
        changes = locking.write(call, file, locked.text)
        if not call.options.no_sync:
            keeping = kept.none_of(call, {file: former})
            return installing.install_lock(call, client, project, locked.text, keeping=keeping)
    did = " ".join(changes) or "Nothing newer fits."
    call.voice.did(did, {"file": str(file), "changes": changes})
    return 0
