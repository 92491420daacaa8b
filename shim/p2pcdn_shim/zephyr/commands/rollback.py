"""`zephyr rollback`: an environment as it was before."""

from __future__ import annotations

import time
from argparse import ArgumentParser

from p2pcdn.envs.errors import CannotInstall
from p2pcdn.envs.generations import Environment
from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.environment import named, sweeping, venv
from p2pcdn_shim.zephyr.errors import UsageError, ZephyrError
from p2pcdn_shim.zephyr.lock import lock_file

DESCRIPTION = """Makes the environment hold again what an earlier generation of it held: the one before, or the one
whose number is given (`zephyr history` lists them). Needs neither network nor node; pyproject.toml and pylock.toml
stay."""


# No environment has ever been changed so often, and Python refuses to read thousands of digits.
DIGITS_MAX = 18


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("generation", nargs="?", metavar="N", help="Which generation; else the one before.")
    parser.add_argument("--venv", metavar="DIR", help="The environment, instead of the project's .venv.")


def run(call: Call) -> int:
    generation = _generation(call.options.generation)
    place = named.project_place(call.config, call.directory)
    if call.options.venv is None:
        named.refuse_unmade(call.config, place)
    venv.open_environment(place)
    try:
        with Environment(str(place), command=call.command, now_s=time.time()).locked(
            wait=call.voice.note
        ) as environment:
            outcome = environment.rollback(generation)
    except CannotInstall as error:
        raise ZephyrError(str(error)) from error
    for sign, names in (("-", outcome.removed), ("+", outcome.added)):
        for name in names:
            call.voice.row(f"{sign} {name}")
    value = {
        "environment": str(place),
        "generation": outcome.generation,
        "rollback_to": outcome.went_to,
        "added": list(outcome.added),
        "removed": list(outcome.removed),
    }
    call.voice.did(
        f"{place} holds again what generation {outcome.went_to} held; that is generation {outcome.generation}.", value
    )
    project_file = call.config.project_file
    if project_file is not None and lock_file.place_of(project_file).exists():
        call.voice.note(
            "pyproject.toml and pylock.toml stay, and the next sync follows them: bring their former state back, too,"
            " if you want to stay here."
        )
    sweeping.start(place, call.config.generations)
    return 0


def _generation(word: str | None) -> int | None:
    """The number that was typed; None where there is none. Raises UsageError."""
    if word is None or (word.isascii() and word.isdecimal() and len(word) <= DIGITS_MAX):
        return int(word) if word is not None else None
    raise UsageError(
        f"{word[:60]!r} is no generation. Each change of the environment has a number, its generation, and"
        " `zephyr history` lists them; without one, `zephyr rollback` goes back to the one before."
    )
