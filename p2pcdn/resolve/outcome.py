"""The solution that a set of decisions is: pins with their extras, edges, warnings, all in one order."""

from __future__ import annotations

from collections.abc import Iterable

from p2pcdn.resolve.model import Edge, Pin, Solution
from p2pcdn.resolve.python import View, parts_of


def solution_of(view: View, decided: Iterable[tuple[str, int]]) -> Solution:
    """decided: (package, index of its version), in any order; the metadata of each is known."""
    packages = sorted((*parts_of(package), index) for package, index in decided)
    extras: dict[str, list[str]] = {}
    edges = {("", "", one.project, one.text) for one in view.root}  # as tuples: a hundred packages have 300
    warnings = []
    for name, extra, index in packages:
        source = view.known(name).sources[index]
        edges.update([(name, extra, one.project, one.text) for one in view.requirements(source, extra)])
        if extra and view.provides(source, extra):
            extras.setdefault(name, []).append(extra)
        elif extra:
            warnings.append(f"{name} {source.version} has no extra {extra!r}; it is left out.")
    pins = [_pin(view, name, index, extras.get(name, ())) for name, extra, index in packages if not extra]
    return Solution(tuple(pins), tuple([Edge(*edge) for edge in sorted(edges)]), tuple(warnings))


def _pin(view: View, name: str, index: int, extras: Iterable[str]) -> Pin:
    project = view.known(name)
    source = project.sources[index]
    return Pin(name, source.version or project.releases[index].version, project.index, source.url, tuple(extras))
