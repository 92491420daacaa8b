"""`zephyr check`: whether what is installed fits together."""

from __future__ import annotations

from argparse import ArgumentParser

from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.environment.reading import read_environment
from p2pcdn_shim.zephyr.pip import checking
from p2pcdn_shim.zephyr.terminal.voice import packages as count

DESCRIPTION = """Says which installed packages need others that are not there, or are there in another version,
and which were made for another platform or Python. Exit code 1 where there are any."""


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--venv", metavar="DIR", help="The environment, instead of the project's .venv.")


def run(call: Call) -> int:
    target, environment = read_environment(call)
    found = environment.packages()
    packages, broken = checking.packages_of(found, target.probe.markers, call.voice.warn)
    wrong = [str(one) for one in checking.problems(packages)]
    wrong += [
        f"{one.name} {one.version_text} is not supported on this platform."
        for one in checking.unsupported(found, target.probe.tags)
    ]
    fits = "1 package is there, and lacks nothing." if len(found) == 1 else f"{count(len(found))} fit together."
    call.voice.answer(wrong or ([] if broken else [fits]), wrong)
    return 1 if wrong or broken else 0
