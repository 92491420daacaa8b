"""What stands in other tools' tables of a pyproject.toml, decides about a lock, and is read by these tools alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


def placed_by_uv(tool: Mapping[str, Any]) -> Iterable[str]:
    """The projects of which [tool.uv.sources] says where they come from. tool: the table [tool]."""
    return _table(tool, "uv", "sources")


def groups_elsewhere(tool: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Groups of requirements from before [dependency-groups] (PEP 735): the table, and the group's name."""
    for name in _table(tool, "poetry", "group"):
        if _table(tool, "poetry", "group", name, "dependencies"):
            yield "tool.poetry.group", name
    if _table(tool, "poetry", "dev-dependencies"):
        yield "tool.poetry.dev-dependencies", "dev"
    for name in _table(tool, "pdm", "dev-dependencies"):
        yield "tool.pdm.dev-dependencies", name
    if _table(tool, "uv").get("dev-dependencies"):
        yield "tool.uv.dev-dependencies", "dev"


def _table(of: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """An empty one where there is none: what is wrong in it, its own tool says."""
    table: Any = of
    for key in path:
        table = table.get(key) if isinstance(table, dict) else None
    return table if isinstance(table, dict) else {}
