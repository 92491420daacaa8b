"""`zephyr list`: what is in an environment."""

from __future__ import annotations

from argparse import ArgumentParser

from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.environment import named
from p2pcdn_shim.zephyr.environment.installed import installed
from p2pcdn_shim.zephyr.environment.recovering import recover
from p2pcdn_shim.zephyr.project.pyproject import normalize

DESCRIPTION = """Lists the packages of the environment (.venv; --venv names another), whoever installed them."""


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--venv", metavar="DIR", help="The environment, instead of the project's .venv.")


def run(call: Call) -> int:
    place = named.project_place(call.config, call.directory)
    if call.options.venv is None:
        named.refuse_unmade(call.config, place)
    recover(call, place)
    found = sorted(installed(place), key=lambda pair: normalize(pair[0]))
    width = max((len(name) for name, _ in found), default=0)
    call.voice.answer(
        [f"{name:<{width}}  {version}" for name, version in found],
        [{"name": name, "version": version} for name, version in found],
    )
    return 0
