"""`zephyr freeze`: what is installed, as a requirements file."""

from __future__ import annotations

from argparse import ArgumentParser

from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.environment.reading import read_environment
from p2pcdn_shim.zephyr.pip import freezing
from p2pcdn_shim.zephyr.pip.commands.freeze import tools

DESCRIPTION = """Prints the packages of the environment as lines of a requirements file, with their versions or
the places that they came from."""


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="Also pip, setuptools and the like.")
    parser.add_argument("--venv", metavar="DIR", help="The environment, instead of the project's .venv.")


def run(call: Call) -> int:
    target, environment = read_environment(call)
    skip = set() if call.options.all else tools(target.version)
    found = environment.packages()
    lines = list(freezing.freeze(found, (), skip, call.voice.note, call.voice.warn))
    call.voice.answer(lines, [line for line in lines if not line.startswith("#")])
    return 0
