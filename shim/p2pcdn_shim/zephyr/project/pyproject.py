"""What a project says of itself in pyproject.toml: PEP 621, its extras, its dependency groups (PEP 735)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from p2pcdn_shim.zephyr.configuration.config_files import line_of, parse_toml, read_text
from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.project.other_tools import groups_elsewhere, placed_by_uv
from p2pcdn_shim.zephyr.values import TYPE_CHECKING, Value

if TYPE_CHECKING:
    from typing import Any


# The fields of [project] that decide what is locked. Where there is no [project], its build says all of them.
NEEDS = frozenset({"requires-python", "dependencies", "optional-dependencies"})


class BuildSays(Value):
    """What a project's build says of it, as far as a lock depends on that. extras: by normalized name."""

    name: str
    requires_python: str
    dependencies: tuple[str, ...]
    extras: Mapping[str, tuple[str, ...]]


class Project(Value):
    """Requirements are text of PEP 508, in the file's order. extras, groups: by normalized name; groups flattened.

    dynamic: the fields that only the build knows. is_package: whether it can be built (it has a [build-system]).
    is_of_poetry: what it needs stands in [tool.poetry] alone. said: what its build said of the dynamic ones, which are
    taken from there then. placed_by_uv: the projects of which [tool.uv.sources] says where they come from, normalized.
    groups_elsewhere: (table, group) of what only another tool reads, where no group of the project is called so.
    """

    file: Path
    name: str | None
    version: str | None
    requires_python: str | None
    dependencies: tuple[str, ...]
    extras: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, tuple[str, ...]]
    dynamic: frozenset[str]
    is_package: bool
    is_of_poetry: bool
    said: BuildSays | None = None
    placed_by_uv: frozenset[str] = frozenset()
    groups_elsewhere: tuple[tuple[str, str], ...] = ()

    @property
    def leaves_needs_to_its_build(self) -> bool:
        """Whether only its build backend can say what the project needs (setup.py, or `dynamic`)."""
        return self.is_package and not self.dynamic.isdisjoint(NEEDS)

    @property
    def awaits_its_build(self) -> bool:
        """Whether that has not been asked yet, so that nobody knows what the project needs."""
        return self.leaves_needs_to_its_build and self.said is None

    def as_built(self, said: BuildSays | None) -> Project:
        """The same, with what its build says in the place of what is dynamic; None: that was not asked."""
        if said is None:
            return self
        return self.but(
            said=said,
            name=self.name or said.name,
            requires_python=said.requires_python if "requires-python" in self.dynamic else self.requires_python,
            dependencies=said.dependencies if "dependencies" in self.dynamic else self.dependencies,
            extras=said.extras if "optional-dependencies" in self.dynamic else self.extras,
        )

    def edited(self, text: str) -> Project:
        """The project as another text of its pyproject.toml has it; its build says what it said. Raises UsageError."""
        return parse_project(text, self.file).as_built(self.said)

    @property
    def all_requirements(self) -> list[str]:
        """Its dependencies, those of all extras and of all groups."""
        return self.requirements(extras=self.extras, groups=self.groups)

    def requirements(self, *, extras: Iterable[str] = (), groups: Iterable[str] = ()) -> list[str]:
        """The project's dependencies and those of the extras and groups that are named. Raises UsageError."""
        found = list(self.dependencies)
        for kind, known, wanted in (("extra", self.extras, extras), ("group", self.groups, groups)):
            for name in wanted:
                if (key := normalize(name)) not in known:
                    there = f"it has {', '.join(known)}" if known else f"it has no {kind}s"
                    raise UsageError(f"{self.file} has no {kind} {name[:60]!r}; {there}.")
                found += known[key]
        return list(dict.fromkeys(found))


def read_project(file: Path) -> Project:
    """Raises UsageError, with the line where that can be told."""
    text = read_text(file)
    if text is None:
        raise UsageError(f"There is no {file}; `zephyr init` makes one.")
    return parse_project(text, file)


def parse_project(text: str, file: Path) -> Project:
    """Raises UsageError, with the line where that can be told."""
    whole = parse_toml(text, file)
    reader = Reader(text, file)
    table = reader.table(whole, "project", "")
    extras = reader.table(table, "optional-dependencies", "project")
    name = reader.name(table)
    dynamic = frozenset(reader.texts(table, "dynamic", "project"))
    groups = reader.groups(whole)
    tool = reader.table(whole, "tool", "")
    return Project(
        file=file,
        name=name,
        version=reader.text(table, "version"),
        requires_python=reader.text(table, "requires-python"),
        dependencies=tuple(reader.texts(table, "dependencies", "project")),
        extras={normalize(name): tuple(reader.texts(extras, name, "project.optional-dependencies")) for name in extras},
        groups=groups,
        dynamic=dynamic if name is not None else dynamic | NEEDS,
        is_package="build-system" in whole,
        is_of_poetry="project" not in whole and "poetry" in tool,
        placed_by_uv=frozenset(map(normalize, placed_by_uv(tool))),
        groups_elsewhere=tuple(
            (table, name) for table, name in groups_elsewhere(tool) if normalize(name) not in groups
        ),
    )


