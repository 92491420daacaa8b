"""The files that settings stand in: read, checked key by key; whoever is told of a fault is told file, key and line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from p2pcdn_shim.zephyr.configuration.settings import BY_KEY, IndexSetting, Setting, bounded
from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

# A file of settings has some dozens of lines, a large project's pyproject.toml some thousands.
FILE_SIZE_BYTES_MAX = 4 * 1024 * 1024

Given = tuple[str, object, str]


def read_user_settings(file: Path, *, must_exist: bool) -> Iterator[Given]:
    """Key, value and origin of each setting in a file of its own. Raises UsageError."""
    text = read_text(file)
    if text is None:
        if must_exist:
            raise UsageError(f"The configuration file {file} does not exist.")
        return
    yield from _settings(parse_toml(text, file), text, file, "")


def read_project_settings(file: Path) -> Iterator[Given]:
    """Key, value and origin of each setting in [tool.zephyr]. Raises UsageError."""
    yield from settings_of_tool(read_text(file), file)


def settings_of_tool(text: str | None, file: Path) -> Iterator[Given]:
    """The same of the text of such a file, or of what a script says of itself; nothing where there is none."""
    if text is None or "zephyr" not in text:  # most projects say nothing of us, and parsing takes longer than looking
        return
    table = parse_toml(text, file).get("tool")
    table = table.get("zephyr") if isinstance(table, dict) else None
    if table is None:
        return
    if not isinstance(table, dict):
        raise UsageError(f"{file}: tool.zephyr is not a table.")
    yield from _settings(table, text, file, "tool.zephyr")


def read_text(file: Path, size_bytes_max: int = FILE_SIZE_BYTES_MAX) -> str | None:
    """The text of a file; None where there is none. Raises UsageError for one that cannot be read."""
    try:
        with file.open("rb") as opened:
            content = opened.read(size_bytes_max + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}.") from error
    if len(content) > size_bytes_max:
        raise UsageError(f"{file} is larger than {size_bytes_max // 2**20} MiB; it was not read.")
    try:
        return content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 (at byte {error.start}).") from error


def parse_toml(text: str, file: Path) -> dict[str, Any]:
    """The whole file as tables. Raises UsageError with the line."""
    from p2pcdn_shim.zephyr.configuration import parsed

    if (known := parsed.recall(text)) is not None:
        return known
    import tomllib

    try:
        tables = tomllib.loads(text.replace("\r\n", "\n"))
        parsed.keep(text, tables)
        return tables
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{file} is not TOML: {error}.") from error


def line_of(text: str, table: str, key: str) -> int:
    """The line on which a key of a table stands, as well as a look at the text can tell; the table's or 1 otherwise."""
    within, found = "", 1
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[+\s*([^]]+?)\s*\]", line):
            within = re.sub(r"\s*\.\s*|[\"']", lambda match: "." if "." in match[0] else "", header[1])
            if within in (table, f"{table}.{key}".lstrip(".")):
                found = number
            continue
        start = re.match(r"\s*([A-Za-z0-9_.\"'-]+?)\s*=", line)
        if start and f"{within}.{start[1]}".strip(".").replace('"', "") == f"{table}.{key}".strip("."):
            return number
    return found


def _settings(table: Mapping[str, Any], text: str, file: Path, name: str) -> Iterator[Given]:
    for key, raw in table.items():
        line = line_of(text, name, key)
        where = f"{file}, line {line}"
        if key not in BY_KEY:
            raise UsageError(f"{where}: {_no_setting(key)}")
        try:
            value = _value(BY_KEY[key], raw, file.parent)
        except ValueError as error:
            raise UsageError(f"{where}: {key}: {error}") from error
        yield key, bounded(f"{where}: {key}", value) if BY_KEY[key].many else value, f"file {where}"


def _no_setting(key: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(key.replace("_", "-"), BY_KEY, n=1)
    return f"there is no setting {key[:60]!r}{f'; did you mean {near[0]!r}?' if near else '.'}"


def _value(setting: Setting, raw: Any, directory: Path) -> Any:
    """Raises ValueError with a sentence that begins with the value."""
    if not setting.many:
        return _one(setting, raw, directory)
    if setting.key == "sources" and isinstance(raw, dict):
        raw = [_source_word(project, one) for project, one in raw.items()]
    values = raw if isinstance(raw, list) else [raw]
    return tuple(_one(setting, value, directory) for value in values)


def _one(setting: Setting, raw: Any, directory: Path) -> Any:
    kind = setting.kind
    if setting.key == "index" and isinstance(raw, dict):
        return _index_table(raw)
    if kind.toml is not str:
        if type(raw) is not kind.toml:
            raise ValueError(f"{str(raw)[:60]!r} is not {kind.form}.")
        return kind.read(str(raw).lower())
    if kind.metavar == "TIME" and hasattr(raw, "isoformat"):  # TOML has days and times of its own
        raw = raw.isoformat()
    if not isinstance(raw, str):
        raise ValueError(f"{str(raw)[:60]!r} is not {kind.form}.")
    if kind.metavar == "URL" and raw.startswith(("./", "../")):
        raw = str(directory / raw)
    value = kind.read(raw)
    if kind.metavar == "LINKS":
        from p2pcdn_shim.zephyr.configuration.urls import links_url

        return links_url(value, directory)
    return directory / value if kind.is_path else value


def _source_word(project: str, raw: Any) -> str:
    """`torch = "pytorch"`, or as uv writes it: `torch = { index = "pytorch" }`."""
    if isinstance(raw, dict) and set(raw) == {"index"}:
        raw = raw["index"]
    if not isinstance(raw, str):
        raise ValueError(
            f"{project[:60]!r} names no index; a package by URL or path is written as a requirement: NAME @ URL."
        )
    return f"{project}={raw}"


def _index_table(raw: Mapping[str, Any]) -> IndexSetting:
    from p2pcdn_shim.zephyr.configuration.urls import check_url

    wanted = {"url": str, "name": str, "default": bool, "explicit": bool}
    for key, value in raw.items():
        if key not in wanted:
            raise ValueError(f"{key[:60]!r} is not one of {', '.join(wanted)}.")
        if type(value) is not wanted[key]:
            raise ValueError(f"{str(value)[:60]!r} is not what `{key}` can be.")
    if "url" not in raw:
        raise ValueError("an index needs its `url`.")
    return IndexSetting(check_url(raw["url"]), raw.get("name"), raw.get("default", False), raw.get("explicit", False))
