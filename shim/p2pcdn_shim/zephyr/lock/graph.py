"""Who needs whom in a lock, for people: as a tree, and as the ways that lead to one package."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from p2pcdn_shim.zephyr.project.marker_text import left_of
from p2pcdn_shim.zephyr.project.pyproject import normalize
from p2pcdn_shim.zephyr.values import TYPE_CHECKING, Value

if TYPE_CHECKING:
    from typing import Any

# Ways to a package are shown, the shortest first; of something that everybody needs there are thousands.
WAYS_MAX = 20


class Node(Value):
    """A package of a lock. label: as it is shown, with its version and the machines that it is for."""

    name: str
    label: str
    children: tuple[str, ...]


def nodes_of(packages: Iterable[Mapping[str, Any]]) -> dict[str, Node]:
    """By name; several versions of one project are one node that shows them all."""
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for package in packages:
        grouped.setdefault(package["name"], []).append(package)
    return {name: _node(name, several) for name, several in grouped.items()}


def _node(name: str, packages: Sequence[Mapping[str, Any]]) -> Node:
    texts = []
    for one in packages:
        version, marker = one.get("version", ""), _machines(one.get("marker", ""))
        texts.append(f"{version} ({marker})" if marker else version)
    children = dict.fromkeys(child["name"] for one in packages for child in one.get("dependencies", ()))
    return Node(name, f"{name} {', '.join(texts)}".strip(), tuple(sorted(children)))


def _machines(marker: str) -> str:
    """What a marker says of machines; for which extras and groups something is there, the ways to it say."""

    def asked_for(left: str, operator: str, right: str) -> bool | None:
        return operator == "in" if right in ("extras", "dependency_groups") else None

    try:
        left = left_of(marker, asked_for) if marker else True
    except ValueError:
        return marker  # edited by hand, or of another program
    return left if isinstance(left, str) else ""


def inverted(nodes: Mapping[str, Node]) -> dict[str, Node]:
    """The same packages, each with those that need it as its children."""
    needed_by: dict[str, list[str]] = {name: [] for name in nodes}
    for node in nodes.values():
        for child in node.children:
            if child in needed_by:
                needed_by[child].append(node.name)
    return {name: node.but(children=tuple(sorted(needed_by[name]))) for name, node in nodes.items()}


def tree(roots: Mapping[str, Sequence[str]], nodes: Mapping[str, Node], depth_max: int | None = None) -> Iterator[str]:
    """Lines. What was shown before is not unfolded again. roots: each with who asks for it, if that is to be said."""
    shown: set[str] = set()
    for name, askers in roots.items():
        if name in nodes:
            for_whom = f" [{', '.join(askers)}]" if askers else ""
            yield f"{nodes[name].label}{for_whom}"
            yield from _below(name, nodes, "", shown, 1, depth_max)


def _below(
    name: str, nodes: Mapping[str, Node], indent: str, shown: set[str], depth: int, depth_max: int | None
) -> Iterator[str]:
    children = [child for child in nodes[name].children if child in nodes]
    if name in shown or (depth_max is not None and depth > depth_max):
        return
    shown.add(name)
    for at, child in enumerate(children):
        last = at == len(children) - 1
        again = " (above)" if child in shown and nodes[child].children else ""
        yield f"{indent}{'└── ' if last else '├── '}{nodes[child].label}{again}"
        yield from _below(child, nodes, indent + ("    " if last else "│   "), shown, depth + 1, depth_max)


def ways(wanted: str, roots: Mapping[str, Sequence[str]], nodes: Mapping[str, Node]) -> list[list[str]]:
    """The ways from what the user asked for to a package, the shortest first: [who asked, name, ..., wanted].

    roots: by who asks ("the project", "group dev") the names that he asks for.
    """
    parents: dict[str, list[str]] = {}
    for node in nodes.values():
        for child in node.children:
            parents.setdefault(child, []).append(node.name)
    askers: dict[str, list[str]] = {}
    for who, names in roots.items():
        for name in names:
            askers.setdefault(normalize(name), []).append(who)
    found: list[list[str]] = []
    ahead = [[wanted]]
    while ahead and len(found) < WAYS_MAX:
        way = ahead.pop(0)
        found += [[who, *way] for who in askers.get(way[0], ())]
        ahead += [[parent, *way] for parent in sorted(parents.get(way[0], ())) if parent not in way]
        del ahead[10_000:]  # a dense graph has more ways than anybody reads
    return found[:WAYS_MAX]
