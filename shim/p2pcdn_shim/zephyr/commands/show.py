"""`zephyr show`: what is known of installed packages."""

from __future__ import annotations

from argparse import ArgumentParser

from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.environment.reading import read_environment
from p2pcdn_shim.zephyr.errors import ZephyrError
from p2pcdn_shim.zephyr.pip import describing

DESCRIPTION = """Shows what installed packages say of themselves, what they need and who needs them."""


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("packages", nargs="+", metavar="PACKAGE", help="The names of installed packages.")
    parser.add_argument("--files", action="store_true", help="With the list of its files.")
    parser.add_argument("--venv", metavar="DIR", help="The environment, instead of the project's .venv.")


def run(call: Call) -> int:
    target, environment = read_environment(call)
    missing = [name for name in call.options.packages if environment.get(name) is None]
    if missing:
        raise ZephyrError(f"Not installed: {', '.join(missing)}.")
    found = [one for name in call.options.packages if (one := environment.get(name)) is not None]
    markers, lines, values = target.probe.markers, [], []
    for at, one in enumerate(found):
        lines += ["---"] if at else []
        lines += describing.described(
            one, environment, markers, files=call.options.files, verbose=call.voice.verbosity > 0
        )
        values.append(
            {
                "name": one.name,
                "version": one.version_text,
                "summary": str(one.metadata.get("Summary", "")),
                "location": str(one.location),
                "installer": one.installer,
                "requires": describing.required(one, markers),
                "required_by": describing.required_by(one, environment, markers),
            }
        )
    call.voice.answer(lines, values)
    return 0
