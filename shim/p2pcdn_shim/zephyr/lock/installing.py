"""The project's environment brought to what its lock says, with the extras and groups that the flags choose."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.configuration.config import user_config_file
from p2pcdn_shim.zephyr.environment import named, syncing
from p2pcdn_shim.zephyr.environment.interpreter import interpreter_at
from p2pcdn_shim.zephyr.errors import ChangedMeanwhile, UsageError, ZephyrError
from p2pcdn_shim.zephyr.lock import behind, build_files, lock_file, locking, own_build
from p2pcdn_shim.zephyr.node import asking
from p2pcdn_shim.zephyr.project.pyproject import Project, name_of, normalize
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Any

    from p2pcdn_shim.client import Client


def sync_project(call: Call) -> int:
    """What `zephyr sync` does: the lock made anew where it must be, then installed, and said. Raises ZephyrError."""
    while True:
        try:
            return _sync_project(call)
        except ChangedMeanwhile:
            continue


def _sync_project(call: Call) -> int:
    project = _project(call)
    lock = _as_it_is(call, project)
    with call.node() as client:
        project, lock, keeping = _locked(call, client, project, lock)
        turn = _turn_of(call, project, lock)
        return install_lock(call, client, project, lock, before_change=turn, keeping=keeping)


def follow(call: Call, place: Path) -> None:
    """The environment at a place brought to the project's lock, before something else is done there; said on stderr.

    What others have put there stays. Raises NodeRefused, ZephyrError; then it is as it was.
    """
    began_ns = time.time_ns()
    call.config = call.config.but(venv=place)
    while True:
        try:
            _follow(call, place)
            break
        except ChangedMeanwhile:
            call.config = call.config.but(venv=place)
    behind.looked_at(place, began_ns)


def _follow(call: Call, place: Path) -> None:
    project = _project(call)
    lock = _as_it_is(call, project)
    with call.node() as client:
        project, lock, keeping = _locked(call, client, project, lock)
        call.config = call.config.but(venv=place)  # which was read again, in the project's turn
        with keeping:
            synced = bring(call, client, project, lock, _turn_of(call, project, lock), exact=False)
    syncing.tell(call, place, synced, by_the_way=True)


def _project(call: Call) -> Project:
    """The project; where its lock is taken as it is, no build is asked whether it is still the project's."""
    project = locking.project_of(call)
    if call.options.frozen or not project.awaits_its_build:
        return project
    lock = lock_file.read(lock_file.place_of(project.file))
    is_of_another_program = lock is not None and not lock_file.inputs_of(lock)
    return project if is_of_another_program else own_build.asked(call, project)


def _as_it_is(call: Call, project: Project) -> str | None:
    """The lock that is there, where it will do; None where it is to be made first. Raises UsageError, ZephyrError."""
    file = lock_file.place_of(project.file)
    if call.options.frozen:
        if (frozen := lock_file.read(file)) is None:
            raise UsageError(f"There is no {file}; `zephyr lock` makes it.")
        return frozen
    found = locking.fitting(call, project)
    if found is None and call.options.locked:
        text = lock_file.read(file)
        otherwise = "does not belong to the project as it is, with the settings and flags in force"
        what = locking.why_stale(call, project, text, otherwise) if text is not None else "is not there"
        raise ZephyrError(f"{file} {what}; `zephyr lock` with the same flags makes it.")
    return found


def _locked(
    call: Call, client: Client, project: Project, lock: str | None
) -> tuple[Project, str, AbstractContextManager[None]]:
    """The project and its lock, which is made where None is given; and within what it is to be brought in, for who has
    a new lock is told that it stays where that fails.
    """
    if lock is not None:
        return project, lock, nullcontext()
    from p2pcdn_shim.zephyr.lock import kept  # most find their lock as it should be

    project, lock = locking.current(call, client)
    return project, lock, kept.new_lock(call, lock_file.place_of(project.file))


@contextmanager
def _turn_of(call: Call, project: Project, lock: str) -> Iterator[None]:
    """Nobody else changes the project while its environment becomes what this lock says. Raises ChangedMeanwhile.

    Else a sync that had read the lock would take out again what an `add` has put in since.
    """
    from p2pcdn_shim.zephyr.lock import turn  # most find nothing to do

    with turn.of_project(call):
        if lock_file.read(lock_file.place_of(project.file)) != lock:
            raise ChangedMeanwhile(f"Another command has changed {project.file} meanwhile; this one changed nothing.")
        yield


def install_lock(
    call: Call,
    client: Client,
    project: Project,
    lock: str,
    before_change: AbstractContextManager[None] | None = None,
    keeping: AbstractContextManager[None] | None = None,
) -> int:
    """Syncs the project's environment with the text of a lock, and says what that did.

    before_change: entered before the environment is touched; whoever has the project's turn needs none. keeping: left
    by what is raised where the environment stays as it was.
    """
    with keeping or nullcontext():
        synced = bring(call, client, project, lock, before_change)
    place = named.project_place(call.config, call.directory)
    syncing.tell(call, place, synced)
    if project.is_package and (_only_groups(vars(call.options)) or vars(call.options).get("no_project")):
        _tell_who_needs_it(call, project)
    if synced.settled and (stood_on := syncing.stood_on(place)):
        call.settled = [*_stood_on(call, project), *stood_on]
    return 0


