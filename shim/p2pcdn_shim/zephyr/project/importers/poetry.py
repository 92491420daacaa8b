"""A poetry project: [tool.poetry] of pyproject.toml, as PEP 621 and PEP 735 say the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.markers import InvalidMarker, Marker

from p2pcdn_daemon.clients.setup_toml import SOURCE_NAME
from p2pcdn_shim.zephyr.configuration.config_files import parse_toml, read_text
from p2pcdn_shim.zephyr.configuration.settings import IndexSetting
from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.project.importers.imported import Imported, index_without_secrets, place_url, without_secrets
from p2pcdn_shim.zephyr.project.importers.poetry_versions import specifier_of
from p2pcdn_shim.zephyr.project.pyproject import normalize
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


def read_poetry(file: Path) -> Imported:
    """Raises UsageError where there is no [tool.poetry], or something in it cannot be meant."""
    text = read_text(file)
    if text is None:
        raise UsageError(f"There is no {file}.")
    poetry = parse_toml(text, file).get("tool", {}).get("poetry")
    if not isinstance(poetry, dict):
        raise UsageError(f"{file} has no [tool.poetry].")
    return _Importer(file).read(poetry)


class _Importer:
    """Reads one project; `_notes` collects what does not come over. Used once."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._notes: list[str] = []
        self._editable: list[str] = []

    def read(self, poetry: Mapping[str, Any]) -> Imported:
        own = dict(_table(poetry, "dependencies"))
        python = own.pop("python", None)
        optional = {normalize(name) for name, said in own.items() if isinstance(said, dict) and said.get("optional")}
        requirements = {name: tuple(self._requirements(name, said)) for name, said in own.items()}
        groups = {"dev": _table(poetry, "dev-dependencies")} if "dev-dependencies" in poetry else {}
        for name, group in _table(poetry, "group").items():
            groups[name] = {**groups.get(name, {}), **_table(group, "dependencies")}
        extras = self._extras(poetry, requirements, optional)
        return Imported(
            dependencies=tuple(
                one for name, many in requirements.items() if normalize(name) not in optional for one in many
            ),
            extras=extras,
            groups={
                name: tuple(one for key, said in group.items() for one in self._requirements(key, said))
                for name, group in groups.items()
            },
            project=self._project(poetry, python),
            indexes=tuple(self._indexes(poetry)),
            editable=tuple(self._editable),
            notes=tuple(self._notes),
        )

    def _project(self, poetry: Mapping[str, Any], python: Any) -> dict[str, Any]:
        found = {key: poetry[key] for key in ("name", "version", "description", "keywords") if key in poetry}
        if isinstance(poetry.get("readme"), str):
            found["readme"] = poetry["readme"]
        if isinstance(poetry.get("license"), str):
            found["license"] = poetry["license"]
        if authors := [author for one in poetry.get("authors", ()) if (author := _person(one))]:
            found["authors"] = authors
        scripts = {name: said for name, said in _table(poetry, "scripts").items() if isinstance(said, str)}
        if scripts:
            found["scripts"] = scripts
        if isinstance(python, str):
            found["requires-python"] = self._specifier("python", python) or None
        return found

    def _extras(
        self, poetry: Mapping[str, Any], requirements: Mapping[str, tuple[str, ...]], optional: set[str]
    ) -> dict[str, tuple[str, ...]]:
        by_name = {normalize(name): many for name, many in requirements.items()}
        extras: dict[str, tuple[str, ...]] = {}
        for extra, names in _table(poetry, "extras").items():
            bare = [normalize(re.split(r"[\s\[(<>=!~;]", name, maxsplit=1)[0]) for name in names]
            extras[extra] = tuple(one for name in bare for one in by_name.get(name, ()))
            optional = optional - set(bare)
        for name in sorted(optional):
            self._notes.append(f"{name} is optional and belongs to no extra; it was left out.")
        return extras

    def _requirements(self, name: str, said: Any) -> Iterator[str]:
        """Each of a dependency's constraints as a requirement of PEP 508."""
        for one in said if isinstance(said, list) else [said]:
            table = {"version": one} if isinstance(one, str) else one
            if not isinstance(table, dict):
                raise UsageError(f"{self._file}: {name} is neither a version nor a table.")
            extras = f"[{','.join(table['extras'])}]" if table.get("extras") else ""
            if table.get("allow-prereleases"):
                self._notes.append(f"{name} allows pre-releases in poetry; name one in its version to allow them here.")
            if table.get("develop"):
                self._editable.append(name)
            if table.get("source"):
                self._notes.append(f"{name} comes from the source {table['source']}, which a requirement cannot say.")
            yield without_secrets(f"{name}{extras}{self._place(name, table)}{self._marker(name, table)}", self._notes)

    def _place(self, name: str, table: Mapping[str, Any]) -> str:
        if git := table.get("git"):
            url = git if "://" in git else "ssh://" + git.replace(":", "/", 1)
            at = next((f"@{table[key]}" for key in ("rev", "tag", "branch") if table.get(key)), "")
            inside = f"#subdirectory={table['subdirectory']}" if table.get("subdirectory") else ""
            return f" @ git+{url}{at}{inside}"
        if path := table.get("path"):
            return f" @ {place_url(name, self._file.parent, path, self._notes)}"
        if url := table.get("url"):
            return f" @ {url}"
        return self._specifier(name, str(table.get("version", "*")))

    def _specifier(self, name: str, constraint: str) -> str:
        try:
            specifier, exact = specifier_of(constraint)
        except ValueError as error:
            raise UsageError(f"{self._file}: {name}: {error}") from error
        if not exact:
            self._notes.append(f"{name} = {constraint!r} has a hole, which became {specifier or 'any version'!r}.")
        return specifier

    def _marker(self, name: str, table: Mapping[str, Any]) -> str:
        parts = [f"({table['markers']})"] if table.get("markers") else []
        if table.get("python"):
            parts += [
                f"python_full_version {one.operator} '{one.version}'"
                for one in _specifiers(self._specifier(name, table["python"]))
            ]
        if table.get("platform"):
            parts.append(f"sys_platform == '{table['platform']}'")
        if not parts:
            return ""
        try:
            return f" ; {Marker(' and '.join(parts))}"
        except InvalidMarker as error:
            raise UsageError(f"{self._file}: {name}: {' and '.join(parts)[:80]!r} is no marker.") from error

    def _indexes(self, poetry: Mapping[str, Any]) -> Iterator[IndexSetting]:
        for source in poetry.get("source", ()):
            name, url, priority = source.get("name"), source.get("url"), source.get("priority", "primary")
            if not url:
                continue  # poetry's own word for PyPI
            if name == SOURCE_NAME:
                self._notes.append(f"The source {name} is the node itself, which zephyr asks in any case.")
                continue
            try:
                yield index_without_secrets(
                    url,
                    name,
                    self._notes,
                    default=priority == "default" or source.get("default") is True,
                    explicit=priority == "explicit",
                )
            except ValueError as error:
                raise UsageError(f"{self._file}: source {name}: {error}") from error


def _specifiers(text: str) -> list[Any]:
    from packaging.specifiers import SpecifierSet

    return sorted(SpecifierSet(text), key=lambda one: (one.operator[0] != ">", one.version))


def _table(of: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = of.get(key)
    return value if isinstance(value, dict) else {}


def _person(text: str) -> dict[str, str]:
    """`Name <mail>` as PEP 621 has it."""
    match = re.fullmatch(r"\s*(.*?)\s*(?:<([^>]+)>)?\s*", text)
    pair = {"name": match[1] if match else "", "email": (match[2] or "") if match else ""}
    return {key: value for key, value in pair.items() if value}
