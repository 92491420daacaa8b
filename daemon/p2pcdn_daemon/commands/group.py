"""The commands of a group's key: create, join, show."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pcdn_daemon.commands import control, options
from p2pcdn_daemon.commands.control import NodeRefused, NoNode
from p2pcdn_daemon.configuration.config import Config, ConfigError
from p2pcdn_daemon.configuration.layers import GROUP_KEY_VARIABLE

if TYPE_CHECKING:
    from p2pcdn.group import GroupKey

# A pasted line is shorter; more is a file by mistake.
_LINE_SIZE_MAX = 4096
_KEYS = (*options.REACH, "group-key-file")

_replace = click.option("--replace", is_flag=True, help="Takes the new key in place of the one that is here.")


@click.group(cls=options.InOrder)
def group() -> None:
    """Makes, takes and shows the key of a group of machines that trust each other.

    Members give each other the files of private indexes that say `share = "group"`, and believe each other about pages
    while there is no upstream. Who is no member gets nothing from them.
    """


@group.command()
@_replace
@options.settings(*_KEYS)
def create(replace: bool, **flags: Any) -> None:
    """Makes a new group with this machine in it, and prints its key: one line for the other machines.

    The line stands alone on stdout; what to do with it is said on stderr.
    """
    from p2pcdn.group import GroupKey

    config = options.configuration(flags)
    key = GroupKey.from_seed(os.urandom(32))
    path = _keep(config, key, replace)
    _say(f"Made group {key.tag}; its key is kept in {path}, for you only.")
    _say("On every other machine run `p2pcdn group join`, and give it this line:")
    print(key.line, flush=True)
    _say("Whoever has the line is a member; hand it on as you would a password.")
    _say_what_is_next(config, key)


@group.command()
@click.argument("line", required=False, metavar="[LINE]")
@_replace
@options.settings(*_KEYS)
def join(line: str | None, replace: bool, **flags: Any) -> None:
    """Takes a group's key, so that this machine is a member: the line that `p2pcdn group create` printed.

    Without LINE, or with -, it is read from stdin, and stands in no shell history.
    """
    from p2pcdn.group import GroupKey

    config = options.configuration(flags)
    given = line is not None and line != "-"
    try:
        key = GroupKey.parse(line if given and line is not None else _read_line())
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if given:
        _say("The line is in your shell's history now; `p2pcdn group join` alone reads it from stdin.")
    path = _keep(config, key, replace)
    _say(f"This machine is in group {key.tag}; the key is kept in {path}, for you only.")
    _say_what_is_next(config, key)


@group.command()
@click.option("--secret", is_flag=True, help="Prints the key itself, the line for another machine.")
@options.settings(*_KEYS)
@options.as_json
def show(secret: bool, as_json: bool, **flags: Any) -> None:
    """Says which group this machine is in, and how many members its node reaches; with --secret prints the key.

    The name of a group is not secret: 16 digits that follow from the key. Exits with 1 where there is no group.
    """
    from p2pcdn_daemon.configuration import group_key

    config = options.configuration(flags)
    found = group_key.find(config)
    if secret:
        if found is None:
            raise ConfigError("This machine is in no group; `p2pcdn group create` makes one.")
        print(found.key.line)
        return
    node = _running(config)
    if as_json:
        answer = {
            "group": found and found.key.tag,
            "source": found and found.source,
            "node": None if node is None else {"group": node.get("group"), "members": _members(node)},
        }
        print(json.dumps(answer, indent=2))
    elif found is None:
        print("This machine is in no group: it shares public files with everyone near, and nothing else.")
    else:
        print(f"Group {found.key.tag}, from {found.source}.")
        if node is None:
            print("No node runs here.")
        elif node.get("group") == found.key.tag:
            others = _members(node)
            print(f"The node reaches {others} other {'member' if others == 1 else 'members'}.")
        else:
            print(_restart(node))
    sys.exit(0 if found is not None else 1)


# --- below


def _keep(config: Config, key: GroupKey, replace: bool) -> Path:
    """Keeps the key in its file. Raises ConfigError where another one is there and is not to be replaced."""
    from p2pcdn_daemon.configuration import group_key

    path = group_key.place(config)
    if path is None:
        raise ConfigError(f"The configuration {config.file} is no place for a key; name a file by --group-key-file.")
    if path.exists() and not replace:
        there = group_key.read(path)
        if there == key:
            return path
        raise ConfigError(f"This machine is in group {there.tag} already, by {path}; --replace takes the new key.")
    group_key.keep(path, key)
    return path


def _read_line() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("The group's key (it is not shown)", hide_input=True, err=True))
    line = sys.stdin.readline(_LINE_SIZE_MAX)
    if not line.strip():
        raise ConfigError(
            "No line came on stdin. Give `p2pcdn group join` the one that `p2pcdn group create` printed on another "
            "machine: through a pipe, or typed where nothing is piped."
        )
    return line


def _say_what_is_next(config: Config, key: GroupKey) -> None:
    if os.environ.get(GROUP_KEY_VARIABLE, "").strip():
        _say(f"{GROUP_KEY_VARIABLE} is set here and counts more than the file; take it away.")
    node = _running(config)
    if node is None:
        _say("The next node that starts here is a member.")
    elif node.get("group") != key.tag:
        _say(_restart(node))


def _restart(node: dict[str, Any]) -> str:
    now = f"in group {node['group']}" if node.get("group") else "in no group"
    return (
        f"The node that runs is {now}: restart it (`systemctl restart p2pcdn`, `systemctl --user restart p2pcdn`, or "
        "stop `p2pcdn serve` and start it again)."
    )


def _running(config: Config) -> dict[str, Any] | None:
    """What the node says of itself; None where none runs."""
    try:
        return control.connect(config).get("/v1/status")
    except (NoNode, NodeRefused):
        return None


def _members(node: dict[str, Any]) -> int:
    return int((node.get("room") or {}).get("members", 0))


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)
