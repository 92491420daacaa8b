"""`zephyr add`: a project gets one more requirement, if there are versions that fit."""

from __future__ import annotations

from argparse import ArgumentParser
from urllib.parse import unquote, urlsplit

from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.command_line.flags import add_install_flags, add_requirements, add_where_flags, where_of
from p2pcdn_shim.zephyr.configuration.config_files import read_text
from p2pcdn_shim.zephyr.configuration.urls import without_secrets
from p2pcdn_shim.zephyr.environment import direct_urls, named, syncing
from p2pcdn_shim.zephyr.errors import UsageError, ZephyrError
from p2pcdn_shim.zephyr.lock import installing, kept, lock_file, locking, own_build, turn
from p2pcdn_shim.zephyr.machine.files import write_texts
from p2pcdn_shim.zephyr.project import project_edit
from p2pcdn_shim.zephyr.project.pyproject import Project, name_of, normalize
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pcdn_shim.client import Client

DESCRIPTION = """Adds requirements to pyproject.toml, locks the project and syncs its environment. Where no versions fit
together, nothing is changed. A requirement without a version gets the one that was found as its lower bound."""


def arguments(parser: ArgumentParser) -> None:
    add_requirements(parser, "numpy, or 'numpy>=1.24,<2'")
    add_where_flags(parser)
    parser.add_argument("--no-sync", action="store_true", help="Changes pyproject.toml and the lock only.")
    add_install_flags(parser)


def run(call: Call) -> int:
    with turn.of_project(call):
        return _add(call)


def _add(call: Call) -> int:
    project = locking.project_of(call)
    _refuse_dynamic(project, where_of(call.options))
    call.options.requirements, call.options.editables = direct_urls.typed_with_editables(call)
    _refuse_twice(call.options.requirements)
    _refuse_itself(project, call.options.requirements)
    for text in call.options.requirements:
        if (shown := without_secrets(text)) != text:
            call.voice.warn(
                f"The password of {shown} stands in {project.file} now; git's helpers or netrc may hold it."
            )
    _tell_places(call, project)
    with call.node() as client:
        before = read_text(project.file)
        if before is None:
            raise UsageError(f"{project.file} is gone; nothing was changed.")
        project = own_build.asked(call, project, client)
        code = change(call, client, project, before, *_added(call, client, project, before))
    if not call.options.no_sync:
        _tell_how_to_have(call, where_of(call.options))
    return code


def _refuse_dynamic(project: Project, where: project_edit.Where) -> None:
    """What the build says must not stand under [project], too, where no backend would look at it. Raises UsageError."""
    field = "optional-dependencies" if where.extra is not None else "dependencies"
    if where.group is None and project.leaves_needs_to_its_build and field in project.dynamic:
        raise UsageError(
            f"{project.file} leaves its {field} to its build backend to say: write the requirement where that reads it,"
            " such as in setup.py, and `zephyr sync` takes it from there. --group adds to a group."
        )


def _tell_places(call: Call, project: Project) -> None:
    """A requirement has no relative paths (PEP 508): whoever shares the project should know."""
    for text in call.options.requirements:
        parsed = project_edit.parse_requirement(text)
        if parsed.url is not None and parsed.url.startswith("file:"):
            place = unquote(urlsplit(parsed.url).path)
            call.voice.note(
                f"{parsed.name} stands in {project.file.name} by its place on this machine: whoever else works on this"
                f" project needs it in {place}, too."
            )


def _tell_how_to_have(call: Call, where: project_edit.Where) -> None:
    """A sync installs neither an extra nor any group but the default ones, unless they are named."""
    kind, name = ("extra", where.extra) if where.extra is not None else ("group", where.group)
    if name is None or (kind == "group" and normalize(name) in map(normalize, call.config.default_groups)):
        return
    names = ", ".join(project_edit.parse_requirement(text).name for text in call.options.requirements)
    stand, them = ("stands", "it") if len(call.options.requirements) == 1 else ("stand", "them")
    call.voice.note(f"{names} {stand} in the {kind} {name}: `zephyr sync --{kind} {name}` installs {them}.")


def _refuse_twice(requirements: list[str]) -> None:
    """One of two requirements for the same project would replace the other. Raises UsageError."""
    seen: set[tuple[str, str]] = set()
    for text in requirements:
        parsed = project_edit.parse_requirement(text)
        key = name_of(parsed.name), str(parsed.marker)
        if key in seen:
            raise UsageError(f"{parsed.name} is named twice; write one requirement, such as '{parsed.name}>=1,<2'.")
        seen.add(key)


def _refuse_itself(project: Project, requirements: list[str]) -> None:
    """A directory is soon called what will be tried in it, and the project with it: nothing would be installed.

    An extra of its own is a requirement like any other. Raises UsageError.
    """
    for parsed in map(project_edit.parse_requirement, requirements):
        if project.name is not None and name_of(parsed.name) == name_of(project.name) and not parsed.extras:
            raise UsageError(
                f"{project.file} is the project {project.name} itself, which cannot require itself. If another package"
                " of that name is meant, give the project another name there. Nothing was added."
            )


def change(call: Call, client: Client, project: Project, before: str, text: str, lock: str) -> int:
    """Writes a new pyproject.toml with its lock, and syncs unless that is not wanted; if that fails, they go back.

    before: what the new text was made of. Raises ZephyrError where an editor has saved another one since then.
    """
    file = lock_file.place_of(project.file)
    if read_text(project.file) != before:
        raise ZephyrError(
            f"{project.file} was changed meanwhile; it stays as it is now, and so does its lock. Try again."
        )
    former = lock_file.read(file)
    changes = lock_file.changes(former, lock, project.file)
    write_texts({project.file: text, file: lock})
    if call.options.no_sync:
        did = "\n".join(changes) or f"Changed {project.file}; the lock has what it had."
        call.voice.did(did, {"file": str(project.file), "changes": changes})
        return 0
    with kept.none_of(call, {project.file: before, file: former}):
        synced = installing.bring(call, client, project.edited(text), lock)
    syncing.tell(call, named.project_place(call.config, call.directory), synced)
    return 0


def _added(call: Call, client: Client, project: Project, before: str) -> tuple[str, str]:
    """The new text of pyproject.toml, and its lock."""
    where = where_of(call.options)
    text = project_edit.add(before, call.options.requirements, where, file=project.file)
    text = project_edit.add_editables(text, call.options.editables, file=project.file)
    call.config = call.config.but(editable=(*call.config.editable, *call.options.editables))
    locked = locking.make(call, client, project.edited(text), installs=not call.options.no_sync)
    bounded = [_with_bound(one, locked.text, call) for one in call.options.requirements]
    if bounded != call.options.requirements:
        text = project_edit.add(text, bounded, where, file=project.file)
        locked = locking.make(call, client, project.edited(text), former=locked.text, told=locked.warnings)
    return text, locked.text


def _with_bound(requirement: str, lock: str, call: Call) -> str:
    """A requirement that names no version with the lowest one that was locked for it as lower bound."""
    parsed = project_edit.parse_requirement(requirement)
    if parsed.specifier or parsed.url:
        return requirement
    name = name_of(requirement)
    versions = [one["version"] for one in lock_file.packages_of(lock, call.directory) if one["name"] == name]
    if not versions:
        return requirement
    from packaging.version import Version

    parsed.specifier &= f">={min(map(Version, versions)).public}"
    return str(parsed)
