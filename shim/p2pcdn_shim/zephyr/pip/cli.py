"""The door of `zephyr pip`: finds the command, reads its options, and turns what goes wrong into pip's words and
codes.
"""

from __future__ import annotations

import optparse
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cached_property
from importlib import import_module
from pathlib import Path

from p2pcdn_shim.zephyr.pip import options as table
from p2pcdn_shim.zephyr.pip.configuration import Configuration
from p2pcdn_shim.zephyr.pip.errors import EXIT_ERROR, EXIT_NO_VIRTUALENV, EXIT_UNKNOWN, PipError
from p2pcdn_shim.zephyr.pip.parser import Parser
from p2pcdn_shim.zephyr.pip.target import Target, find_target
from p2pcdn_shim.zephyr.pip.voice import PipVoice
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

# What each does, in the order of the help.
COMMANDS = {
    "install": "Install packages.",
    "lock": "Generate a lock file (pylock.toml).",
    "download": "Download packages.",
    "uninstall": "Uninstall packages.",
    "freeze": "Output installed packages in requirements format.",
    "inspect": "Inspect the python environment.",
    "list": "List installed packages.",
    "show": "Show information about installed packages.",
    "check": "Verify installed packages have compatible dependencies.",
    "config": "Manage local and global configuration.",
    "cache": "Inspect and manage the wheels that were built.",
    "index": "Inspect information available from package indexes.",
    "wheel": "Build wheels from your requirements.",
    "hash": "Compute hashes of package archives.",
    "help": "Show help for commands.",
}
# What may run outside of an environment even where one is demanded.
_ANYWHERE = ("cache", "check", "config", "freeze", "hash", "help", "inspect", "list", "show")
# pip wants it before the name; here it may stand behind that of these, as in `zephyr pip install --python PATH`.
_PYTHON_BEHIND = frozenset({"install", "uninstall"})


class Run:
    """One run of one command. Used by one thread."""

    def __init__(self, command: str, options: Any, words: list[str], voice: PipVoice, target: Target) -> None:
        self.command = command
        self.options = options
        self.words = words
        self.voice = voice
        self.target = target

    @cached_property
    def cleanup(self) -> Any:
        """Whoever makes something that must be gone at the end puts it here."""
        from contextlib import ExitStack

        return ExitStack()


def main(words: Sequence[str]) -> int:
    """words: what stands behind `zephyr pip`."""
    try:
        return _main(list(words))
    except PipError as error:
        return _tell(PipVoice(), error)


def _main(words: list[str]) -> int:
    leading, name, rest = split(words)
    general = general_parser()
    early, _ = general.parse_args(leading)
    if early.version:
        from p2pcdn import __version__

        print(f"pip of zephyr {__version__} (python {find_target(early.python).short_version})")
        return 0
    if name is None or name == "help":
        return _help(rest[:1] if name else [])
    if name not in COMMANDS:
        near = get_close_matches(name, COMMANDS, n=1)
        guess = f' - maybe you meant "{near[0]}"' if near else ""
        raise PipError(f'unknown command "{name}"{guess}')
    return _command(name, leading, rest, early)


def _command(name: str, leading: list[str], rest: list[str], early: Any) -> int:
    behind = _python_in(rest)
    if behind is not None and name not in _PYTHON_BEHIND:
        raise PipError("The --python option must be placed before the pip subcommand name")
    target = find_target(behind or early.python)
    configuration = Configuration(target.prefix, isolated=early.isolated_mode or "--isolated" in rest)
    parser = command_parser(name, configuration)
    options, words = parser.parse_args([*leading, *rest])
    log = Path(options.log) if options.log else None
    voice = PipVoice(2 if options.debug_mode else options.verbose - options.quiet, color=not options.no_color, log=log)
    always = sorted(set(options.features_enabled) & set(table.ALWAYS_ENABLED))
    if always:
        voice.warn(f"The following features are always enabled: {', '.join(always)}. ")
    if options.require_venv and name not in _ANYWHERE and not target.is_environment:
        voice.error("Could not find an activated virtualenv (required).")
        return EXIT_NO_VIRTUALENV
    run = Run(name, options, words, voice, target)
    try:
        with run.cleanup:
            return int(_module(name).run(run))
    except PipError as error:
        return _tell(voice, error)
    except KeyboardInterrupt:
        voice.error("Operation cancelled by user")
        return EXIT_ERROR
    except BrokenPipeError:
        sys.stderr.write("ERROR: Pipe to stdout was broken\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 120
    except OSError as error:  # a full disk, a place that cannot be written: the user's to mend, and no fault of ours
        voice.error(f"{error}")
        return EXIT_ERROR


def _python_in(words: Sequence[str]) -> str | None:
    """What `--python` says behind a command's name."""
    for at, word in enumerate(words):
        if word == "--python":
            return words[at + 1] if at + 1 < len(words) else None
        if word.startswith("--python="):
            return word.removeprefix("--python=")
    return None


def split(words: list[str]) -> tuple[list[str], str | None, list[str]]:
    """What stands before the command, the command, and what comes after it."""
    takes = {flag for flags, settings in table.GENERAL.values() if settings.get("action") in (None, "append")
             for flag in flags}  # fmt: skip
    at = 0
    while at < len(words) and words[at].startswith("-"):
        at += 2 if words[at] in takes else 1
    if at >= len(words):
        return words, None, []
    return words[:at], words[at], words[at + 1 :]


class _Door(Parser):
    """Of what stands before a command; its help is the one that names the commands."""

    def print_help(self, file: Any = None) -> None:
        _help([])


def general_parser() -> Parser:
    parser = _Door("", None)
    parser.add_option_group(_general(parser))
    return parser


def command_parser(name: str, configuration: Configuration | None) -> Parser:
    """The parser of one command; with a configuration, what that says is the default."""
    module = _module(name)
    parser = Parser(name, configuration, usage=module.USAGE, description=module.__doc__)
    group = optparse.OptionGroup(parser, f"{name.capitalize()} Options")
    own = [name_ for name_ in table.COMMAND_OPTIONS[name] if name_ not in table.INDEX]
    index = [name_ for name_ in table.COMMAND_OPTIONS[name] if name_ in table.INDEX]
    for name_, row in table.rows(own):
        group.add_option(table.make(name_, row))
    parser.add_option_group(group)
    if index:
        indexes = optparse.OptionGroup(parser, "Package Index Options")
        for name_, row in table.rows(index):
            indexes.add_option(table.make(name_, row))
        parser.add_option_group(indexes)
    parser.add_option_group(_general(parser))
    return parser


def _general(parser: Parser) -> optparse.OptionGroup:
    group = optparse.OptionGroup(parser, "General Options")
    for name, row in table.GENERAL.items():
        group.add_option(table.make(name, row))
    return group


def _module(name: str) -> ModuleType:
    return import_module(f"p2pcdn_shim.zephyr.pip.commands.{name}")


def _help(names: list[str]) -> int:
    if names and names[0] != "help":
        if names[0] not in COMMANDS:
            raise PipError(f'unknown command "{names[0]}"')
        command_parser(names[0], None).print_help()
        return 0
    width = max(map(len, COMMANDS))
    print("\nUsage:\n  zephyr pip <command> [options]\n\nCommands:")
    for name, sentence in COMMANDS.items():
        print(f"  {name:<{width}}  {sentence}")
    print()
    print(general_parser().format_option_help())
    return 0


def _tell(voice: PipVoice, error: PipError) -> int:
    voice.error(str(error))
    if error.hint:
        voice.plain_error(error.hint)
    voice.debug(f"{type(error).__name__}: {error}")
    return error.code or EXIT_UNKNOWN
