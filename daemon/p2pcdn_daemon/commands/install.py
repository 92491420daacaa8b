"""Commands that bring an installer and the node together: setup, run, prefetch, demo."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from p2pcdn_daemon.commands import control, options
from p2pcdn_daemon.configuration.config import Config

# What stands after COMMAND belongs to it.
_AS_TYPED = {"allow_interspersed_args": False}


@click.command(context_settings=_AS_TYPED)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
@click.option(
    "--ephemeral",
    is_flag=True,
    help="Starts a node for COMMAND alone, with a temporary store, and ends it with COMMAND. "
    "Its settings come from the environment and the configuration file.",
)
@options.settings(*options.REACH)
def run(command: tuple[str, ...], ephemeral: bool, **flags: Any) -> None:
    """Runs COMMAND with its package index set to this node and nothing else changed.

    pip, uv, pdm and pipenv read the index from their environment; poetry does not: use `p2pcdn setup poetry`. The exit
    code is that of COMMAND, or 2 when no node runs.
    """
    config = options.configuration(flags)
    if Path(command[0]).name == "poetry":
        click.echo("p2pcdn: poetry takes its index from pyproject.toml only; use `p2pcdn setup poetry`.", err=True)
    if ephemeral:
        sys.exit(_run_with_its_own_node(command, config))
    from p2pcdn_daemon.clients.environment import index_environment

    environ = index_environment(_index_url(control.connect(config)), os.environ)
    sys.stdout.flush()
    try:
        os.execvpe(command[0], command, environ)
    except OSError as error:
        from p2pcdn_daemon.serve.errand import say_cannot_run

        sys.exit(say_cannot_run(command[0], error))


def _run_with_its_own_node(command: tuple[str, ...], config: Config) -> int:
    from p2pcdn_daemon.serve.ephemeral import for_one_job
    from p2pcdn_daemon.serve.errand import Errand
    from p2pcdn_daemon.serve.run import serve

    with for_one_job(config) as config:
        return serve(config, errand=Errand(command))


def _index_url(node: control.Control) -> str:
    """The index of a node; with the private ones behind it, since whoever may ask its control socket may use them."""
    return _url_for_clients(node.get("/v1/status"))


def _url_for_clients(status: dict[str, Any]) -> str:
    return str(status.get("private_index_url") or status["index_url"])


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("requirements", nargs=-1, type=click.UNPROCESSED, metavar="REQUIREMENT...")
@click.option(
    "-r", "--requirement", "files", multiple=True, metavar="FILE", help="Takes the requirements in this file."
)
@click.option("--python", metavar="PYTHON", help="The interpreter whose pip is used; else the `python3` on the PATH.")
@options.settings(*options.REACH)
def prefetch(requirements: tuple[str, ...], files: tuple[str, ...], python: str | None, **flags: Any) -> None:
    """Fetches packages and all that they need into the node, so that an install later waits for nobody.

    Your own pip downloads them through the node into a directory that is thrown away. Options that pip download knows,
    such as --only-binary=:all:, are passed on to it. Exits with 1 when pip failed.
    """
    from p2pcdn_daemon.commands import prefetch as fetching

    if not requirements and not files:
        raise click.UsageError("Name a requirement, or a file of them with -r")
    node = control.connect(options.configuration(flags))
    wanted = [*requirements, *(word for file in files for word in ("-r", file))]
    sys.exit(0 if fetching.prefetch(node, _index_url(node), wanted, python=python) else 1)


@click.command()
@click.argument("what", type=click.Choice(["pip", "uv", "poetry", "pdm", "systemd"]))
@click.option("--undo", is_flag=True, help="Takes back what setup changed.")
@click.option("--user", is_flag=True, help="For systemd: installs the units of your user instead of the system's.")
@options.settings(*options.REACH)
def setup(what: str, undo: bool, user: bool, **flags: Any) -> None:
    """Points an installer at this node for good, or installs the systemd units; prints what it changed.

    The index that the installer used until now stays the node's upstream.
    """
    if what == "systemd":
        from p2pcdn_daemon.serve import systemd

        lines = systemd.uninstall(user=user) if undo else systemd.install(user=user)
    else:
        if user:
            raise click.UsageError("--user belongs to `p2pcdn setup systemd`")
        lines = _undo_client(what) if undo else _setup_client(what, options.configuration(flags))
    print("\n".join(lines))


def _setup_client(client: str, config: Config) -> list[str]:
    from p2pcdn_daemon.clients import own_upstreams, setup_clients

    node = control.connect(config)
    status = node.get("/v1/status")
    change = setup_clients.apply(client, _url_for_clients(status), project=_project(client))
    lines = [f"{change.path}: {client} now takes its packages from this node." if change.changed else
             f"{change.path}: {client} takes its packages from this node already."]  # fmt: skip
    lines += own_upstreams.keep(config, change.previous_upstreams, status)
    return [*lines, *change.notes, f"To undo: p2pcdn setup {client} --undo"]


def _undo_client(client: str) -> list[str]:
    from p2pcdn_daemon.clients import setup_clients

    change = setup_clients.undo(client, project=_project(client))
    return [*([f"{change.path}: is as it was."] if change.changed else []), *change.notes]


def _project(client: str) -> Path | None:
    """Poetry's index belongs to the project in the current directory; the others have one for all."""
    return Path.cwd() if client == "poetry" else None


@click.command()
@click.option("--keep", is_flag=True, help="Leaves the directory of the demonstration behind and names it.")
def demo(keep: bool) -> None:
    """Shows within half a minute where every byte of an install comes from.

    Starts an index of its own with packages that it makes, two nodes and a pip install on each, all on this machine and
    in a temporary directory. Exits with 1 when the second node asked the index for a file that the first one had.
    """
    from p2pcdn_daemon.commands import demo as demonstration

    sys.exit(demonstration.run(keep=keep))
