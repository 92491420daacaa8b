"""`zephyr venv`: environments made, listed, removed, entered."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from pathlib import Path

from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.command_line.parser import add_sub_commands
from p2pcdn_shim.zephyr.environment import activation, named, venv
from p2pcdn_shim.zephyr.errors import UsageError, ZephyrError
from p2pcdn_shim.zephyr.interpreters import finding

DESCRIPTION = """Makes, lists, removes and enters virtual environments. An environment has a name (it is kept in a
directory of yours for such things) or a path: a word with a slash, or one that begins with a dot. Without a word, the
project's own `.venv` is meant."""

_PLACE = "A name, or a path; without one the project's `.venv` is meant."


def arguments(parser: ArgumentParser) -> None:
    add = add_sub_commands(parser)
    create = add("create", _create, "Makes an environment without packages, in some milliseconds.")
    create.add_argument("place", nargs="?", metavar="NAME|PATH", help=_PLACE)
    create.add_argument("--python", metavar="PYTHON", help="A version, a range, a name on the PATH or a path.")
    create.add_argument("--prompt", metavar="TEXT", help="What the shell shows while the environment is active.")
    create.add_argument("--clear", action="store_true", help="Makes one that is there anew, without its packages.")
    create.add_argument(
        "--system-site-packages", action="store_true", help="Sees the packages of the interpreter behind it, too."
    )
    add("list", _list, "Lists the environments that have a name, and the project's.")
    remove = add("remove", _remove, "Removes an environment; anything else is left alone.")
    remove.add_argument("place", nargs="?", metavar="NAME|PATH", help=_PLACE)
    activate = add(
        "activate", _activate, 'Prints what a shell evaluates to enter one: eval "$(zephyr venv activate X)".'
    )
    activate.add_argument("place", nargs="?", metavar="NAME|PATH", help=_PLACE)
    activate.add_argument("--shell", choices=activation.SHELLS, help="The shell that will read it; else that of SHELL.")


def run(call: Call) -> int:
    return int(call.options.sub_command(call))


def _create(call: Call) -> int:
    config = call.config
    place = _place(call)
    interpreter = finding.find(config.python, config.project_file, call.directory)
    made = venv.create(
        place,
        interpreter,
        prompt=call.options.prompt,
        clear=call.options.clear,
        system_site_packages=call.options.system_site_packages,
    )
    call.voice.did(f"Made {made.path} with Python {made.version} of {interpreter.base_executable}.", _row(made))
    if not call.voice.as_json:
        call.voice.note(f"To enter it: {activation.entering_words(made.path, _shell())}")
    return 0


def _list(call: Call) -> int:
    found = list(named.named(call.config))
    own = named.project_place(call.config, call.directory)
    if (settings := venv.read_settings(own)) is not None:
        found.insert(0, venv.Environment(own, settings))
    width = max((len(str(one.path)) for one in found), default=0)
    lines = [
        f"{one.path!s:<{width}}  Python {one.version}{', whose interpreter ' * one.is_broken}{one.why_broken}"
        for one in found
    ]
    call.voice.answer(lines, [_row(one) for one in found])
    if not found:
        call.voice.note("There is no environment yet; make one with `zephyr venv create`.")
    return 0


def _remove(call: Call) -> int:
    place = _place(call)
    active = os.environ.get("VIRTUAL_ENV")
    if active and Path(active).resolve() == place.resolve():
        raise UsageError(f"{place} is active in this shell; leave it with `deactivate` first.")
    named.refuse_unnamed(call.options.place, call.config, call.directory)
    venv.remove(place)
    from p2pcdn_shim.zephyr.environment import sweeping

    sweeping.start(place, kept=0)  # former states are links to its files, and hold their room on the disk
    call.voice.did(f"Removed {place}.", {"path": str(place)})
    return 0


def _activate(call: Call) -> int:
    shell = call.options.shell or _shell()
    try:
        environment = named.open_meant(call.options.place, call.config, call.directory)
        words = activation.entering_words(environment.path, shell)
    except ZephyrError:
        # `eval` would succeed where there is nothing to evaluate; a person who looks on needs the sentence alone.
        if not (call.voice.as_json or sys.stdout.isatty()):
            call.voice.answer([activation.refusing_words(shell)], None)
        raise
    call.voice.answer([words], {"path": str(environment.path), "words": words})
    return 0


def _place(call: Call) -> Path:
    return named.place_of(call.options.place, call.config, call.directory)


def _shell() -> str:
    return activation.shell_of(os.environ)


def _row(one: venv.Environment) -> dict[str, object]:
    return {"path": str(one.path), "version": one.version, "python": str(one.python), "broken": one.is_broken}
