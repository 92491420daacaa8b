"""Manage local and global configuration: list, edit, get, set, unset, debug."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Sequence
from configparser import RawConfigParser
from pathlib import Path

from p2pcdn_shim.zephyr.errors import ZephyrError
from p2pcdn_shim.zephyr.machine.files import write_text
from p2pcdn_shim.zephyr.pip.cli import Run
from p2pcdn_shim.zephyr.pip.configuration import KINDS, Configuration, plain, values_of
from p2pcdn_shim.zephyr.pip.errors import PipError

USAGE = "\n  %prog [<file-option>] list|edit|get name|set name value|unset name|debug"


def run(run: Run) -> int:
    actions = {"list": _list, "edit": _edit, "get": _get, "set": _set, "unset": _unset, "debug": _debug}
    if not run.words or run.words[0] not in actions:
        run.voice.error(f"Need an action ({', '.join(sorted(actions))}) to perform.")
        return 1
    action = run.words[0]
    configuration = Configuration(run.target.prefix, isolated=run.options.isolated_mode)
    only = _only(run, configuration, needed=action in ("get", "set", "unset", "edit"))
    configuration.load(only)
    actions[action](run, configuration, only, run.words[1:])
    return 0


def _only(run: Run, configuration: Configuration, *, needed: bool) -> str | None:
    """The kind of file that is meant; None for all."""
    options = run.options
    named = [kind for kind in ("user", "global", "site") if getattr(options, f"{kind}_file")]
    if len(named) > 1:
        raise PipError("Need exactly one file to operate upon (--user, --site, --global) to perform.")
    if named or not needed:
        return named[0] if named else None
    site = dict(configuration.files()).get("site", [])
    return "site" if any(file.exists() for file in site) else "user"


def _list(run: Run, configuration: Configuration, only: str | None, words: Sequence[str]) -> None:
    _expect(words, "list", 0)
    for key, value in sorted(dict(configuration.items()).items()):
        if only is None or not key.startswith(":env:."):
            run.voice.answer(f"{key}={value!r}")


def _get(run: Run, configuration: Configuration, only: str | None, words: Sequence[str]) -> None:
    _expect(words, "get [name]", 1)
    known = dict(configuration.items())
    if plain(words[0]) not in known:
        raise _no_such_key(words[0])
    run.voice.answer(known[plain(words[0])])


def _set(run: Run, configuration: Configuration, only: str | None, words: Sequence[str]) -> None:
    _expect(words, "set [name] [value]", 2)
    section, name = _split(words[0])
    file, parser = _file_of(configuration, only)
    if not parser.has_section(section):
        parser.add_section(section)
    parser.set(section, name, words[1])
    _save(run, file, configuration)


def _unset(run: Run, configuration: Configuration, only: str | None, words: Sequence[str]) -> None:
    _expect(words, "unset [name]", 1)
    section, name = _split(words[0])
    file, parser = _file_of(configuration, only)
    if not parser.has_section(section) or not parser.remove_option(section, name):
        raise _no_such_key(words[0])
    if not parser.items(section):
        parser.remove_section(section)
    _save(run, file, configuration)


def _debug(run: Run, configuration: Configuration, only: str | None, words: Sequence[str]) -> None:
    _expect(words, "debug", 0)
    run.voice.answer("env_var:")
    for name, value in sorted(configuration.variables()):
        run.voice.answer(f"  PIP_{name.upper().replace('-', '_')}={value!r}")
    for kind, files in sorted(configuration.files()):
        run.voice.answer(f"{kind}:")
        parsers = dict(configuration.parsers[kind])
        for file in files:
            run.voice.answer(f"  {file}, exists: {file.exists()!r}")
            for key, value in values_of(parsers[file]) if file in parsers else ():
                run.voice.answer(f"    {key}: {value}")
    assert set(configuration.parsers) == set(KINDS)


def _edit(run: Run, configuration: Configuration, only: str | None, words: Sequence[str]) -> None:
    editor = run.options.editor or os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise PipError("Could not determine editor to use.")
    file, _ = _file_of(configuration, only)
    done = subprocess.run(f'{editor} "{file}"', shell=True, check=False)
    if done.returncode:
        raise PipError(f"Editor Subprocess exited with exit code {done.returncode}")


def _file_of(configuration: Configuration, only: str | None) -> tuple[Path, RawConfigParser]:
    """The strongest file of a kind. Raises PipError where PIP_CONFIG_FILE says that there is none."""
    if not configuration.parsers[only or "user"]:
        raise PipError(f"There is no {only or 'user'} file to write: PIP_CONFIG_FILE says so.")
    return configuration.parsers[only or "user"][-1]


def _expect(words: Sequence[str], example: str, number: int) -> None:
    if len(words) != number:
        raise PipError(f'Got unexpected number of arguments, expected {number}. (example: "pip config {example}")')


def _split(name: str) -> tuple[str, str]:
    section, dot, option = plain(name).partition(".")
    if not dot:
        raise PipError(
            "Key does not contain dot separated section and key. Perhaps you wanted to use"
            f" 'global.{plain(name)}' instead?"
        )
    return section, option


def _no_such_key(name: str) -> PipError:
    _split(name)
    return PipError(f"No such key - {name}")


def _save(run: Run, file: Path, configuration: Configuration) -> None:
    parser = next(parser for several in configuration.parsers.values() for path, parser in several if path == file)
    run.voice.info(f"Writing to {file}")
    text = io.StringIO()
    parser.write(text)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, text.getvalue())
    except (OSError, ZephyrError) as error:
        raise PipError(f"An error occurred while writing to the configuration file {file}: {error}") from error
