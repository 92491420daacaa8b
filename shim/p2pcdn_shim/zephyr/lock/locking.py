"""A project's lock brought up to date: made anew where the project changed, written whole, told what changed."""

from __future__ import annotations

import re
from pathlib import Path

from p2pcdn_shim.client import NodeRefused
from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.environment.interpreter import some_interpreter
from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.lock import lock_file, own_build
from p2pcdn_shim.zephyr.machine.files import write_text
from p2pcdn_shim.zephyr.node import asking
from p2pcdn_shim.zephyr.project.pyproject import Project, name_of, normalize, read_project
from p2pcdn_shim.zephyr.terminal.progress import Progress
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2pcdn_shim.client import Client


def project_of(call: Call) -> Project:
    """The project that the command works in. Raises UsageError outside one, and in one of poetry's.

    What it leaves to its build to say is there if that is remembered; else `own_build.asked` asks for it.
    """
    if call.config.project_file is None:
        raise UsageError(f"There is no pyproject.toml in {call.directory} or above it; `zephyr init` makes one.")
    project = read_project(call.config.project_file)
    if project.is_of_poetry:
        raise UsageError(
            f"{project.file} says in [tool.poetry] what the project needs, and has no [project];"
            " `zephyr import pyproject.toml` takes that over."
        )
    return own_build.remembered(call, project)


def is_fresh(call: Call, project: Project, text: str | None) -> bool:
    """Whether a lock was made of the project as it is, and of the settings in force."""
    from p2pcdn.lock.question import digest

    return text is not None and lock_file.inputs_of(text) == digest(asking.question_of(project, call.config))


def why_stale(call: Call, project: Project, text: str, otherwise: str) -> str:
    """What is wrong with a lock that is not fresh: the settings that it was made with, else in these words."""
    from p2pcdn_shim.zephyr.lock.differing import differing

    found = differing(asking.question_of(project, call.config), lock_file.inputs_of(text))
    return f"was made with {'; '.join(found)}" if found else otherwise


def make(
    call: Call,
    client: Client,
    project: Project,
    *,
    upgrade: bool | Sequence[str] = (),
    former: str | None = None,
    installs: bool = False,
    tells_again: bool = False,
    told: Sequence[str] = (),
) -> asking.Locked:
    """A new lock of a project, which keeps what the old one had where it fits; nothing is written.

    former: the old one; the project's own where none is given. installs: it is installed at once, so the node fetches
    meanwhile what it can. tells_again: also of those environments that the old lock did not serve either. told:
    warnings that the user has read already. Raises NodeRefused, UsageError.
    """
    project = own_build.asked(call, project, client)
    if project.name is None and not (project.dependencies or project.extras or project.groups):
        # An editor that found no room leaves an empty file, and an empty lock would empty the environment.
        raise UsageError(f"{project.file} has no [project], and asks for nothing; `zephyr init` makes one.")
    if former is None:  # who gives one has been told a moment ago
        _tell_of_other_tools(call, project)
        for extra in asking.lacking_own_extras(project):
            call.voice.warn(f"{project.name} has no extra {extra!r}, which {project.file} names; it is left out.")
    former = former or lock_file.read(lock_file.place_of(project.file))
    builder = {**some_interpreter(call, is_needed=installs), "installs": installs}
    question = asking.question_of(project, call.config)
    try:
        with Progress(call.voice, "Resolving", at_once=True):
            locked = asking.ask_lock(client, question, builder, former, upgrade)
    except NodeRefused as error:
        from p2pcdn_shim.zephyr.lock.blaming import with_its_place

        raise with_its_place(call.config, error) from error
    known = [] if tells_again else lock_file.left_out_of(former or "")
    for warning in locked.warnings:
        if warning not in known and warning not in told:
            call.voice.warn(warning)
    return locked


def _tell_of_other_tools(call: Call, project: Project) -> None:
    """A group that is missing is missed late, and what an index has by a name of uv's sources may be a stranger's."""
    for table in dict.fromkeys(table for table, _ in project.groups_elsewhere):
        names = ", ".join(name for one, name in project.groups_elsewhere if one == table)
        how = "`zephyr import pyproject.toml` takes" if "poetry" in table else "[dependency-groups] takes"
        call.voice.warn(
            f"{project.file} has requirements in [{table}] ({names}), which are not locked; {how} them over."
        )
    required = {name_of(text) for text in project.all_requirements if not re.match(r"[^;]*@", text)}
    placed = project.placed_by_uv & required - set(asking.sources_of(call.config)) - {normalize(project.name or "")}
    if placed:
        call.voice.warn(
            f"{project.file} says in [tool.uv.sources] where {', '.join(sorted(placed))} would come from, which only uv"
            " reads; here the indexes are asked. `NAME @ PLACE` among the requirements, or `sources` in [tool.zephyr],"
            " says it to zephyr."
        )


def write(call: Call, file: Path, text: str) -> list[str]:
    """Puts a lock in its place and says what it changes; one that changes nothing is left alone."""
    before = lock_file.read(file)
    if before == text:
        return []
    changes = lock_file.changes(before, text, file)
    write_text(file, text)
    tell = call.voice.note if before is not None else call.voice.detail
    for sentence in changes:
        tell(sentence)
    return changes


def current(call: Call, client: Client) -> tuple[Project, str]:
    """The project as it is, and its lock: the file's, or a new one that is written first. Raises as `make` does."""
    from p2pcdn_shim.zephyr.lock import turn  # nearly all find a lock that fits

    with turn.of_project(call):
        project = own_build.asked(call, project_of(call), client)
        if (text := fitting(call, project)) is None:
            text = make(call, client, project, installs=True).text
            write(call, lock_file.place_of(project.file), text)
        return project, text


def fitting(call: Call, project: Project) -> str | None:
    """The text of the project's lock; None where there is none, or it belongs to another pyproject.toml."""
    text = lock_file.read(lock_file.place_of(project.file))
    if text is None or is_fresh(call, project, text):
        return text
    return text if not lock_file.inputs_of(text) else None  # another program's says itself when it is to be made anew
