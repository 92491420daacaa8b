"""`zephyr export requirements`: the lock, or what the project asks for, as a requirements file for other tools."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.command_line.parser import add_sub_commands
from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.machine.files import write_text
from p2pcdn_shim.zephyr.project.pyproject import read_project

DESCRIPTION = """Writes what this project installs in the form of another tool."""


def arguments(parser: ArgumentParser) -> None:
    add = add_sub_commands(parser)
    one = add(
        "requirements",
        _requirements,
        "A requirements file: the versions and hashes of pylock.toml, or without one what the project asks for.",
    )
    one.add_argument("--output", metavar="FILE", help="Writes it there instead of printing it.")
    one.add_argument("--extra", action="append", default=[], metavar="NAME", help="With what this extra asks for.")
    one.add_argument("--group", action="append", default=[], metavar="NAME", help="With what this group asks for.")
    one.add_argument("--no-hashes", action="store_true", help="Leaves the hashes out.")


def run(call: Call) -> int:
    return int(call.options.sub_command(call))


def _requirements(call: Call) -> int:
    options = call.options
    if call.config.project_file is None:
        raise UsageError(f"There is no pyproject.toml in {call.directory} or above it.")
    lock = call.config.project_file.with_name("pylock.toml")
    if lock.is_file():
        from p2pcdn_shim.zephyr.lock.export import requirements_of

        lines = requirements_of(lock, options.extra, options.group, hashes=not options.no_hashes)
    else:
        call.voice.note(f"There is no {lock.name}: this is what the project asks for, without versions and hashes.")
        from p2pcdn_shim.zephyr.lock import own_build

        project = own_build.asked(call, read_project(call.config.project_file))
        lines = project.requirements(extras=options.extra, groups=options.group)
    if options.output is None:
        call.voice.answer(lines, {"requirements": lines})
        return 0
    file: Path = call.directory / options.output
    write_text(file, "".join(f"{line}\n" for line in lines))
    call.voice.did(f"Wrote {file}.", {"file": str(file), "requirements": lines})
    return 0
