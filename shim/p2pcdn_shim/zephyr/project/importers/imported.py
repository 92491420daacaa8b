"""What an importer found, and how it gets into a pyproject.toml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from p2pcdn_shim.zephyr.configuration import urls
from p2pcdn_shim.zephyr.configuration.settings import IndexSetting
from p2pcdn_shim.zephyr.configuration.urls import absolute, check_url, public_url
from p2pcdn_shim.zephyr.project import project_edit
from p2pcdn_shim.zephyr.project.pyproject import normalize
from p2pcdn_shim.zephyr.values import TYPE_CHECKING, Value

if TYPE_CHECKING:
    from typing import Any


class Imported(Value):
    """Requirements are text of PEP 508. project: further keys of [project]. notes: what did not come over.

    editable: the projects whose sources stay in use.
    """

    dependencies: tuple[str, ...] = ()
    extras: Mapping[str, tuple[str, ...]] = {}
    groups: Mapping[str, tuple[str, ...]] = {}
    project: Mapping[str, Any] = {}
    indexes: tuple[IndexSetting, ...] = ()
    constraints: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    editable: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many requirements came over."""
        return len(self.dependencies) + sum(map(len, (*self.extras.values(), *self.groups.values())))


def index_without_secrets(
    url: str, name: str | None, notes: list[str], *, default: bool = False, explicit: bool = False
) -> IndexSetting:
    """An index as it may stand in a file that is shared. Raises ValueError for what is no URL of one."""
    shown = public_url(check_url(url))
    if "@" in url and shown != url:
        notes.append(f"The user name and password for {shown} were left out: netrc or the environment may hold them.")
    return IndexSetting(shown, name, default, explicit)


def without_secrets(requirement: str, notes: list[str]) -> str:
    """A requirement as it may stand in a file that is shared; the `git@` of ssh is no secret."""
    shown = urls.without_secrets(requirement)
    if shown != requirement:
        notes.append(f"The user name and password in {shown} were left out: netrc may hold them.")
    return shown


def place_url(name: str, directory: Path, path: str, notes: list[str]) -> str:
    """The URL of a path that a file names; where nothing is, whoever has the file may have more than we were given."""
    place = absolute(directory, path)
    if not place.exists():
        notes.append(f"{name} is to come from {place}, and nothing is there; without it the project cannot be locked.")
    return place.as_uri()


def without_itself(found: Imported, directory: Path) -> Imported:
    """The same for the project of this directory, which other tools install by the way to it (`-e .[test]`).

    Its extras stay, under its name alone; without any there is nothing to say, for it is installed in any case.
    """
    itself = directory.as_uri()
    named: set[str] = set()

    def bare(texts: tuple[str, ...]) -> tuple[str, ...]:
        kept: list[str] = []
        for text in texts:
            one = project_edit.parse_requirement(text)
            if one.url is not None and one.url.rstrip("/") == itself:
                named.add(normalize(one.name))
                one.url = None
                text = str(one) if one.extras else ""
            kept.append(text)
        return tuple(dict.fromkeys(filter(None, kept)))

    found = found.but(
        dependencies=bare(found.dependencies),
        extras={name: bare(texts) for name, texts in found.extras.items()},
        groups={name: bare(texts) for name, texts in found.groups.items()},
    )
    return found.but(editable=tuple(name for name in found.editable if normalize(name) not in named))


def put_into(text: str, found: Imported, file: Path, *, group: str | None = None) -> str:
    """The text of a pyproject.toml with all of it in. group: takes the dependencies, instead of the project."""
    text = project_edit.set_project(text, dict(found.project), file=file)
    if found.dependencies:
        text = project_edit.add(text, found.dependencies, project_edit.Where(group=group), file=file)
    for name, requirements in found.extras.items():
        text = project_edit.add(text, requirements, project_edit.Where(extra=name), file=file)
    for name, requirements in found.groups.items():
        text = project_edit.add(text, requirements, project_edit.Where(group=name), file=file)
    text = project_edit.add_editables(text, found.editable, file=file)
    return project_edit.set_settings(
        text,
        {
            "index": [_index_table(one) for one in found.indexes],
            "find-links": list(found.find_links),
            "constraints": list(found.constraints),
        },
        file=file,
    )


def _index_table(one: IndexSetting) -> dict[str, Any]:
    table: dict[str, Any] = {"name": one.name} if one.name else {}
    table["url"] = one.url
    return table | {key: True for key in ("default", "explicit") if getattr(one, key)}
