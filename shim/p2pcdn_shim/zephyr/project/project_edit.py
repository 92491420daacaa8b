"""Changing pyproject.toml as a person would: one line comes or goes; comments, order and indentation stay."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

import tomlkit
from packaging.requirements import InvalidRequirement, Requirement
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AbstractTable, Array

from p2pcdn_shim.zephyr.configuration.urls import without_secrets
from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.project.pyproject import normalize
from p2pcdn_shim.zephyr.project.toml_array import TomlArray
from p2pcdn_shim.zephyr.values import TYPE_CHECKING, Value

if TYPE_CHECKING:
    from typing import Any


class Where(Value):
    """Which list of requirements: the project's own, an extra's or a group's."""

    extra: str | None = None
    group: str | None = None

    def __str__(self) -> str:
        if self.extra is not None:
            return f"extra {self.extra}"
        return f"group {self.group}" if self.group is not None else "dependencies"


PROJECT = Where()


def add(text: str, requirements: Iterable[str], where: Where = PROJECT, *, file: Path = Path("pyproject.toml")) -> str:
    """The text with these requirements; one for the same project and marker is replaced in its place.

    A list that is in alphabetical order stays in it. Raises UsageError for what is no requirement, or no project.
    """
    document = _parse(text, file)
    table, key = _list(document, where, file, make=True)
    array = _source(table, key, file)
    for requirement in requirements:
        _put(array, parse_requirement(requirement), requirement.strip())
    return _written(document, table, key, array, _expected(text, where, key, array))


def remove(
    text: str, names: Iterable[str], where: Where = PROJECT, *, file: Path = Path("pyproject.toml")
) -> tuple[str, list[str]]:
    """The text without the requirements for these projects, and those that went. Raises UsageError.

    names: or requirements, as they stand there.
    """
    document = _parse(text, file)
    table, key = _list(document, where, file, make=False)
    array = _source(table, key, file)
    gone: list[str] = []
    for name in names:
        found = [at for at, one in enumerate(array.values) if _name(one) == (_name(name) or normalize(name))]
        if not found:
            raise UsageError(f"{file} has no requirement for {name[:60]!r} in its {where}{_elsewhere(document, name)}.")
        gone += [array.values[at] for at in found]
        for at in reversed(found):
            array.remove(at)
    return _written(document, table, key, array, _expected(text, where, key, array)), gone


def _elsewhere(document: tomlkit.TOMLDocument, name: str) -> str:
    """Which of the other lists have a requirement for a project, to be added to a sentence that one has none."""
    project = document.get("project", {})
    lists = {"dependencies": project.get("dependencies", ())}
    lists |= {f"extra {extra}": many for extra, many in project.get("optional-dependencies", {}).items()}
    lists |= {f"group {group}": many for group, many in document.get("dependency-groups", {}).items()}
    found = [where for where, many in lists.items() if normalize(name) in map(_name, many)]
    return f"; it has one in its {' and its '.join(found)}" if found else ""


def set_project(text: str, values: dict[str, Any], *, file: Path = Path("pyproject.toml")) -> str:
    """The text with these keys of [project], which is made where it is missing; what is there already stays."""
    if not values:
        return text
    document = _parse(text, file)
    table = document.get("project")
    if table is None:
        table = tomlkit.table()
        document["project"] = table
    for key, value in values.items():
        if key not in table and value is not None:
            table[key] = value
    return tomlkit.dumps(document)


def set_settings(text: str, values: dict[str, Any], *, file: Path = Path("pyproject.toml")) -> str:
    """The text with these keys of [tool.zephyr]; empty values are left out, and what is there already stays."""
    wanted = {key: value for key, value in values.items() if value}
    if not wanted:
        return text
    document = _parse(text, file)
    tool = _member(document, "tool", lambda: tomlkit.table(is_super_table=True), AbstractTable, file, make=True)
    table = _member(tool, "zephyr", tomlkit.table, AbstractTable, file, make=True)
    for key, value in wanted.items():
        if key not in table:
            table[key] = _tables(value) if isinstance(value[0], dict) else value
    return _dumped(document)


def add_editables(text: str, names: Iterable[str], *, file: Path = Path("pyproject.toml")) -> str:
    """The text with these projects in the list `editable` of [tool.zephyr]. Raises UsageError."""
    wanted = [normalize(name) for name in names]
    if not wanted:
        return text
    text = set_settings(text, {"editable": wanted}, file=file)
    document = _parse(text, file)
    array = _editables(document, file)
    for name in wanted:
        if name not in map(normalize, array):
            array.append(name)
    return tomlkit.dumps(document)


def drop_editables(text: str, names: Iterable[str], *, file: Path = Path("pyproject.toml")) -> str:
    """The text without these projects in that list, and without the list where it is empty then. Raises UsageError."""
    document = _parse(text, file)
    if "editable" not in document.get("tool", {}).get("zephyr", {}):
        return text
    array = _editables(document, file)
    for name in map(normalize, names):
        for at in [at for at, one in enumerate(array) if normalize(one) == name]:
            del array[at]
    if not array:
        del document["tool"]["zephyr"]["editable"]
    return tomlkit.dumps(document)


