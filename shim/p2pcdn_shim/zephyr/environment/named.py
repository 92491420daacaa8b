"""Environments by name, in one directory of the user's; and which environment a word on the command line means."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from p2pcdn_shim.zephyr.configuration.config import Config
from p2pcdn_shim.zephyr.environment.venv import Environment, open_environment, read_settings
from p2pcdn_shim.zephyr.errors import UsageError, ZephyrError
from p2pcdn_shim.zephyr.machine import platforms

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"


def place_of(word: str | None, config: Config, directory: Path) -> Path:
    """Where the environment is that a word means: a path, a name; without a word that of the project.

    A word with a slash, or one that begins with a dot, is a path; `.venv` alone is one.
    """
    if word is None:
        return project_place(config, directory)
    if os.sep in word or "/" in word or word.startswith((".", "~")):
        return directory / Path(word).expanduser()
    if not re.fullmatch(_NAME, word):
        raise UsageError(f"{word[:60]!r} is neither the name of an environment nor a path (./{word[:20]}).")
    return named_directory(config) / word


def open_meant(word: str | None, config: Config, directory: Path) -> Environment:
    """The environment that a word means, with an interpreter that is there. Raises UsageError, ZephyrError."""
    place = place_of(word, config, directory)
    if word is not None and _names_nothing(place, config):
        there = _whats_there(config)
        raise ZephyrError(f"There is no environment {word!r}; `zephyr venv create {word}` makes it. {there}")
    return open_environment(place)


def refuse_unnamed(word: str | None, config: Config, directory: Path) -> None:
    """Raises ZephyrError for a word that is the name of no environment, and asks whether a path was meant."""
    if word is not None and _names_nothing(place_of(word, config, directory), config):
        beside = f" Did you mean ./{word}?" if (directory / word).exists() else ""
        raise ZephyrError(f"There is no environment {word!r}. {_whats_there(config)}{beside}")


def project_place(config: Config, directory: Path) -> Path:
    """The environment of the project: `.venv` beside its pyproject.toml, else in this directory."""
    return beside_project(config, directory, config.venv)


def refuse_unmade(config: Config, place: Path) -> None:
    """Raises ZephyrError where the project has no environment yet: a sync makes it, with all that is locked."""
    if config.project_file is not None and not place.exists():
        raise ZephyrError(f"The project has no environment {place} yet; `zephyr sync` makes it.")


def beside_project(config: Config, directory: Path, place: Path) -> Path:
    """A relative path begins at the project, else at this directory."""
    return (config.project_file.parent if config.project_file else directory) / place


def named_directory(config: Config) -> Path:
    """Where environments that have a name are."""
    return config.venvs or platforms.data_directory() / "venvs"


def named(config: Config) -> Iterator[Environment]:
    """All environments that have a name, by name."""
    try:
        places = sorted(named_directory(config).iterdir())
    except OSError:
        return
    for place in places:
        if re.fullmatch(_NAME, place.name) and (settings := read_settings(place)) is not None:
            yield Environment(place, settings)


def _names_nothing(place: Path, config: Config) -> bool:
    """Whether what was typed, which means this place, is a name, and no environment has it."""
    return place.parent == named_directory(config) and not place.exists()


def _whats_there(config: Config) -> str:
    """A sentence: which environments have a name."""
    others = ", ".join(one.path.name for one in named(config))
    return f"There is {others}." if others else "There is none with a name yet."
