"""`zephyr config`: the settings in force, and where each comes from."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable

from p2pcdn_shim.zephyr.command_line.call import Call
from p2pcdn_shim.zephyr.configuration.config import Config
from p2pcdn_shim.zephyr.configuration.settings import SETTINGS, IndexSetting, Setting
from p2pcdn_shim.zephyr.configuration.urls import public_url
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

DESCRIPTION = """Shows every setting that is in force, and where it comes from: a flag, a variable, [tool.zephyr] of the
project's pyproject.toml, ~/.zephyr/config.toml, or the default. User names and passwords in URLs are left out."""


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("key", nargs="*", metavar="SETTING", choices=None, help="Only these settings.")


def run(call: Call) -> int:
    rows = [setting for setting in SETTINGS if not call.options.key or setting.key in call.options.key]
    _check(call.options.key)
    config = call.config
    width = max(len(setting.key) for setting in rows)
    lines = [f"{one.key:<{width}} = {_text(one, config)}   # {config.origin(one.key)}" for one in rows]
    values = {one.key: {"value": shown(one, config), "origin": config.origin(one.key)} for one in rows}
    call.voice.answer(lines, values)
    return 0


def shown(setting: Setting, config: Config) -> Any:
    """A value as JSON has it, without credentials."""
    value = getattr(config, setting.field_name)
    if setting.many:
        return [_plain(one) for one in value]
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, IndexSetting):
        return {**value.as_dict(), "url": public_url(value.url)}
    if value is None or isinstance(value, (bool, int)):
        return value
    return public_url(str(value)) if "://" in str(value) else str(value)


def _text(setting: Setting, config: Config) -> str:
    value = shown(setting, config)
    return _toml(value) if value is not None else f"({setting.default_text.replace('`', '') or 'none'})"


def _toml(value: Any) -> str:
    import json

    kinds: tuple[tuple[type, Callable[[Any], str]], ...] = (
        (list, lambda many: f"[{', '.join(map(_toml, many))}]"),
        (dict, lambda table: "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in table.items() if one) + " }"),
    )
    for kind, write in kinds:
        if isinstance(value, kind):
            return write(value)
    return json.dumps(value, ensure_ascii=False)


def _check(keys: list[str]) -> None:
    from p2pcdn_shim.zephyr.errors import UsageError

    known = {setting.key for setting in SETTINGS}
    for key in keys:
        if key not in known:
            raise UsageError(f"There is no setting {key[:60]!r}; `zephyr config` shows all of them.")
