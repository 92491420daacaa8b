"""Changing pyproject.toml as a person would: one line comes or goes; comments, order and indentation stay."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import tomlkit
from packaging.requirements import InvalidRequirement, Requirement
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AbstractTable, Array

from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.project import normalize
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
    array = _array(document, where, file, make=True)
    for requirement in requirements:
        _put(array, parse_requirement(requirement), requirement.strip())
    return tomlkit.dumps(document)


def remove(
    text: str, names: Iterable[str], where: Where = PROJECT, *, file: Path = Path("pyproject.toml")
) -> tuple[str, list[str]]:
    """The text without the requirements for these projects, and those that went. Raises UsageError."""
    document = _parse(text, file)
    array = _array(document, where, file, make=False)
    gone: list[str] = []
    for name in names:
        found = [one for one in array if isinstance(one, str) and _name(one) == normalize(name)]
        if not found:
            raise UsageError(f"{file} has no requirement for {name[:60]!r} in its {where}.")
        for one in found:
            array.remove(one)
        gone += [str(one) for one in found]
    return tomlkit.dumps(document), gone


def set_project(text: str, values: dict[str, Any], *, file: Path = Path("pyproject.toml")) -> str:
    """The text with these keys of [project], which is made where it is missing; what is there already stays."""
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
    return tomlkit.dumps(document)


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
        raise UsageError(f"{text[:100]!r} is no requirement: {str(error).splitlines()[0]}.") from error


def _parse(text: str, file: Path) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        raise UsageError(f"{file} is not TOML: {error}.") from error


def _array(document: tomlkit.TOMLDocument, where: Where, file: Path, *, make: bool) -> Any:
    """The list that is meant, made where it is missing."""
    if where.group is None and "project" not in document:
        raise UsageError(f"{file} has no [project]; `zephyr init` makes one.")
    if where == PROJECT:
        return _member(document["project"], "dependencies", tomlkit.array, Array, file, make=make)
    if where.extra is not None:
        extras = _member(document["project"], "optional-dependencies", tomlkit.table, AbstractTable, file, make=make)
        return _member(extras, _spelled(extras, where.extra), tomlkit.array, Array, file, make=make)
    assert where.group is not None
    groups = _member(document, "dependency-groups", tomlkit.table, AbstractTable, file, make=make)
    return _member(groups, _spelled(groups, where.group), tomlkit.array, Array, file, make=make)


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


def _put(array: Array, requirement: Requirement, text: str) -> None:
    texts = [one for one in array if isinstance(one, str)]
    for at, one in enumerate(array):
        if isinstance(one, str) and _same(one, requirement):
            array[at] = text
            return
    sorts = texts == sorted(texts, key=_order) and len(texts) == len(array)
    at = next((i for i, one in enumerate(texts) if _order(one) > _order(text)), len(array)) if sorts else len(array)
    if not array:
        array.append(text)
        array.multiline(True)
    else:
        array.insert(at, text)


def _same(text: str, requirement: Requirement) -> bool:
    try:
        there = Requirement(text)
    except InvalidRequirement:
        return False
    return normalize(there.name) == normalize(requirement.name) and str(there.marker) == str(requirement.marker)


def _name(text: str) -> str | None:
    try:
        return normalize(Requirement(text).name)
    except InvalidRequirement:
        return None


def _order(text: str) -> tuple[str, str]:
    return _name(text) or "", text
