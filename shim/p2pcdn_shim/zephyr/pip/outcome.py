"""What a resolution is asked and what it comes to: a policy; the projects that were chosen, dependencies first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from p2pcdn_shim.zephyr.pip.asked import Ask
from p2pcdn_shim.zephyr.pip.installed import Distribution
from p2pcdn_shim.zephyr.pip.link import Link
from p2pcdn_shim.zephyr.pip.sources import Prepared
from p2pcdn_shim.zephyr.values import Value


class Policy(Value):
    """How much of what is installed may change."""

    dependencies: bool = True
    upgrade: bool = False
    eager: bool = False
    force_reinstall: bool = False
    ignore_installed: bool = False


class Chosen(Value):
    """One project of the outcome. installed: it stays as it is. prepared: what is to be installed instead.

    ask: the user's own requirement, of one that he named. direct: it comes from a place that was named, and not from
    an index. link: where it is from.
    """

    project: str
    version: str
    extras: tuple[str, ...]
    ask: Ask | None
    origin: str
    shown: str
    direct: bool
    link: Link | None = None
    prepared: Prepared | None = None
    installed: Distribution | None = None
    former: Distribution | None = None


class Outcome(Value):
    """order: dependencies first. edges: (parent, child); parent "" for the user."""

    order: tuple[Chosen, ...]
    edges: tuple[tuple[str, str], ...] = ()
    # As they were met: the user's own first.
    met: tuple[str, ...] = ()

    @property
    def changes(self) -> list[Chosen]:
        return [one for one in self.order if one.installed is None]


def dependencies_first(edges: Sequence[tuple[str, str]], names: Mapping[str, object]) -> list[str]:
    """Who is needed by others comes first; of equals the later in the alphabet, as pip does."""
    children: dict[str, list[str]] = {}
    for parent, child in edges:
        children.setdefault(parent, []).append(child)
    weight = dict.fromkeys(names, 0)
    path: set[str] = set()

    def visit(name: str, depth: int) -> None:
        if name in path or (name and weight.get(name, 0) >= depth > 0 and name in done):
            return
        path.add(name)
        if name in weight:
            weight[name] = max(weight[name], depth)
            done.add(name)
        for child in sorted(children.get(name, ())):
            visit(child, depth + 1)
        path.discard(name)

    done: set[str] = set()
    visit("", 0)
    return sorted(names, key=lambda name: (weight[name], name), reverse=True)
