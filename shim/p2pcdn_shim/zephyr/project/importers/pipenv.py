"""A pipenv project: what its Pipfile wants, or what its Pipfile.lock pinned."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from p2pcdn_shim.zephyr.configuration.config_files import parse_toml, read_text
from p2pcdn_shim.zephyr.configuration.settings import IndexSetting
from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.project.importers.imported import Imported, index_without_secrets, place_url, without_secrets
from p2pcdn_shim.zephyr.project.project_edit import parse_requirement
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

# pipenv's names of its two lists, in the Pipfile and in its lock, and ours.
_GROUPS = {"packages": None, "default": None, "dev-packages": "dev", "develop": "dev"}
_NOT_PACKAGES = frozenset({"source", "requires", "scripts", "pipenv", "_meta"})
# Markers that pipenv also takes as keys of their own.
_MARKERS = (
    "os_name", "sys_platform", "platform_machine", "platform_python_implementation", "platform_release",
    "platform_system", "platform_version", "python_version", "python_full_version", "implementation_name",
    "implementation_version",
)  # fmt: skip


def read_pipenv(file: Path, *, public_index: str) -> Imported:
    """Reads a Pipfile, or a Pipfile.lock. public_index: the one that need not be named. Raises UsageError."""
    text = read_text(file)
    if text is None:
        raise UsageError(f"There is no {file}.")
    whole = _read_lock(text, file) if file.suffix == ".lock" else parse_toml(text, file)
    notes: list[str] = []
    lists: dict[str | None, tuple[str, ...]] = {}
    editable: list[str] = []
    for key, packages in whole.items():
        if key not in _NOT_PACKAGES and isinstance(packages, dict):
            name = _GROUPS.get(key, key)
            lists[name] = tuple(_requirement(project, said, file, notes) for project, said in packages.items())
            editable += [
                project for project, said in packages.items() if isinstance(said, dict) and said.get("editable")
            ]
    meta = whole.get("_meta", whole)
    return Imported(
        dependencies=lists.pop(None, ()),
        groups={name: many for name, many in lists.items() if name is not None},
        project=_project(meta.get("requires", {})),
        indexes=tuple(_indexes(meta.get("sources", meta.get("source", [])), file, public_index, notes)),
        editable=tuple(editable),
        notes=tuple(notes),
    )


def _read_lock(text: str, file: Path) -> dict[str, Any]:
    try:
        whole = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{file} is not JSON: {error}.") from error
    if not isinstance(whole, dict) or "_meta" not in whole:
        raise UsageError(f"{file} is no lock of pipenv.")
    return whole


def _requirement(project: str, said: Any, file: Path, notes: list[str]) -> str:
    table = {"version": said} if isinstance(said, str) else said
    if not isinstance(table, dict):
        raise UsageError(f"{file}: {project} is neither a version nor a table.")
    extras = f"[{','.join(table['extras'])}]" if table.get("extras") else ""
    markers = [f"({marker})"] if (marker := _without_category(table.get("markers"))) else []
    markers += [f"{name} {table[name]}" for name in _MARKERS if isinstance(table.get(name), str)]
    marker = f" ; {' and '.join(markers)}" if markers else ""
    return without_secrets(
        str(parse_requirement(f"{project}{extras}{_place(project, table, file, notes)}{marker}")), notes
    )


def _without_category(marker: Any) -> str:
    """A marker without what newer ones of pipenv's say of the category in which it stands anyway; "" for none."""
    if not isinstance(marker, str) or "dependency_groups" not in marker:
        return str(marker or "")
    from p2pcdn_shim.zephyr.project.marker_text import left_of

    try:
        left = left_of(marker, lambda _, operator, right: True if right == "dependency_groups" else None)
    except ValueError:
        return marker  # then it is told that it is none
    return "" if isinstance(left, bool) else left


def _place(project: str, table: Mapping[str, Any], file: Path, notes: list[str]) -> str:
    for kind in ("git", "hg", "svn", "bzr"):
        if url := table.get(kind):
            url = url if "://" in url else "ssh://" + url.replace(":", "/", 1)
            at = f"@{table['ref']}" if table.get("ref") else ""
            inside = f"#subdirectory={table['subdirectory']}" if table.get("subdirectory") else ""
            return f" @ {kind}+{url}{at}{inside}"
    if place := table.get("path") or table.get("file") or table.get("url"):
        return f" @ {place if '://' in place else place_url(project, file.parent, place, notes)}"
    version = str(table.get("version", "*"))
    return "" if version in ("*", "") else version


def _project(requires: Mapping[str, Any]) -> dict[str, Any]:
    for key, form in (("python_full_version", "=={}"), ("python_version", "=={}.*")):
        if isinstance(requires.get(key), str):
            return {"requires-python": form.format(requires[key])}
    return {}


def _indexes(sources: Any, file: Path, public_index: str, notes: list[str]) -> Iterator[IndexSetting]:
    for at, source in enumerate(sources if isinstance(sources, list) else [sources]):
        url, name = str(source.get("url", "")), source.get("name")
        if url.rstrip("/") == public_index.rstrip("/"):
            continue
        if "$" in url:
            notes.append(f"The source {name or at + 1} takes its URL from a variable; name it in ZEPHYR_INDEX.")
            continue
        try:
            yield index_without_secrets(url, name, notes, default=at == 0)
        except ValueError as error:
            raise UsageError(f"{file}: source {name or at + 1}: {error}") from error
