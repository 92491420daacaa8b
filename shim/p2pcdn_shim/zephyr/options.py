"""The flags that every command has, and a parser that speaks in sentences."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, HelpFormatter
from collections.abc import Callable

from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import Namespace
    from typing import NoReturn

    from p2pcdn_shim.zephyr.call import Call
    from p2pcdn_shim.zephyr.project_edit import Where

# Flags that may stand before the command and take a word with them.
WITH_A_WORD = ("--directory", "--config-file")


class Parser(ArgumentParser):
    """Raises UsageError with a sentence where argparse would print its usage and leave."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:].rstrip('.')}; see `{self.prog} --help`.")


def make_parser(name: str, description: str) -> Parser:
    """The parser of one command, still without flags."""
    return Parser(
        prog=f"zephyr {name}", description=description, add_help=False, allow_abbrev=False, formatter_class=_formatter
    )


def add_sub_commands(parser: ArgumentParser) -> Callable[[str, Callable[[Call], int], str], ArgumentParser]:
    """Commands of a command. The function that comes back adds one: its name, what runs it, its sentence.

    What was chosen stands in `options.sub_command`.
    """
    choices = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=Parser, dest="sub_command_name"
    )

    def add(name: str, run: Callable[[Call], int], sentence: str) -> ArgumentParser:
        one = choices.add_parser(
            name, help=sentence, description=sentence, add_help=False, allow_abbrev=False, formatter_class=_formatter
        )
        one.set_defaults(sub_command=run)
        add_common(one)
        return one

    return add


def _formatter(prog: str) -> HelpFormatter:
    return HelpFormatter(prog, max_help_position=28, width=100)


def add_common(parser: ArgumentParser) -> None:
    """The flags that every command has. Those of a sub-command do not overwrite what stood before it (SUPPRESS)."""
    group = parser.add_argument_group("every command has")
    group.add_argument("-h", "--help", action="help", help="Shows this.")
    group.add_argument("-v", "--verbose", action="count", default=SUPPRESS, help="Says more; twice, even more.")
    group.add_argument("-q", "--quiet", action="store_true", default=SUPPRESS, help="Says nothing but errors.")
    group.add_argument("--json", action="store_true", default=SUPPRESS, help="Answers with one JSON document.")
    group.add_argument(
        "--no-node",
        action="store_true",
        default=SUPPRESS,
        help="Works with a private node that ends with the command, instead of the one that runs.",
    )
    group.add_argument("--directory", metavar="DIR", default=SUPPRESS, help="Works as if started in DIR.")
    group.add_argument(
        "--config-file", metavar="FILE", default=SUPPRESS, help="Reads FILE instead of ~/.zephyr/config.toml."
    )


COMMON_DEFAULTS = {
    "verbose": 0, "quiet": False, "json": False, "no_node": None, "directory": None, "config_file": None
}  # fmt: skip


def add_install_flags(parser: ArgumentParser) -> None:
    """The settings of `settings.py` that every command has that fills an environment."""
    parser.add_argument("--venv", metavar="DIR", help="The environment, instead of the project's .venv.")
    parser.add_argument("--python", metavar="PYTHON", help="The interpreter of an environment that is made first.")
    parser.add_argument("--link-mode", choices=("reflink", "hardlink", "copy"), help="How files come out of the store.")
    parser.add_argument(
        "--compile-bytecode",
        action="store_true",
        default=None,
        help="Waits for the byte code; else it is linked where the store has it, and made afterwards.",
    )
    parser.add_argument(
        "--no-compile-bytecode", dest="compile_bytecode", action="store_false", help="Leaves byte code out."
    )


def add_where_flags(parser: ArgumentParser) -> None:
    """Which list of requirements is meant; see `where_of`."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--extra", dest="extra_name", metavar="NAME", help="In this extra of the project.")
    which.add_argument("--group", dest="group_name", metavar="NAME", help="In this dependency group.")
    which.add_argument("--dev", dest="group_name", action="store_const", const="dev", help="In the group dev.")


def where_of(options: Namespace) -> Where:
    """The list that the flags name, else the project's own."""
    from p2pcdn_shim.zephyr.project_edit import Where

    return Where(extra=options.extra_name, group=options.group_name)
