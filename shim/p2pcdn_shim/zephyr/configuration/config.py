"""The settings in force: flags over ZEPHYR_* over [tool.zephyr] of pyproject.toml over ~/.zephyr/config.toml.

A stronger place replaces a list whole. tomllib is loaded only where there is a file that speaks of zephyr.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from p2pcdn_shim.zephyr.configuration.settings import BY_KEY, SETTINGS, IndexSetting, Setting, SourceSetting, bounded
from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.machine.platforms import may_be_planted
from p2pcdn_shim.zephyr.values import TYPE_CHECKING, Value

if TYPE_CHECKING:
    from typing import Any

# Variables of ours that are no settings.
OTHER_VARIABLES = frozenset({"ZEPHYR_CONFIG_FILE", "ZEPHYR_CACHE_DIR", "ZEPHYR_DEBUG", "ZEPHYR_SHELL"})


class Config(Value):
    """Each setting's value; what it means stands in settings.py. origins: where a value that is no default came from.

    project_file: the pyproject.toml of the project that the command works in, None outside one.
    """

    python: str | None = None
    venv: Path = Path(".venv")
    venvs: Path | None = None
    index_url: str | None = None
    extra_index_url: tuple[str, ...] = ()
    index: tuple[IndexSetting, ...] = ()
    sources: tuple[SourceSetting, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    trusted_host: tuple[str, ...] = ()
    keyring: str = "auto"
    offline: bool = False
    no_node: bool = False
    environments: tuple[str, ...] = ()
    default_groups: tuple[str, ...] = ("dev",)
    constraints: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    prefer: str = "highest"
    prerelease: bool = False
    exclude_newer: str | None = None
    only_binary: tuple[str, ...] = ()
    no_binary: tuple[str, ...] = ()
    editable: tuple[str, ...] = ()
    checkouts: Path = Path(".checkouts")
    require_attestations: tuple[str, ...] = ()
    allow_unsandboxed_builds: bool = False
    link_mode: str | None = None
    compile_bytecode: bool | None = None
    generations: int = 5

    origins: Mapping[str, str] = {}
    project_file: Path | None = None
    unknown_variables: tuple[str, ...] = ()

    def origin(self, key: str) -> str:
        """ "default", "file /path, line 3", "variable ZEPHYR_PYTHON" or "flag --python"."""
        return self.origins.get(key, "default")


def resolve(
    flags: Mapping[str, Any],
    directory: Path,
    environ: Mapping[str, str] = os.environ,
    *,
    config_file: str | None = None,
    script: tuple[Path, str] | None = None,
) -> Config:
    """Lays flags over environment over project over the user's file over defaults. Raises UsageError.

    script: one that says itself what it needs, and the TOML in which it does; it stands in the project's place.

    flags: by field name; None or a missing one means that the flag was not given; names that are no setting are
    skipped. directory: where the project is looked for, upwards.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    project_file = find_project_file(directory) if script is None else None
    for key, value, origin in _all(flags, directory, environ, config_file, project_file, script):
        values[BY_KEY[key].field_name], origins[key] = value, origin
    return Config(
        **values, origins=origins, project_file=project_file, unknown_variables=tuple(_unknown_variables(environ))
    )


def find_project_file(directory: Path) -> Path | None:
    """The pyproject.toml of this directory, else of the nearest one above it that no stranger may have put there."""
    for folder in (directory, *directory.parents):
        if (file := folder / "pyproject.toml").is_file() and not may_be_planted(file):
            return file
    return None


def user_config_file(environ: Mapping[str, str] = os.environ) -> Path:
    """`~/.zephyr/config.toml`, or what ZEPHYR_CONFIG_FILE names."""
    named = environ.get("ZEPHYR_CONFIG_FILE")
    return Path(named) if named else Path(environ.get("HOME") or Path.home()) / ".zephyr" / "config.toml"


def _all(
    flags: Mapping[str, Any],
    directory: Path,
    environ: Mapping[str, str],
    config_file: str | None,
    project_file: Path | None,
    script: tuple[Path, str] | None,
) -> Iterator[tuple[str, Any, str]]:
    """Every value that somebody gave with its origin, the weakest first."""
    from p2pcdn_shim.zephyr.configuration.config_files import (
        read_project_settings,
        read_user_settings,
        settings_of_tool,
    )

    file = directory / config_file if config_file else user_config_file(environ)
    yield from read_user_settings(file, must_exist=bool(config_file or environ.get("ZEPHYR_CONFIG_FILE")))
    if project_file is not None:
        yield from read_project_settings(project_file)
    if script is not None:
        yield from settings_of_tool(script[1], script[0])
    for setting in SETTINGS:
        if text := environ.get(setting.variable, ""):
            yield setting.key, from_text(setting, text, setting.variable, directory), f"variable {setting.variable}"
        given = flags.get(setting.field_name)
        if given is not None and given != []:
            yield setting.key, _from_flag(setting, given, directory), f"flag {setting.flag}"


def from_text(setting: Setting, text: str, where: str, directory: Path) -> Any:
    """A value as it stands in the environment; lists are split at spaces, requirements at line ends too."""
    if not setting.many:
        return _read(setting, text.strip(), where, directory)
    separator = "\n" if " " in text and setting.kind.metavar in ("REQUIREMENT", "TEXT") else None
    words = [word.strip() for word in text.split(separator) if word.strip()]
    return bounded(where, tuple(_read(setting, word, where, directory) for word in words))


def _from_flag(setting: Setting, given: Any, directory: Path) -> Any:
    if isinstance(given, bool):
        return given
    if setting.many:
        return bounded(setting.flag, tuple(_read(setting, one, setting.flag, directory) for one in given))
    value = _read(setting, str(given), setting.flag, directory)
    # Also `--venv DIR`: what is typed means here.
    return directory / value if isinstance(value, Path) else value


def _read(setting: Setting, text: str, where: str, directory: Path) -> Any:
    try:
        value = setting.kind.read(text)
        if setting.kind.metavar == "LINKS":
            from p2pcdn_shim.zephyr.configuration.urls import links_url

            value = links_url(value, directory)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from error
    return directory / value if setting.kind.is_path else value


def _unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    """Variables that look like settings of ours and are none: probably misspelled."""
    known = {setting.variable for setting in SETTINGS} | OTHER_VARIABLES
    for name in sorted(environ):
        if name.startswith("ZEPHYR_") and name not in known:
            # An index's credentials: ZEPHYR_INDEX_<NAME>_USERNAME and _PASSWORD.
            if name.startswith("ZEPHYR_INDEX_") and name.endswith(("_USERNAME", "_PASSWORD")):
                continue
            yield name
