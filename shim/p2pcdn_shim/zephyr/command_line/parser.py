"""A parser of flags that speaks in sentences."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, HelpFormatter
from collections.abc import Callable

from p2pcdn_shim.zephyr.command_line.common_flags import add_common
from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, NoReturn

    from p2pcdn_shim.zephyr.command_line.call import Call


# What stands in the help for the command of a command.
SUB_COMMAND = "COMMAND"


# For who knows pip's flag, or leaves it out.
OF_A_FILE = (
    "`zephyr import FILE` takes a requirements file over into the project, `zephyr pip install -r FILE` installs it"
)


class Parser(ArgumentParser):
    """Raises UsageError with a sentence where argparse would print its usage and leave.

    The common flags are added when it is used: of a command's parsers, one at most is.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, add_help=False, allow_abbrev=False, formatter_class=_formatter)
        self._is_whole = False

    def complete(self) -> None:
        """Adds the common flags behind the command's own, once."""
        if not self._is_whole:
            self._is_whole = True
            group = self.add_argument_group("every command has")
            group.add_argument("-h", "--help", action="help", help="Shows this.")
            add_common(group, SUPPRESS)

    def parse_known_args(self, *words: Any, **more: Any) -> Any:
        self.complete()
        return super().parse_known_args(*words, **more)

    def error(self, message: str) -> NoReturn:
        said = f"{message[:1].upper()}{message[1:].rstrip('.')}"
        if message.endswith(f"required: {SUB_COMMAND}"):
            said = f"Name a command after `{self.prog}`: {', '.join(self._sub_commands())}"
        raise UsageError(f"{said}{self._meant(message)}; see `{self.prog} --help`.")

    def _sub_commands(self) -> list[str]:
        return [name for action in self._actions if action.metavar == SUB_COMMAND for name in action.choices or ()]

    def _meant(self, message: str) -> str:
        """The flag that is written almost like the first one that nobody knows."""
        words = message.removeprefix("unrecognized arguments: ").split(" ")
        if words[0] in ("-r", "--requirement", "--requirements"):
            return f"; {OF_A_FILE}"
        if words[0] == message.partition(" ")[0] or not words[0].startswith("--"):
            return ""
        from difflib import get_close_matches

        near = get_close_matches(words[0].partition("=")[0], self._option_string_actions, n=1)
        return f"; did you mean {near[0]}" if near else ""


def add_sub_commands(parser: ArgumentParser) -> Callable[[str, Callable[[Call], int], str], ArgumentParser]:
    """Commands of a command. The function that comes back adds one: its name, what runs it, its sentence.

    What was chosen stands in `options.sub_command`.
    """
    choices = parser.add_subparsers(
        title="commands", metavar=SUB_COMMAND, required=True, parser_class=Parser, dest="sub_command_name"
    )

    def add(name: str, run: Callable[[Call], int], sentence: str) -> ArgumentParser:
        one = choices.add_parser(name, help=sentence, description=sentence)
        one.set_defaults(sub_command=run)
        return one

    return add


def _formatter(prog: str) -> HelpFormatter:
    return HelpFormatter(prog, max_help_position=28, width=100)
