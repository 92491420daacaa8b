"""How a resolver is fed: what it needs, what it is likely to need, in which order, and what it does with part of it."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcdn.resolve import (
    Knowledge,
    Need,
    NoSolution,
    Release,
    Resolver,
    Solution,
    Source,
    Table,
    Target,
    Wanted,
)
from tests.resolve.test_oracles import dense
from tests.resolve.universe import LINUX_311, Universe, pins, universe

ROOT = Path(__file__).parents[2]


def fed_by_chance(world: Universe, wanted: Wanted, dice: random.Random) -> Solution:
    """Each time some of what is needed comes, some of what is likely, and something that nobody asked for."""
    resolver = Resolver(wanted, LINUX_311)
    while isinstance(need := resolver.step(), Need):
        names = [*need.tables, *need.likely_tables, dice.choice(sorted(world.tables))]
        sources = [*need.metadata, *need.likely_metadata, dice.choice(sorted(world.metadata, key=repr))]
        tables = [world.table(name) for name in names if dice.random() < 0.5]
        metadata = [world.metadata[source] for source in sources if dice.random() < 0.5]
        resolver.learn(reversed(tables), reversed(metadata))
    return need


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_what_comes_in_parts_and_in_any_order_comes_to_the_same(seed: int, dice: random.Random) -> None:
    packages, root = dense(seed)
    wanted = Wanted(tuple(root))

    def outcome(solve: object) -> object:
        try:
            return solve()  # type: ignore[operator]  # one of the two below
        except NoSolution as none:
            return none.sentences

    one = outcome(lambda: universe(packages).solve(wanted))
    assert outcome(lambda: fed_by_chance(universe(packages), wanted, dice)) == one


def test_nothing_likely_is_named_twice() -> None:
    world = universe(
        {f"p{n}": {"1": [f"p{n + 1}", f"p{n + 2}"]} for n in range(30)} | {"p30": {"1": []}, "p31": {"1": []}}
    )
    world.solve(["p0"])
    likely = [name for need in world.asked for name in need.likely_tables]
    sources = [source for need in world.asked for source in need.likely_metadata]
    assert len(likely) == len(set(likely))
    assert len(sources) == len(set(sources))


def test_the_walk_ahead_finds_the_whole_graph_before_the_solver_needs_it() -> None:
    """A chain of thirty projects, each answered at once: two rounds for each link, and none for the solver."""
    world = universe({f"p{n}": {"1": [f"p{n + 1}"] if n < 30 else []} for n in range(31)})
    world.add("wide", "1", *[f"p{n}" for n in range(31)])
    solution = world.solve(["wide"], likely=True)
    assert len(solution.pins) == 32
    assert len(world.asked) <= 4


def hard(count: int) -> Universe:
    """boto3 in small: each version of one needs a few of another, and all but the oldest of those need a third."""
    world = Universe()
    for number in range(count):
        wheel = ("py3-none-any",)
        world.add("boto", str(number), f"core>={number},<{number + 3}", "transfer", tags=wheel)
        world.add("core", str(number), "urls>=2" if number > 2 else "urls>=1", "path", tags=wheel)
    for name in ("transfer", "path"):
        world.add(name, "1")
    for version in ("1", "2"):
        world.add("urls", version)
    return world


def test_two_thousand_versions_are_asked_for_in_batches() -> None:
    world = hard(400)
    assert pins(world.solve(["boto", "urls<2"], likely=True)) == {
        "boto": "2",
        "core": "2",
        "path": "1",
        "transfer": "1",
        "urls": "1",
    }
    # One question for each version of each of the two would be eight hundred.
    assert len(world.asked) < 60


def test_a_solution_does_not_need_what_was_only_likely() -> None:
    world = hard(40)
    assert world.solve(["boto", "urls<2"]) == hard(40).solve(["boto", "urls<2"], likely=True)


def test_a_package_that_is_refused_again_and_again_is_decided_before_what_stands_in_its_way() -> None:
    """Each of the many versions of one is refused for the sake of another that was seen first."""
    world = Universe()
    for number in range(60):
        world.add("first", str(number), *[f"x{number % 7}"])
        world.add("second", str(number), f"first=={59 - number}" if number else "first<1")
    for number in range(7):
        world.add(f"x{number}", "1")
    found = pins(world.solve(["first", "second"]))
    assert int(found["first"]) + int(found["second"]) == 59
    considered = {source for need in world.asked for source in need.metadata if source.project == "second"}
    assert len(considered) < 20


def test_the_next_target_keeps_what_the_last_one_chose() -> None:
    world = universe({"a": {"1": ["b>=1"], "2": ["b>=1"]}, "b": {"1": [], "2": [], "3": []}})
    first = world.solve(Wanted(("a<2", "b<3")))
    again = world.solve(Wanted(("a", "b"), preferences=tuple((pin.project, pin.version) for pin in first.pins)))
    assert pins(again) == pins(first) == {"a": "1", "b": "2"}


def test_targets_of_one_lock_share_what_they_learn() -> None:
    world = universe({"a": {"1": ["b; sys_platform == 'win32'", "c"]}, "b": {"1": []}, "c": {"1": []}})
    knowledge = Knowledge()
    windows = Target.of({**dict(LINUX_311.environment), "sys_platform": "win32"})
    asked = []
    for target in (LINUX_311, windows, LINUX_311):
        resolver = Resolver(Wanted(("a",)), target, knowledge)
        while isinstance(need := resolver.step(), Need):
            asked += [*need.tables, *need.metadata]
            resolver.learn(map(world.table, need.tables), [world.metadata[source] for source in need.metadata])
    assert len(asked) == len(set(asked)) == 6
    assert isinstance(need, Solution)
    assert pins(need) == {"a": "1", "c": "1"}


def test_a_table_stays_as_it_was_first_told() -> None:
    resolver = Resolver(Wanted(("a",)), LINUX_311)
    resolver.learn([Table("a", (Release("1", sdist=True),))])
    resolver.learn([Table("a", (Release("2", sdist=True),))])
    assert resolver.step() == Need(metadata=(Source("a", "1"),))


def test_until_it_knows_it_says_again_what_it_needs() -> None:
    resolver = Resolver(Wanted(("a", "b")), LINUX_311)
    assert resolver.step() == resolver.step() == Need(tables=("a", "b"))
    resolver.learn([Table("b", (Release("1", sdist=True),))])
    assert resolver.step() == Need(tables=("a",), likely_metadata=(Source("b", "1"),))
    assert resolver.step() == Need(tables=("a",))


def test_a_resolution_that_failed_goes_on_failing() -> None:
    resolver = Resolver(Wanted(("a",)), LINUX_311)
    resolver.learn([Table("a", missing="nobody has a")])
    for _ in range(2):
        with pytest.raises(NoSolution, match="nobody has a"):
            resolver.step()


def test_the_nodes_sentence_stands_within_the_reports_as_a_clause() -> None:
    resolver = Resolver(Wanted(("a",)), LINUX_311)
    resolver.learn([Table("a", missing="No index has a.")])
    with pytest.raises(NoSolution, match="and no index has a, your requirements"):
        resolver.step()


def test_the_room_needs_the_standard_library_and_packaging_and_nothing_else() -> None:
    code = "import sys, p2pcdn.resolve; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    strange = {name for name in done.stdout.split() if name not in sys.stdlib_module_names and name[0] != "_"}
    # What a site configuration loads at every start is not ours.
    bare = subprocess.run(
        [sys.executable, "-c", "import sys; print(*{name.partition('.')[0] for name in sys.modules})"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert strange - set(bare.stdout.split()) == {"p2pcdn", "packaging"}