def _tell_who_needs_it(call: Call, project: Project) -> None:
    """A package that is left out may be needed by what is there: in its own lock, no index's has its name."""
    from p2pcdn_shim.zephyr.environment.reading import read_environment
    from p2pcdn_shim.zephyr.pip import checking

    target, environment = read_environment(call)
    packages, _ = checking.packages_of(environment.packages(), target.probe.markers, call.voice.detail)
    own = normalize(project.name or "")
    needing = [one.package.name for one in checking.problems(packages) if one.held is None and one.needed == own]
    if needing:
        call.voice.warn(
            f"{', '.join(dict.fromkeys(needing))} cannot work without {own}, which is this project and was left out;"
            " `zephyr sync --group NAME` installs a group together with it."
        )


def _stood_on(call: Call, project: Project) -> list[str]:
    """The files that say what is wanted: settings, the project where it was looked for, its lock."""
    config_file = call.options.config_file
    settings = call.directory / config_file if config_file else user_config_file()
    folders = [call.directory, *call.directory.parents]
    root = project.file.parent
    looked_at = folders[: folders.index(root) + 1]
    built = [str(root), *map(str, build_files.files_of(root))] if project.leaves_needs_to_its_build else []
    lock = lock_file.place_of(project.file)
    return [str(settings), *(f"{folder}/pyproject.toml" for folder in looked_at), str(lock), *built]


def bring(
    call: Call,
    client: Client,
    project: Project,
    lock: str,
    before_change: AbstractContextManager[None] | None = None,
    *,
    exact: bool = True,
) -> syncing.Synced:
    """The same without a word. exact: what others have put there goes.

    Raises NodeRefused, ZephyrError; then the environment is as it was.
    """
    place = named.project_place(call.config, call.directory)
    chosen = _chosen(call, project, lock).but(exact=exact)
    return syncing.sync(call, client, place, interpreter_at(call, place), chosen, before_change)


def _chosen(call: Call, project: Project, lock: str) -> syncing.Chosen:
    options = vars(call.options)
    only = _only_groups(options)
    if only and (options["group"] or options["all_groups"] or options["extra"] or options["all_extras"]):
        raise UsageError("--only-group leaves out all else: name the other groups by --only-group, too, and no extras.")
    own = str(project.file.parent) if project.is_package and not only and not options.get("no_project") else None
    _check_named(project, lock, "extra", options.get("extra", ()), project.extras)
    _check_named(project, lock, "dependency group", options.get("group", ()), project.groups)
    _check_named(project, "", "dependency group", only, project.groups)  # what is in one, no lock says
    return syncing.Chosen(
        lock,
        () if only else _extras(options, project, lock),
        only or _groups(call, project, lock),
        _requested(project),
        project=own,
        project_said=own_build.digest_of(project.said),
        base=str(project.file.parent),
        only=_asked_by(project, only) if only else None,
    )


def _asked_by(project: Project, groups: Iterable[str]) -> tuple[str, ...]:
    """The projects that these groups name themselves."""
    texts = [text for name in groups for text in project.groups.get(name, ())]
    return _names_of(asking.own_extras_put_in(project, texts))


def _only_groups(options: Mapping[str, Any]) -> tuple[str, ...]:
    named = [*options.get("only_group", ()), *(["dev"] if options.get("only_dev") else ())]
    return tuple(dict.fromkeys(map(normalize, named)))


def _check_named(project: Project, lock: str, what: str, names: Iterable[str], known: Collection[str]) -> None:
    """That the project has what was typed, or a lock that another program wrote. Raises UsageError."""
    for name in map(normalize, names):
        if name not in known and name not in lock_file.named_in(lock, f"{what.replace(' ', '-')}s"):
            there = f"it has {', '.join(known)}" if known else f"it has no {what}s"
            raise UsageError(f"{project.file} has no {what} {name[:60]!r}; {there}.")


def _extras(options: Mapping[str, Any], project: Project, lock: str) -> tuple[str, ...]:
    if not options.get("all_extras"):
        return tuple(map(normalize, options.get("extra", ())))
    is_known = lock_file.is_ours(lock) and not project.awaits_its_build
    return tuple(project.extras if is_known else lock_file.named_in(lock, "extras"))


def _groups(call: Call, project: Project, lock: str) -> tuple[str, ...]:
    options = vars(call.options)
    locked = list(project.groups) if lock_file.is_ours(lock) else lock_file.named_in(lock, "dependency-groups")
    named = list(map(normalize, options.get("group", ())))
    found = [*_default_groups(call, project, lock, locked), *(locked if options.get("all_groups") else ()), *named]
    without = set(map(normalize, options.get("no_group", ())))
    for name in without.difference(project.groups, locked, map(normalize, call.config.default_groups)):
        raise UsageError(f"{project.file} has no dependency group {name[:60]!r} to leave out.")
    without |= {"dev"} if options.get("no_dev") else set()
    return tuple(name for name in dict.fromkeys(found) if name not in without)


def _default_groups(call: Call, project: Project, lock: str, locked: Collection[str]) -> list[str]:
    """Those that nobody has to name. locked: the groups that the lock knows."""
    # A default group that the project does not have is nobody's mistake; nor is one that another program did not lock.
    ours = [name for name in map(normalize, call.config.default_groups) if name in project.groups and name in locked]
    theirs = [] if lock_file.is_ours(lock) else lock_file.named_in(lock, "default-groups")
    if vars(call.options).get("no_default_groups"):
        # What the project itself requires is one of the lock's groups, too, where pdm wrote it.
        return [name for name in theirs if name not in project.groups]
    return [*ours, *theirs]


def _requested(project: Project) -> tuple[str, ...]:
    """The projects that the user named himself, which their environment remembers (PEP 376)."""
    return _names_of([*project.all_requirements, *([project.name] if project.name else [])])


def _names_of(requirements: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for text in requirements if (name := name_of(text))))
