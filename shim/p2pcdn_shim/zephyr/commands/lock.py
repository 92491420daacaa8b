"""`zephyr lock`: what a project wants becomes pylock.toml."""

from __future__ import annotations

from pathlib import Path

from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.command_line.flags import add_choice_flags, add_index_flags
from p2pcdn_shim.zephyr.errors import EXIT_FAILED, UsageError
from p2pcdn_shim.zephyr.lock import lock_file, locking, own_build, turn
from p2pcdn_shim.zephyr.project.pyproject import Project
from p2pcdn_shim.zephyr.terminal.voice import packages
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import ArgumentParser

DESCRIPTION = """Writes pylock.toml: for every environment that the project serves, which versions it gets, with the
hashes of all their files. What was locked before stays, where it still fits. With --check nothing is written: the exit
code says whether the lock is that of the project as it is."""


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="Only says whether the lock belongs to pyproject.toml.")
    parser.add_argument("--upgrade", action="store_true", help="Takes the newest versions that fit, of every package.")
    parser.add_argument(
        "--upgrade-package", action="append", default=[], metavar="NAME", help="The same, of this package only."
    )
    add_index_flags(parser)
    add_choice_flags(parser)


def run(call: Call) -> int:
    if call.options.check:
        return _check(call, locking.project_of(call))
    with turn.of_project(call):
        return _lock(call)


def _lock(call: Call) -> int:
    project = locking.project_of(call)
    file = lock_file.place_of(project.file)
    names = lock_file.known_names(file, call.options.upgrade_package)
    with call.node() as client:
        project = own_build.asked(call, project, client, anew=True)
        locked = locking.make(call, client, project, upgrade=call.options.upgrade or names, tells_again=True)
    is_new = lock_file.read(file) != locked.text  # also where no version is another, but a file or its place
    changes = locking.write(call, file, locked.text)
    did = f"Locked {packages(locked.packages)} in {file}." if is_new else f"{file} is as it should be."
    told = {"packages": locked.packages, "changes": changes, "left_out": lock_file.left_out_of(locked.text)}
    call.voice.did(did, {"file": str(file), **told})
    return 0


def _check(call: Call, project: Project) -> int:
    file = lock_file.place_of(project.file)
    text = lock_file.read(file)
    if text is not None:
        project = own_build.asked(call, project, anew=True)
    fresh = locking.is_fresh(call, project, text)
    if text is None:
        sentence = f"There is no {file}; `zephyr lock` makes it."
    elif not fresh:
        otherwise = "was made of another pyproject.toml, or of other settings or flags"
        sentence = f"{file} {locking.why_stale(call, project, text, otherwise)}; `zephyr lock` makes it anew."
    elif (wrong := _wrong_with(text, file)) is not None:
        fresh, sentence = False, f"{wrong} Mend it, or delete it: `zephyr lock` makes it anew."
    else:
        sentence = f"{file} belongs to the project as it is."
    left_out = lock_file.left_out_of(text) if text is not None and fresh else []
    call.voice.answer([sentence, *left_out], {"file": str(file), "fresh": fresh, "left_out": left_out})
    return 0 if fresh else EXIT_FAILED


def _wrong_with(text: str, file: Path) -> str | None:
    """Why it cannot be read: whose it is, is only looked for in its text."""
    try:
        lock_file.packages_of(text, file)
    except UsageError as error:
        return str(error)
    return None
