"""`zephyr why`: for whose sake a package is in the lock."""

from __future__ import annotations

from argparse import ArgumentParser

from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.commands.tree import packages_of, roots_of
from p2pcdn_shim.zephyr.errors import EXIT_FAILED
from p2pcdn_shim.zephyr.lock import graph, locking
from p2pcdn_shim.zephyr.project.pyproject import normalize

DESCRIPTION = (
    """Shows the ways that lead from what the project asks for to a package of its lock, the shortest first."""
)


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="Which package.")


def run(call: Call) -> int:
    project = locking.project_of(call)
    wanted = normalize(call.options.name)
    nodes = graph.nodes_of(packages_of(call, project))
    if wanted not in nodes:
        call.voice.answer([f"The lock has no {wanted}."], {"name": wanted, "ways": []})
        return EXIT_FAILED
    ways = graph.ways(wanted, roots_of(project), nodes)
    lines = [" -> ".join([way[0], *(nodes[name].label for name in way[1:])]) for way in ways]
    call.voice.answer(lines or [f"Nobody asks for {nodes[wanted].label}."], {"name": wanted, "ways": ways})
    return 0