def read_group(file: Path, name: str) -> tuple[str, ...]:
    """One dependency group, its includes put in; whether others are right is not asked. Raises UsageError."""
    if (text := read_text(file)) is None:
        raise UsageError(f"There is no {file}, in which the group {name!r} could stand.")
    reader = Reader(text, file)
    groups = reader.written_groups(parse_toml(text, file))
    if normalize(name) not in groups:
        raise UsageError(f"{file} has no group {name[:60]!r}; it has {', '.join(groups) or 'none'}.")
    return reader.group(normalize(name), groups)


def is_name(text: str) -> bool:
    """Whether a project can be called so (the core metadata specification)."""
    return re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", text) is not None


def normalize(name: str) -> str:
    """The normal form of a name of a project, an extra or a group (PEP 503, 685, 735)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def name_of(requirement: str) -> str:
    """The normalized project that a requirement is for; "" where it cannot be read."""
    match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", requirement)
    return normalize(match[1]) if match else ""


def head_and_marker(requirement: str) -> tuple[str, str]:
    """What a requirement asks for, and where that holds (PEP 508); "" for everywhere."""
    # In a URL a semicolon is one of its signs, unless a blank stands before it.
    is_url = re.match(r"\s*[\w.-]+\s*(\[[^\]]*\])?\s*@", requirement)
    head, *marker = re.split(r"\s;" if is_url else ";", requirement, maxsplit=1)
    return head.strip(), "".join(marker).strip()


class Reader:
    """Takes typed values out of one file's tables; whoever wrote something else is told where."""

    def __init__(self, text: str, file: Path) -> None:
        self._text = text
        self._file = file

    def table(self, of: Mapping[str, Any], key: str, path: str) -> Mapping[str, Any]:
        value = of.get(key, {})
        if not isinstance(value, dict):
            raise self._wrong(path, key, "is not a table")
        return value

    def text(self, of: Mapping[str, Any], key: str, path: str = "project") -> str | None:
        value = of.get(key)
        if value is not None and not isinstance(value, str):
            raise self._wrong(path, key, "is not a text")
        return value

    def name(self, project: Mapping[str, Any]) -> str | None:
        name = self.text(project, "name")
        if name is not None and not is_name(name):
            raise UsageError(
                f"{self._file}, line {line_of(self._text, 'project', 'name')}: {name[:60]!r} cannot be the name of a"
                " project: it has letters, digits, '.', '_' and '-', and begins and ends with a letter or digit."
            )
        return name

    def texts(self, of: Mapping[str, Any], key: str, path: str) -> list[str]:
        value = of.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self._wrong(path, key, "is not a list of texts")
        return value

    def groups(self, whole: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        """[dependency-groups] with their includes put in (PEP 735)."""
        raw = self.written_groups(whole)
        return {name: self.group(name, raw) for name in raw}

    def written_groups(self, whole: Mapping[str, Any]) -> dict[str, Any]:
        """By normalized name: how it is written, and what stands there."""
        raw: dict[str, Any] = {}
        for name, value in self.table(whole, "dependency-groups", "").items():
            if normalize(name) in raw:
                raise self._wrong("dependency-groups", name, "is there twice, spelled differently")
            raw[normalize(name)] = (name, value)
        return raw

    def group(self, name: str, raw: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._group(name, raw, ())))

    def _group(self, name: str, raw: Mapping[str, Any], on_the_way: tuple[str, ...]) -> list[str]:
        spelled, value = raw[name]
        if name in on_the_way:
            raise self._wrong("dependency-groups", spelled, f"includes itself ({' -> '.join((*on_the_way, name))})")
        if not isinstance(value, list):
            raise self._wrong("dependency-groups", spelled, "is not a list")
        found: list[str] = []
        for one in value:
            if isinstance(one, str):
                found.append(one)
                continue
            included = one.get("include-group") if isinstance(one, dict) and len(one) == 1 else None
            if not isinstance(included, str):
                raise self._wrong("dependency-groups", spelled, "holds neither a requirement nor an include-group")
            if normalize(included) not in raw:
                raise self._wrong("dependency-groups", spelled, f"includes {included!r}, which is not there")
            found += self._group(normalize(included), raw, (*on_the_way, name))
        return found

    def _wrong(self, path: str, key: str, what: str) -> UsageError:
        return UsageError(f"{self._file}, line {line_of(self._text, path, key)}: {key} {what}.")
