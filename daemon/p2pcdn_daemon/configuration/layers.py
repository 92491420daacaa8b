"""How a node's settings come together: flags over the environment over the file over the defaults."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from p2pcdn_daemon.configuration import places
from p2pcdn_daemon.configuration.config import SETTINGS, Config, ConfigError, Setting
from p2pcdn_daemon.configuration.kinds import PATH, PROXY, SHARE, TEXT, UPSTREAM, UpstreamSetting, error_codes

# A configuration file holds some dozens of lines; a larger one is another file.
CONFIG_SIZE_BYTES_MAX = 1024 * 1024
# Upstreams, peers, host names: more of them than this is a mistake, and each costs memory and sockets.
VALUES_MAX = 256

# Environment variables of ours that are no settings.
GROUP_KEY_VARIABLE = "P2PCDN_GROUP_KEY"
OTHER_VARIABLES = frozenset({"P2PCDN_CONFIG", "P2PCDN_DEBUG", GROUP_KEY_VARIABLE})
# The credentials of an index have variables of their own (docs/configuration.md).
_INDEX_VARIABLE = re.compile(r"P2PCDN_INDEX_[A-Z0-9_]+_(USERNAME|PASSWORD)")


def resolve(
    flags: Mapping[str, Any], environ: Mapping[str, str] = os.environ, *, config_file: str | None = None
) -> Config:
    """Lays flags over environment over file over defaults.

    flags: by key; None, () or a missing key means that the flag was not given. config_file: what --config named.
    Raises ConfigError.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    path = _file_of(config_file, environ)
    if path is not None:
        for key, value in _read_file(path).items():
            values[key], sources[key] = value, f"file {path}"
    for setting in SETTINGS.values():
        text = environ.get(setting.variable, "")
        if text:
            value = _read_words(setting, text, setting.variable)
            values[setting.key], sources[setting.key] = value, f"environment {setting.variable}"
    for key, given in flags.items():
        if given is None or given == ():
            continue
        setting = SETTINGS[key]
        values[key], sources[key] = _read_flag(setting, given), f"flag {setting.flag}"
    values["store"] = (values.get("store") or _default_store(environ)).absolute()
    return Config(**{SETTINGS[key].field_name: value for key, value in values.items()}, sources=sources, file=path)


def _default_store(environ: Mapping[str, str]) -> Path:
    try:
        return places.default_store(environ)
    except RuntimeError as error:
        raise ConfigError("This user has no home directory; name a directory for the store by --store.") from error


def unknown_variables(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Variables that look like settings of ours and are none: probably misspelled."""
    known = {setting.variable for setting in SETTINGS.values()} | OTHER_VARIABLES
    ours = (name for name in environ if name.startswith("P2PCDN_") and not _INDEX_VARIABLE.fullmatch(name))
    return sorted(name for name in ours if name not in known)


# -- flags and environment --------------------------------------------------------------------------------------------


def _read_flag(setting: Setting, given: Any) -> Any:
    if isinstance(given, bool):
        return given
    if setting.many:
        return _bounded(setting.flag, tuple(_read_one(setting, one, setting.flag) for one in given))
    return _read_one(setting, str(given), setting.flag)


def _read_words(setting: Setting, text: str, where: str) -> Any:
    if not setting.many:
        return _read_one(setting, text.strip(), where)
    return _bounded(where, tuple(_read_one(setting, word, where) for word in text.split()))


def _read_one(setting: Setting, text: str, where: str) -> Any:
    try:
        return setting.kind.read(text)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error


def _bounded(where: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(values) > VALUES_MAX:
        raise ConfigError(f"{where}: {len(values)} values are more than {VALUES_MAX}.")
    return values


# -- the file ---------------------------------------------------------------------------------------------------------


def _file_of(flag: str | None, environ: Mapping[str, str]) -> Path | None:
    """The file that was named, which must be there, or the default one where it is there."""
    named = flag or environ.get("P2PCDN_CONFIG")
    if named:
        return Path(named).expanduser().absolute()
    try:
        usual = places.default_config_file(environ)
    except RuntimeError:
        return None  # no home, no file in it
    try:
        return usual if usual.exists() else None
    except OSError as error:
        raise ConfigError(f"The configuration file {usual} cannot be read: {error.strerror}.") from error


def _read_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(CONFIG_SIZE_BYTES_MAX + 1)
        if len(content) > CONFIG_SIZE_BYTES_MAX:
            raise ConfigError(f"The configuration file {path} is larger than {CONFIG_SIZE_BYTES_MAX >> 20} MiB.")
        tables = tomllib.loads(content.decode())
    except OSError as error:
        raise ConfigError(f"The configuration file {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"The configuration file {path} is not valid TOML: {_one_line(error)}.") from error
    return {key: _from_file(path, key, value) for key, value in tables.items()}


def _from_file(path: Path, key: str, value: Any) -> Any:
    setting = SETTINGS.get(key)
    if setting is None:
        raise ConfigError(f"{path}: there is no setting {key!r}{_nearest(key, SETTINGS)}.")
    where = f"{path}: {key}"
    if setting.kind is UPSTREAM:
        rows = value if isinstance(value, list) else [value]
        return _bounded(where, tuple(_upstream_row(path, row) for row in rows))
    if setting.many:
        rows = value if isinstance(value, list) else [value]
        return _bounded(where, tuple(_read_one(setting, _word(where, row), where) for row in rows))
    return _beside(path, _read_one(setting, _word(where, value), where))


def _upstream_row(path: Path, row: Any) -> UpstreamSetting:
    where = f"{path}: upstream"
    if not isinstance(row, dict):
        return cast(UpstreamSetting, _read_one(SETTINGS["upstream"], _word(where, row), where))
    known = {"url": None, "name": None, "share": None, "proxy": None, "ca-file": None, _CODES: None}
    for key in row:
        if key not in known:
            raise ConfigError(f"{where}: there is no key {key!r}{_nearest(key, known)}.")
    if "url" not in row:
        raise ConfigError(f"{where}: a url is missing.")
    words = {key: _word(f"{where}: {key}", value) for key, value in row.items() if key != _CODES}
    try:
        return UpstreamSetting(
            url=UPSTREAM.read(words["url"]).url,
            name=TEXT.read(words["name"]) if "name" in words else None,
            share=SHARE.read(words["share"]) if "share" in words else None,
            proxy=PROXY.read(words["proxy"]) if "proxy" in words else None,
            ca_file=_beside(path, PATH.read(words["ca-file"])) if "ca-file" in words else None,
            ignore_error_codes=error_codes(row.get(_CODES, [])),
        )
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error


_CODES = "ignore-error-codes"


def _word(where: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise ConfigError(f"{where}: a {type(value).__name__} cannot stand here.")


def _beside(path: Path, value: Any) -> Any:
    """A relative path in the file begins at the file's directory, wherever the command was typed."""
    return path.parent / value if isinstance(value, Path) and not value.is_absolute() else value


def _nearest(word: str, known: Mapping[str, Any] | Sequence[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word.replace("_", "-"), list(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
