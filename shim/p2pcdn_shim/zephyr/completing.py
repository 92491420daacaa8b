"""What a shell is told at each Tab: the words that may stand where somebody types, and what they mean."""

from __future__ import annotations

import re
from argparse import REMAINDER, Action, ArgumentParser, _SubParsersAction
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.command_line.common_flags import COMMON_DEFAULTS, WITH_A_WORD, split
from p2pcdn_shim.zephyr.command_line.parser import Parser
from p2pcdn_shim.zephyr.commands import COMMANDS, load
from p2pcdn_shim.zephyr.errors import ZephyrError
from p2pcdn_shim.zephyr.terminal.voice import Voice
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import Namespace

# What a shell completes by itself.
FILES, RUNNABLE = ":files", ":commands"
# A shell inserts a word as it is: what a stranger's project calls `x$(reboot)` would be run at the next Enter.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def answer(words: Sequence[str]) -> int:
    """Prints what may stand in the place of the last of these words. Of a mistake in the others nothing is said."""
    try:
        for line in dict.fromkeys(candidates(words)):
            print(line)
    except ZephyrError:
        pass  # who types it to its end is told then
    return 0


def candidates(words: Sequence[str]) -> Iterator[str]:
    """Lines: a word and what it means, with a tab between them; or what the shell is to complete by itself.

    Raises ZephyrError where the words before cannot be meant, or a file of the user's cannot be read.
    """
    *before, typed = words or [""]
    leading, name, rest = split(list(before))
    if name is None and not (leading and leading[-1] in WITH_A_WORD):
        parser = Parser(prog="zephyr")
        parser.complete()
        yield from _flags(parser, leading, typed) if typed.startswith("-") else _named(COMMANDS, typed)
    elif name is None:
        yield FILES
    elif name == "help":
        yield from _named(COMMANDS, typed)
    elif name == "pip":
        yield from _of_pip(rest, typed)
    else:
        parser = Parser(prog=f"zephyr {name}")
        load(name).arguments(parser)
        yield from _of_command(parser, rest, typed, _Known(leading))


def _of_command(parser: ArgumentParser, before: Sequence[str], typed: str, known: _Known) -> Iterator[str]:
    if isinstance(parser, Parser):
        parser.complete()
    flags = {name: action for action in parser._actions for name in action.option_strings}
    positional = [action for action in parser._actions if not action.option_strings]
    waits: Action | None = None
    for at, word in enumerate(before):
        if waits is not None:
            waits = None
        elif word in flags:
            waits = flags[word] if flags[word].nargs != 0 else None
        elif not word.startswith("-") or word == "--":
            first = positional[0] if positional else None
            if first is not None and isinstance(first, _SubParsersAction):  # a command of the command
                if word in first.choices:
                    yield from _of_command(first.choices[word], before[at + 1 :], typed, known)
                return
            if first is not None and first.nargs == REMAINDER:  # what is run has flags of its own
                yield RUNNABLE if word == "--" and at == len(before) - 1 else FILES
                return
            if len(positional) > 1 or (first is not None and first.nargs in (None, "?")):
                positional = positional[1:]
    if waits is None and typed.startswith("-"):
        yield from _flags(parser, before, typed)
    elif waits is not None or positional:
        yield from _values(waits or positional[0], typed, known)


def _values(action: Action, typed: str, known: _Known) -> Iterator[str]:
    """What may be given to a flag, or stand in a place."""
    if action.nargs == REMAINDER:
        yield from (FILES, RUNNABLE)
    elif isinstance(action, _SubParsersAction):
        helps = {one.dest: one.help or "" for one in action._choices_actions}
        yield from _named({name: helps.get(name, "") for name in action.choices}, typed)
    elif action.choices is not None:
        yield from _named(dict.fromkeys(map(str, action.choices), ""), typed)
    elif action.metavar in ("NAME", "NAME|PATH", "SETTING"):
        yield from _named({name: "" for name in known.by_dest(action.dest) if _NAME.fullmatch(name)}, typed)
        if action.metavar == "NAME|PATH":
            yield FILES
    elif action.metavar in ("DIR", "FILE", "PLACE", "PYTHON", "LINKS", "REQUIREMENT"):
        yield FILES


class _Known:
    """The names that stand in the project and in the directory of environments, where somebody types."""

    def __init__(self, leading: Sequence[str]) -> None:
        options: Namespace = Parser(prog="zephyr").parse_args(list(leading))
        for name, value in COMMON_DEFAULTS.items():
            vars(options).setdefault(name, value)
        self._call = Call(options, Voice(quiet=True))

    def by_dest(self, dest: str) -> Sequence[str]:
        if dest == "place":
            from p2pcdn_shim.zephyr.environment.named import named

            return [one.path.name for one in named(self._call.config)]
        if dest == "key":
            from p2pcdn_shim.zephyr.configuration.settings import SETTINGS

            return [setting.key for setting in SETTINGS]
        file = self._call.config.project_file
        return self._of_project(dest, file) if file is not None else ()

    def _of_project(self, dest: str, file: Path) -> Sequence[str]:
        from p2pcdn_shim.zephyr.project.pyproject import read_project

        if dest in ("group", "no_group", "only_group", "group_name"):
            return [*read_project(file).groups]
        if dest in ("extra", "extra_name"):
            return [*read_project(file).extras]
        from p2pcdn_shim.zephyr.lock import lock_file

        lock = lock_file.place_of(file)
        text = lock_file.read(lock)
        return sorted(str(one["name"]) for one in lock_file.packages_of(text, lock)) if text is not None else ()


def _flags(parser: ArgumentParser, before: Sequence[str], typed: str) -> Iterator[str]:
    """The flags that begin so; the long ones, unless a short one is being typed."""
    for action in parser._actions:
        names = [name for name in action.option_strings if name.startswith("--") or typed == name]
        if not set(action.option_strings) & set(before) or isinstance(action.default, list):
            yield from _named(dict.fromkeys(names, action.help or ""), typed)


def _of_pip(before: Sequence[str], typed: str) -> Iterator[str]:
    from p2pcdn_shim.zephyr.pip.cli import COMMANDS as OF_PIP

    yield from (FILES,) if before else _named(OF_PIP, typed)


def _named(meanings: Mapping[str, str], typed: str) -> Iterator[str]:
    for word, meaning in meanings.items():
        if word.startswith(typed):
            yield f"{word}\t{meaning}".rstrip()
