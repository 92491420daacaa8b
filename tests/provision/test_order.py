"""Dependencies are installed before what depends on them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pcdn.envs.model import Chosen, LockedPackage
from p2pcdn.provision.order import dependencies_first

NAMES = "abcdefgh"


def chosen(name: str, dependencies: object = ()) -> Chosen:
    rows = tuple({"name": one} for one in dependencies)  # type: ignore[attr-defined]
    return Chosen(LockedPackage(name, "1", dependencies=rows), "wheel")


@given(st.dictionaries(st.sampled_from(NAMES), st.sets(st.sampled_from(NAMES))))
def test_everything_comes_once_and_dependencies_first_where_there_is_no_circle(graph: dict[str, set[str]]) -> None:
    ordered = [one.package.name for one in dependencies_first([chosen(name, graph[name]) for name in graph])]
    assert sorted(ordered) == sorted(graph)
    for at, name in enumerate(ordered):
        for child in graph[name] & set(graph):
            assert ordered.index(child) < at or name in _reached(child, graph)


def _reached(name: str, graph: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    ahead = [name]
    while ahead:
        for child in graph.get(ahead.pop(), ()):
            if child not in seen:
                seen.add(child)
                ahead.append(child)
    return seen


def test_a_chain_as_long_as_a_lock_is_no_deeper_than_the_stack() -> None:
    chain = [chosen(f"p{number:05}", [f"p{number + 1:05}"]) for number in range(20_000)]
    assert dependencies_first(chain)[0].package.name == "p19999"
