"""`zephyr sync`: the project's environment becomes what its lock says."""

from __future__ import annotations

from pathlib import Path

from p2pcdn_shim.zephyr import lock_file, locking, named, syncing
from p2pcdn_shim.zephyr.call import Call
from p2pcdn_shim.zephyr.config import user_config_file
from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.flags import add_install_flags
from p2pcdn_shim.zephyr.project import Project, normalize
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from p2pcdn_shim.client import Client

DESCRIPTION = """Makes the project's environment (.venv) hold exactly what pylock.toml says, all at once or not at all.
A lock that does not belong to pyproject.toml any more is made anew first; with --frozen it is taken as it is."""


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--frozen", action="store_true", help="Takes the lock as it is, and looks at nothing else.")
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


def run(call: Call) -> int:
    project = locking.project_of(call)
    with call.node() as client:
        if call.options.frozen:
            return install_lock(call, client, project, _frozen(project))
        return install_lock(call, client, *locking.current(call, client, project))


def install_lock(call: Call, client: Client, project: Project, lock: str) -> int:
    """Syncs the project's environment with the text of a lock, and says what that did."""
    synced = bring(call, client, project, lock)
    place = named.project_place(call.config, call.directory)
    if synced.settled:
        call.settled = [*_stood_on(call, project.file), *syncing.stood_on(place)]
    syncing.tell(call, place, synced)
    return 0


def _stood_on(call: Call, project_file: Path) -> list[str]:
    """The files that say what is wanted: settings, the project where it was looked for, its lock."""
    config_file = call.options.config_file
    settings = call.directory / config_file if config_file else user_config_file()
    folders = [call.directory, *call.directory.parents]
    looked_at = folders[: folders.index(project_file.parent) + 1]
    return [str(settings), *(f"{folder}/pyproject.toml" for folder in looked_at), str(lock_file.place_of(project_file))]


def bring(call: Call, client: Client, project: Project, lock: str) -> syncing.Synced:
    """The same without a word. Raises NodeRefused, ZephyrError; then the environment is as it was."""
    place = named.project_place(call.config, call.directory)
    own = str(project.file.parent) if project.is_package and not vars(call.options).get("no_project") else None
    chosen = syncing.Chosen(
        lock,
        _extras(call, project),
        _groups(call, project),
        _requested(project),
        project=own,
        base=str(project.file.parent),
    )
    return syncing.sync(call, client, place, syncing.interpreter_at(call, place), chosen)


def _frozen(project: Project) -> str:
    file = lock_file.place_of(project.file)
    text = lock_file.read(file)
    if text is None:
        raise UsageError(f"There is no {file}; `zephyr lock` makes it.")
    return text


def _extras(call: Call, project: Project) -> tuple[str, ...]:
    options = vars(call.options)
    return tuple(project.extras) if options.get("all_extras") else tuple(map(normalize, options.get("extra", ())))


def _groups(call: Call, project: Project) -> tuple[str, ...]:
    options = vars(call.options)
    default = () if options.get("no_default_groups") else map(normalize, call.config.default_groups)
    # A default group that the project does not have is nobody's mistake.
    found = [name for name in default if name in project.groups]
    found += project.groups if options.get("all_groups") else ()
    found += map(normalize, options.get("group", ()))
    without = set(map(normalize, options.get("no_group", ())))
    for name in without.difference(project.groups, map(normalize, call.config.default_groups)):
        raise UsageError(f"{project.file} has no dependency group {name[:60]!r} to leave out.")
    return tuple(name for name in dict.fromkeys(found) if name not in without)


def _requested(project: Project) -> tuple[str, ...]:
    """The projects that the user named himself, which their environment remembers (PEP 376)."""
    texts = [*project.all_requirements, *([project.name] if project.name else [])]
    return tuple(dict.fromkeys(name for text in texts if (name := syncing.name_of(text))))
