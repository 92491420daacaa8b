"""`zephyr python list`: the interpreters that environments can be made with."""

from __future__ import annotations

from argparse import ArgumentParser

from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.command_line.parser import add_sub_commands
from p2pcdn_shim.zephyr.interpreters import finding
from p2pcdn_shim.zephyr.interpreters.probes import Probe

DESCRIPTION = """Shows the interpreters of Python 3.8 and newer on this machine: those on the PATH, pyenv's, those that
the platform keeps elsewhere, and the one that runs zephyr. Each is asked once and remembered until it changes."""


def arguments(parser: ArgumentParser) -> None:
    add = add_sub_commands(parser)
    add("list", _list, "Lists them, in the order in which they would be taken.")
    find = add("find", _find, "Prints the path of the one that would be taken.")
    find.add_argument("python", nargs="?", metavar="PYTHON", help="A version, a range, a name on the PATH or a path.")


def run(call: Call) -> int:
    return int(call.options.sub_command(call))


def _list(call: Call) -> int:
    found = finding.every(call.directory)
    lines = [f"{one.full_version:<10} {one.executable}{_remarks(one)}" for one in found]
    call.voice.answer(lines, [_row(one) for one in found])
    return 0


def _find(call: Call) -> int:
    config = call.config
    found = finding.find(config.python, config.project_file, call.directory)
    call.voice.answer([found.executable], _row(found))
    return 0


def _remarks(one: Probe) -> str:
    remarks = [
        one.implementation if one.implementation != "cpython" else "",
        "free-threaded" if one.free_threaded else "",
        "an environment" if one.is_environment else "",
        "managed by the system" if one.externally_managed is not None else "",
    ]
    said = ", ".join(filter(None, remarks))
    return f"  ({said})" if said else ""


def _row(one: Probe) -> dict[str, object]:
    return {
        "version": one.full_version,
        "implementation": one.implementation,
        "executable": one.executable,
        "base_executable": one.base_executable,
        "free_threaded": one.free_threaded,
        "is_environment": one.is_environment,
        "externally_managed": one.externally_managed is not None,
        "platform": one.platform,
    }