def _editables(document: tomlkit.TOMLDocument, file: Path) -> Array:
    array = document["tool"]["zephyr"]["editable"]
    if not isinstance(array, Array) or not all(isinstance(one, str) for one in array):
        raise UsageError(f"{file}: editable is not a list of names.")
    return array


def _tables(values: list[dict[str, Any]]) -> Any:
    array = tomlkit.aot()
    for value in values:
        table = tomlkit.table()
        table.update(value)
        array.append(table)
    return array


def parse_requirement(text: str) -> Requirement:
    """Raises UsageError for what is no requirement of PEP 508."""
    try:
        return Requirement(text)
    except InvalidRequirement as error:
        doubled = re.sub(r"(?<![=<>!~])=(?!=)", "==", text)
        meant = f" Did you mean {doubled[:100]!r}?" if doubled != text and "://" not in text else ""
        shown = without_secrets(text)[:100]
        raise UsageError(f"{shown!r} is no requirement: {str(error).splitlines()[0]}.{meant}") from error


def _parse(text: str, file: Path) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        raise UsageError(f"{file} is not TOML: {error}.") from error


def _list(document: tomlkit.TOMLDocument, where: Where, file: Path, *, make: bool) -> tuple[Any, str]:
    """The table and the key of the list that is meant, made where it is missing."""
    if where.group is None and "project" not in document:
        raise UsageError(f"{file} has no [project]; `zephyr init` makes one.")
    if where == PROJECT:
        table, key = document["project"], "dependencies"
    elif where.extra is not None:
        table = _member(document["project"], "optional-dependencies", tomlkit.table, AbstractTable, file, make=make)
        key = _spelled(table, where.extra)
    else:
        assert where.group is not None
        table = _member(document, "dependency-groups", tomlkit.table, AbstractTable, file, make=make)
        key = _spelled(table, where.group)
    _member(table, key, tomlkit.array, Array, file, make=make)
    return table, key


def _source(table: Any, key: str, file: Path) -> TomlArray:
    try:
        return TomlArray(table[key].as_string())
    except ValueError as error:
        raise UsageError(f"{file}: {key} cannot be edited: {error}") from error


def _expected(text: str, where: Where, key: str, array: TomlArray) -> dict[str, Any]:
    """What a parser must see after the edit: all that it saw before, and the new list."""
    whole = tomllib.loads(text.replace("\r\n", "\n"))
    table = whole.setdefault("dependency-groups", {}) if where.group is not None else whole["project"]
    table = table.setdefault("optional-dependencies", {}) if where.extra is not None else table
    table[key] = array.values
    return whole


def _written(document: tomlkit.TOMLDocument, table: Any, key: str, array: TomlArray, expected: dict[str, Any]) -> str:
    """The whole text; what no parser would read, or would read otherwise, never leaves this file."""
    table[key] = tomlkit.parse(f"x = {array}")["x"]
    text = _dumped(document)
    assert _seen(tomllib.loads(text)) == _seen(expected), "what was written says what was meant"
    return text


def _dumped(document: tomlkit.TOMLDocument) -> str:
    """With a blank line before the table that may have been made, or have got one before it."""
    return re.sub(r"(?<=[^\n])\n(?=\[dependency-groups\]\n)", "\n\n", tomlkit.dumps(document))


def _seen(whole: dict[str, Any]) -> str:
    """A whole file as one text to compare: not even a NaN in somebody's table differs from itself there."""
    return json.dumps(whole, sort_keys=True, default=repr)


def _member(table: Any, key: str, made: Any, kind: Any, file: Path, *, make: bool) -> Any:
    if key not in table:
        if not make:
            raise UsageError(f"{file} has no {key}.")
        table[key] = made()
    if not isinstance(table[key], kind):
        raise UsageError(f"{file}: {key} is not {'a list' if kind is Array else 'a table'}.")
    return table[key]


def _spelled(table: Any, name: str) -> str:
    """A name as it is spelled in the table, if it is there."""
    return next((key for key in table if normalize(key) == normalize(name)), name)


def _put(array: TomlArray, requirement: Requirement, text: str) -> None:
    values = array.values
    for at, one in enumerate(values):
        if isinstance(one, str) and _same(one, requirement):
            array.replace(at, text)
            return
    orders = [_order(one) for one in values if isinstance(one, str)]
    is_sorted = orders == sorted(orders) and len(orders) == len(values)
    after = (at for at, order in enumerate(orders) if order > _order(text))
    array.insert(next(after, len(values)) if is_sorted else len(values), text)


def _same(text: str, requirement: Requirement) -> bool:
    try:
        there = Requirement(text)
    except InvalidRequirement:
        return False
    return normalize(there.name) == normalize(requirement.name) and str(there.marker) == str(requirement.marker)


def _name(text: Any) -> str | None:
    if not isinstance(text, str):
        return None
    try:
        return normalize(Requirement(text).name)
    except InvalidRequirement:
        return None


def _order(text: str) -> tuple[str, str]:
    return _name(text) or "", text.partition(";")[2]
