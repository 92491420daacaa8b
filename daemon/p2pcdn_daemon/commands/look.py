"""Commands that only look: status, peers, list, config."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click

from p2pcdn_daemon.commands import control, options, status_text
from p2pcdn_daemon.configuration.config import SETTINGS
from p2pcdn_daemon.configuration.layers import unknown_variables


@click.command()
@options.settings(*options.REACH)
@options.as_json
def status(as_json: bool, **flags: Any) -> None:
    """Says in five lines whether the node works and what it saved you.

    Exits with 0 when the node runs and is well, with 1 when it runs but is not well, and with 2 when none runs.
    """
    answer = control.connect(options.configuration(flags)).get("/v1/status")
    if as_json:
        print(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        print("\n".join(status_text.status_lines(answer)))
    sys.exit(0 if answer.get("health") == "ok" else 1)


@click.command()
@options.settings(*options.REACH)
@options.as_json
def peers(as_json: bool, **flags: Any) -> None:
    """Lists the neighbours of the node and what went to and from each of them."""
    answer = control.connect(options.configuration(flags)).get("/v1/peers")
    if as_json:
        print(json.dumps(answer, indent=2, ensure_ascii=False))
    elif not answer["peers"]:
        click.echo("No neighbour was seen; name one with --peer where multicast does not reach.", err=True)
    else:
        status_text.print_table(status_text.PEER_COLUMNS, status_text.peer_rows(answer["peers"]))
        if room := status_text.room_text(answer.get("room")):
            click.echo(f"{room}.", err=True)


@click.command(name="list")
@click.argument("projects", nargs=-1, metavar="[PROJECT]...")
@options.settings(*options.REACH)
@options.as_json
def list_(projects: tuple[str, ...], as_json: bool, **flags: Any) -> None:
    """Lists the files that the node holds, all of them or those of some projects.

    The metadata that is kept beside each wheel is left out; --json lists it too.
    """
    config = options.configuration(flags)
    wanted = {options.project(name) for name in projects}
    answer = control.connect(config).get("/v1/blobs")
    answer["blobs"] = [blob for blob in answer["blobs"] if not wanted or blob.get("project") in wanted]
    if as_json:
        print(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    if missing := wanted - {blob.get("project") for blob in answer["blobs"]}:
        click.echo(f"The node holds no file of {', '.join(sorted(missing))}.", err=True)
    elif not answer["blobs"]:
        click.echo("The node holds no file yet.", err=True)
    if answer["blobs"]:
        status_text.print_table(status_text.BLOB_COLUMNS, status_text.blob_rows(answer["blobs"], time.time()))


@click.command()
@options.settings()
@options.as_json
def config(as_json: bool, **flags: Any) -> None:
    """Shows every setting, its value, and whether a flag, the environment, the file or the default gave it."""
    found = options.configuration(flags)
    rows = {key: (found.shown(key), found.source(key)) for key in SETTINGS}
    if as_json:
        values = {key: {"value": value, "source": source} for key, (value, source) in rows.items()}
        print(json.dumps({"file": found.file and str(found.file), "settings": values}, indent=2, ensure_ascii=False))
    else:
        # The longest comes last: it widens no column.
        table = [[key, source, _cell(key, value)] for key, (value, source) in rows.items()]
        status_text.print_table(("setting", "from", "value"), table)
    for name in unknown_variables():
        click.echo(f"p2pcdn: {name} is set but is no setting of p2pcdn.", err=True)


def _cell(key: str, value: str | list[str] | None) -> str:
    if value in (None, []):
        # Up to its first semicolon; docs/configuration.md has all of it.
        return f"({SETTINGS[key].default_text.replace('`', '').partition(';')[0]})"
    return " ".join(value) if isinstance(value, list) else str(value)
