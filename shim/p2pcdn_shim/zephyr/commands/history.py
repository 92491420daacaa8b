"""`zephyr history`: what was done to an environment, when, by which command, and where it came from."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator

from p2pcdn.envs.generations import Environment
from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.environment import named
from p2pcdn_shim.zephyr.environment.recovering import recover
from p2pcdn_shim.zephyr.terminal.width import columns_of, lines_of
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

DESCRIPTION = """Shows every change of the environment, the newest first: when, by which command, what came and went.
With -v also from which index, under which hash, who gave the bytes, and who published them where that is attested. `*`
marks what `rollback` can go back to."""


# As wide as a generation's number and its mark.
_INDENT = " " * 7


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--venv", metavar="DIR", help="The environment, instead of the project's .venv.")


def run(call: Call) -> int:
    place = named.project_place(call.config, call.directory)
    recover(call, place)
    environment = Environment(str(place), command="", now_s=0.0)
    entries = environment.history()
    kept = {one["generation"] for one in environment.generations()}
    # On a terminal as wide as that is; elsewhere a line is a whole entry, for `grep`.
    columns = columns_of(sys.stdout) if sys.stdout.isatty() else None
    verbose = call.voice.verbosity > 0
    lines = [line for entry in reversed(entries) for line in lines_of_entry(entry, kept, columns, verbose=verbose)]
    call.voice.answer(lines or [f"Nothing was done to {place} yet."], entries)
    return 0


def lines_of_entry(entry: dict[str, Any], kept: set[int], columns: int | None, *, verbose: bool) -> Iterator[str]:
    """What is said of one change. kept: the generations that can be gone back to. columns: None: no matter how long."""
    number = entry.get("generation", 0)
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.get("at_s", 0)))
    added, removed = entry.get("added", []), entry.get("removed", [])
    what = [
        *(f"+{one['project']} {one['version']}" for one in added),
        *(f"-{one['project']} {one['version']}" for one in removed),
    ] or ["nothing new"]
    head = f"{'*' if number in kept else ' '} {number:>3}  {when}  {entry.get('command', '?')}"
    if columns is None:
        yield f"{head}: {', '.join(what)}"
    else:
        yield head
        yield from lines_of(what, ", ", _INDENT, columns)
    for one in added if verbose else ():
        origin = one.get("index") or "no index"
        published = f"; published by {one['attested']}" if one.get("attested") else ""
        said = [one["file"], f"sha256:{one['sha256']}", origin, f"({one.get('from', '?')}{published})"]
        if columns is None:
            yield _INDENT + "  ".join(said)
        else:
            yield from lines_of(said, "  ", _INDENT, columns)
