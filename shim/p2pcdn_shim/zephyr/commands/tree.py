"""`zephyr tree`: who needs whom in the project's lock."""

from __future__ import annotations

from argparse import ArgumentParser

from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.lock import graph, lock_file, locking
from p2pcdn_shim.zephyr.project.pyproject import Project, name_of
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

DESCRIPTION = """Shows what the project asks for, what that needs, and so on, as pylock.toml has it; of some packages
only where they are named. With --invert it shows who needs them, and who needs those."""

PROJECT = "the project"


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="Begins with these packages of the lock.")
    parser.add_argument("--invert", action="store_true", help="Shows who needs what, instead of what needs whom.")
    parser.add_argument("--depth", type=int, metavar="N", help="Not deeper than N levels below what was asked for.")


def run(call: Call) -> int:
    project = locking.project_of(call)
    nodes = graph.nodes_of(packages_of(call, project))
    roots = _askers(project)
    if call.options.invert:
        roots = {node.name: [] for node in nodes.values() if not any(child in nodes for child in node.children)}
        nodes = graph.inverted(nodes)
    if call.options.names:
        roots = {name: [] for name in lock_file.known_names(lock_file.place_of(project.file), call.options.names)}
    lines = list(graph.tree(roots, nodes, call.options.depth))
    value = {"roots": list(roots), "packages": {node.name: list(node.children) for node in nodes.values()}}
    call.voice.answer(lines or ["The project asks for nothing."], value)
    return 0


def packages_of(call: Call, project: Project) -> list[Mapping[str, Any]]:
    """The packages of the project's lock. Raises UsageError where there is none."""
    file = lock_file.place_of(project.file)
    text = lock_file.read(file)
    if text is None:
        raise UsageError(f"There is no {file}; `zephyr lock` makes it.")
    if not project.awaits_its_build and not locking.is_fresh(call, project, text):
        call.voice.note(f"{file} was made of another pyproject.toml, or of other settings; this is what it says.")
    return lock_file.packages_of(text, file)


def roots_of(project: Project) -> dict[str, list[str]]:
    """By who asks the projects that he asks for."""
    asked = {PROJECT: project.dependencies}
    asked |= {f"extra {name}": texts for name, texts in project.extras.items()}
    asked |= {f"group {name}": texts for name, texts in project.groups.items()}
    return {who: list(dict.fromkeys(map(name_of, texts))) for who, texts in asked.items()}


def _askers(project: Project) -> dict[str, list[str]]:
    """What is asked for, each with the extras and groups that ask; nobody for what the project itself requires."""
    asked: dict[str, list[str]] = {}
    for who, names in roots_of(project).items():
        for name in names:
            asked.setdefault(name, []).append(who)
    return {name: [] if PROJECT in askers else askers for name, askers in asked.items()}
