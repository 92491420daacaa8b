"""What a project leaves to its own build to say of it: asked of the node, and remembered while its files stay."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path

from p2pcdn.envs.places import make_ignored
from p2pcdn_shim.zephyr import settled
from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.environment import named
from p2pcdn_shim.zephyr.environment.interpreter import interpreter_at, interpreter_of
from p2pcdn_shim.zephyr.errors import UsageError, ZephyrError
from p2pcdn_shim.zephyr.interpreters.probes import Probe
from p2pcdn_shim.zephyr.lock.build_files import key_of, note_of
from p2pcdn_shim.zephyr.machine.files import write_text
from p2pcdn_shim.zephyr.project.marker_text import left_of
from p2pcdn_shim.zephyr.project.pyproject import BuildSays, Project, head_and_marker, normalize
from p2pcdn_shim.zephyr.terminal.progress import Progress
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from p2pcdn_shim.client import Client


# Counted up when the same metadata would be understood otherwise.
FORMAT = 1


def asked(call: Call, project: Project, client: Client | None = None, *, anew: bool = False) -> Project:
    """The project with what its build says, which is asked where that is not remembered; or in any case, anew.

    As for a directory that is required, its wheel is not built where the backend can do without (PEP 517).
    Raises NodeRefused where the build fails or may not be, ZephyrError where there is no interpreter.
    """
    if not project.leaves_needs_to_its_build or not (anew or project.awaits_its_build):
        return project
    interpreter = _interpreter(call)
    key = key_of(project.file.parent, *_builder(interpreter))
    with nullcontext(client) if client is not None else call.node() as node:
        told = _ask(call, node, project, interpreter_of(call, interpreter))
    said = _understood(told, project)
    if key:
        _remember(project.file.parent, key, told)
    return project.as_built(said)


def remembered(call: Call, project: Project) -> Project:
    """The same, where nothing has changed since its build was asked; else the project as it is. Asks nobody."""
    if not project.awaits_its_build or not (note := note_of(project.file.parent)).exists():
        return project
    import json

    with suppress(OSError, ValueError, TypeError, LookupError, ZephyrError):
        known = json.loads(settled.read(str(note)))
        if known["key"] == key_of(project.file.parent, *_builder(_interpreter(call))):
            return project.as_built(_understood(known["told"], project))
    return project


def digest_of(said: BuildSays | None) -> str:
    """Names what a build said; "" for nothing."""
    return settled.digest(repr(said)) if said is not None else ""


def _interpreter(call: Call) -> Probe:
    return interpreter_at(call, named.project_place(call.config, call.directory))


def _builder(interpreter: Probe) -> tuple[str, ...]:
    return str(FORMAT), interpreter.base_executable, interpreter.full_version


def _remember(root: Path, key: str, told: Any) -> None:
    """A project that cannot be written to is asked again each time."""
    import json

    with suppress(OSError, ZephyrError):
        make_ignored(str(note_of(root).parent))
        write_text(note_of(root), json.dumps({"key": key, "told": told}))  # readable for a build, which sees the tree


def _ask(call: Call, client: Client, project: Project, builder: dict[str, Any]) -> Any:
    from p2pcdn_shim.client import NodeRefused

    root = project.file.parent
    try:
        with Progress(call.voice, f"Asking the build of {project.name or root.name}", at_once=True):
            return client.post("/v1/needs", {"directory": str(root), **builder})
    except NodeRefused as error:
        why = f"{project.file} leaves it to its build to say what the project needs, and that cannot be had: {error}"
        raise NodeRefused(why, status=error.status, problem=error.problem) from error


def _understood(told: Any, project: Project) -> BuildSays:
    """Raises UsageError for requirements that cannot be read."""
    lines, extras = told["requires_dist"], [normalize(name) for name in told["provides_extra"]]
    return BuildSays(
        name=told["name"],
        requires_python=told["requires_python"],
        dependencies=_required(lines, "", project),
        extras={name: _required(lines, name, project) for name in extras},
    )


def _required(lines: Iterable[str], extra: str, project: Project) -> tuple[str, ...]:
    """What an extra adds, without the `extra == …` by which METADATA tells that; with "", what is always required."""
    found: list[str] = []
    for line in lines:
        head, marker = head_and_marker(line)
        try:
            always = left_of(marker, partial(_decided, "")) if marker else True
            here = left_of(marker, partial(_decided, extra)) if marker else True
        except ValueError as error:
            raise UsageError(f"{project.file}: its build says that it requires {line[:200]!r}; {error}.") from error
        if here is not False and (not extra or here != always):
            found.append(head if here is True else f"{head} ; {here}")
    return tuple(dict.fromkeys(found))


def _decided(wanted: str, left: str, operator: str, right: str) -> bool | None:
    """What a comparison with `extra` comes to, where this one is wanted; nothing of others."""
    if "extra" not in (left, right):
        return None
    same = normalize((right if left == "extra" else left).strip("'\"")) == wanted
    return {"==": same, "!=": not same}.get(operator)
