"""What several commands share: flags made from the table of settings, and how a list of commands looks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from p2pcdn_daemon.configuration.config import SETTINGS, Config, Setting
from p2pcdn_daemon.configuration.kinds import FLAG
from p2pcdn_daemon.configuration.layers import resolve

Function = TypeVar("Function", bound=Callable[..., Any])

# What a command needs to find the node that runs.
REACH = ("control-socket", "store")
# The same two settings in the words of whoever asks.
_ASKING = {
    "control-socket": "Asks the node that listens on this unix socket, instead of your usual one.",
    "store": "Asks the node of this store, instead of your usual one.",
}


# Longer than the first sentence of any command.
SENTENCE_LENGTH_MAX = 300


class InOrder(click.Group):
    """Lists the commands in the order in which a new user meets them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each command with its whole first sentence; click would cut it."""
        rows = [(name, command.get_short_help_str(SENTENCE_LENGTH_MAX)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def settings(*keys: str) -> Callable[[Function], Function]:
    """Gives a command the flags of these settings (all, without keys) and --config; it receives them as `**flags`."""

    def decorate(function: Function) -> Function:
        for key in reversed(keys or tuple(SETTINGS)):
            function = _option(SETTINGS[key], _ASKING.get(key) if keys else None)(function)
        return click.option(
            "--config",
            "config_file",
            metavar="FILE",
            help="Reads this configuration file instead of the usual one (also P2PCDN_CONFIG).",
        )(function)

    return decorate


def as_json(function: Function) -> Function:
    """Gives a command the flag --json."""
    return click.option("--json", "as_json", is_flag=True, help="Prints one JSON object instead of text.")(function)


def configuration(flags: dict[str, Any]) -> Config:
    """The configuration that the flags of `settings` mean. Raises ConfigError."""
    config_file = flags.pop("config_file")
    return resolve({name.replace("_", "-"): value for name, value in flags.items()}, config_file=config_file)


def _option(setting: Setting, help_text: str | None) -> Callable[[Function], Function]:
    help_text = help_text or f"{setting.help} Default: {setting.default_for_docs().replace('`', '')}."
    if setting.kind is FLAG:
        return click.option(
            f"{setting.flag}/--{setting.off}", setting.field_name, is_flag=True, default=None, help=setting.help
        )
    return click.option(
        setting.flag,
        setting.field_name,
        metavar=setting.kind.metavar,
        multiple=setting.many,
        default=None,
        help=help_text + (" May be repeated." if setting.many else ""),
    )


def project(name: str) -> str:
    """The normalized name of a project. Raises click.UsageError."""
    from p2pcdn.names import normalize_project

    try:
        return normalize_project(name)
    except ValueError as error:
        raise click.UsageError(f"{name[:80]!r} is not the name of a project.") from error
