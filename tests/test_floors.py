"""The floors of the house: every import runs downhill, and some rooms import less than others."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# The list of floors, once (docs/architecture.md). A room may import rooms of lower floors, and itself.
FLOORS: dict[str, float] = {
    "p2pcdn": 0,
    "p2pcdn.errors": 1,
    "p2pcdn.bounded": 1,
    "p2pcdn.inflate": 1,
    "p2pcdn.digest": 1,
    "p2pcdn.sizes": 1,
    "p2pcdn.frames": 2,
    "p2pcdn.names": 2,
    "p2pcdn.trust": 2,
    "p2pcdn.counters": 2,
    "p2pcdn.world": 2,
    "p2pcdn.answers": 3,
    "p2pcdn.flight": 3,
    "p2pcdn.group": 3,
    "p2pcdn.store": 3,
    "p2pcdn.http1": 3,
    "p2pcdn.sandbox": 3,
    "p2pcdn.simple": 4,
    "p2pcdn.swarm.wire": 4.1,
    "p2pcdn.swarm.advising": 4.2,
    "p2pcdn.swarm.neighbours": 4.3,
    "p2pcdn.swarm.pieces": 4.4,
    "p2pcdn.swarm.giving": 4.5,
    "p2pcdn.swarm.group": 4.5,
    "p2pcdn.swarm.filling": 4.6,
    "p2pcdn.swarm": 4.7,
    "p2pcdn.envs": 4,
    "p2pcdn.resolve": 4,
    "p2pcdn.index": 5,
    "p2pcdn.fetch": 5,
    "p2pcdn.carry": 6,
    "p2pcdn.build": 6,
    "p2pcdn.lock": 6,
    "p2pcdn.calls": 6,
    "p2pcdn.provision": 7,
    "p2pcdn.web": 8,
    "p2pcdn.node": 9,
    "p2pcdn_daemon.configuration": 10,
    "p2pcdn_daemon.doors": 10,
    "p2pcdn_daemon.neighbours": 11,
    "p2pcdn_daemon.clients": 11,
    "p2pcdn_daemon.upstream": 12,
    "p2pcdn_daemon.serve": 13,
    "p2pcdn_daemon.commands": 14,
    "p2pcdn_daemon": 15,
    "simnet.marks": 16,
    "simnet.turns": 16,
    "simnet.disks": 16.1,
    "simnet.net": 16.1,
    "simnet": 16.2,
    "simnet.campaigns": 16.2,
    "simnet.scenarios": 16.3,
    "p2pcdn_shim": 16,
    "p2pcdn_shim.zephyr.errors": 16.1,
    "p2pcdn_shim.zephyr.values": 16.1,
    "p2pcdn_shim.zephyr.settled": 16.1,
    "p2pcdn_shim.zephyr.machine": 16.2,
    "p2pcdn_shim.zephyr.terminal": 16.2,
    "p2pcdn_shim.zephyr.configuration": 16.3,
    "p2pcdn_shim.zephyr.interpreters": 16.4,
    "p2pcdn_shim.zephyr.project": 16.4,
    "p2pcdn_shim.zephyr.node": 16.5,
    "p2pcdn_shim.zephyr.command_line": 16.6,
    "p2pcdn_shim.zephyr.pip": 16.6,
    "p2pcdn_shim.zephyr.environment": 16.7,
    "p2pcdn_shim.zephyr.lock": 16.8,
    "p2pcdn_shim.zephyr.running": 16.85,
    "p2pcdn_shim.zephyr.commands": 16.9,
    "p2pcdn_shim.zephyr": 17,
    "pycdn": 17,
}

# What a whole tree never imports: the core has no world of its own, and a program's shim must start in 40 ms.
NEVER: dict[str, frozenset[str]] = {
    "p2pcdn": frozenset({"asyncio", "click", "httpx", "requests", "socket", "subprocess", "threading", "zeroconf"}),
    "p2pcdn_shim": frozenset({"httpx", "lmdb", "trio"}),
    "pycdn": frozenset({"httpx", "lmdb", "trio"}),
}

# Programs that run inside a sandbox, as text: they reach for the world in order to find that it is not there. No module
# of the house may import them.
INSIDE = frozenset({"p2pcdn.build.hook_program", "p2pcdn.sandbox.probe_program"})

# Calls that would make a simulated node look at the real clock or dice.
CALLS_NEVER = frozenset({"time.time", "time.time_ns", "time.sleep", "datetime.now", "datetime.utcnow", "random.random"})

FOLDERS = {
    "p2pcdn": ROOT / "p2pcdn",
    "p2pcdn_daemon": ROOT / "daemon" / "p2pcdn_daemon",
    "simnet": ROOT / "simnet",
    "p2pcdn_shim": ROOT / "shim" / "p2pcdn_shim",
    "pycdn": ROOT / "shim" / "pycdn",
}


@dataclass(frozen=True)
class Import:
    """One import statement's target, as written in one file."""

    importer: str
    imported: str
    place: str
    typing_only: bool


def test_every_room_has_a_floor() -> None:
    homeless = sorted({module for module, _ in modules() if room(module) is None})
    assert not homeless, f"no floor in FLOORS for {homeless}"


def test_every_import_runs_downhill() -> None:
    uphill = [
        f"{one.place}: floor {floor(one.importer)} imports {one.imported}, floor {floor(one.imported)}"
        for one in imports()
        if room(one.imported) and not _downhill(one)
    ]
    assert not uphill, "\n" + "\n".join(uphill)


def test_no_import_runs_in_a_circle() -> None:
    known = {module for module, _ in modules()}
    graph: dict[str, set[str]] = {module: set() for module in known}
    for one in imports():
        if not one.typing_only and one.imported in known and not _own_ancestor(one):
            graph[one.importer].add(one.imported)
    circle = find_circle(graph)
    assert circle is None, " -> ".join(circle or ())


@pytest.mark.parametrize("tree", sorted(NEVER))
def test_a_tree_imports_nothing_it_must_not(tree: str) -> None:
    wrong = [
        f"{one.place}: imports {one.imported}"
        for one in imports()
        if one.importer.split(".")[0] == tree
        and one.imported.split(".")[0] in NEVER[tree]
        and one.importer not in INSIDE
    ]
    assert not wrong, "\n" + "\n".join(wrong)


def test_nobody_imports_a_program_that_runs_inside_a_sandbox() -> None:
    assert {module for module, _ in modules()} >= INSIDE
    wrong = [f"{one.place}: imports {one.imported}" for one in imports() if one.imported in INSIDE]
    assert not wrong, "\n".join(wrong)


def test_the_shim_reaches_nothing_heavy_through_other_rooms() -> None:
    loaded: dict[str, set[str]] = {}
    for one in imports():
        if not one.typing_only:
            loaded.setdefault(one.importer, set()).add(one.imported)
    heavy = sorted(
        f"{start} reaches {target}"
        for start in loaded
        if start.split(".")[0] in ("p2pcdn_shim", "pycdn")
        for target in _reached(start, loaded)
        if target.split(".")[0] in NEVER["p2pcdn_shim"]
    )
    assert not heavy, heavy


def test_the_core_reads_no_clock_and_no_dice_of_its_own() -> None:
    wrong = []
    for module, path in modules("p2pcdn"):
        if module in INSIDE:
            continue
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.Call) and _dotted(node.func) in CALLS_NEVER:
                wrong.append(f"{_place(path, node)}: {_dotted(node.func)}()")
    assert not wrong, "\n" + "\n".join(wrong)


def test_a_circle_is_found_and_named() -> None:
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": set()}) == ["a", "b", "c", "a"]
    assert find_circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None


def test_an_import_uphill_is_told_from_one_downhill() -> None:
    assert _downhill(Import("p2pcdn.fetch", "p2pcdn.store.partial", "", typing_only=False))
    assert not _downhill(Import("p2pcdn.store.partial", "p2pcdn.fetch", "", typing_only=False))
    assert not _downhill(Import("p2pcdn.index", "p2pcdn.fetch", "", typing_only=False))


def modules(*trees: str) -> Iterator[tuple[str, Path]]:
    """Every module of the house, (dotted name, file)."""
    for tree in trees or FOLDERS:
        folder = FOLDERS[tree]
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            yield ".".join((tree, *(part for part in parts if part != "__init__"))), path


@cache
def imports() -> tuple[Import, ...]:
    """Every import of the house; read once, and asked by most of these tests."""
    return tuple(one for module, path in modules() for one in _imports_of(module, path))


def _imports_of(module: str, path: Path) -> Iterator[Import]:
    tree = _tree(path)
    typing_only = {id(node) for guard in ast.walk(tree) if _is_typing_guard(guard) for node in ast.walk(guard)}
    for node in ast.walk(tree):
        for imported in _targets(node, module, is_package=path.name == "__init__.py"):
            yield Import(module, imported, _place(path, node), id(node) in typing_only)


def room(module: str) -> str | None:
    """The room on whose floor a module stands: the longest name in FLOORS that leads to it."""
    parts = module.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    found = next((name for name in names if name in FLOORS), None)
    # The bare package is a room of its own, the one with the version; it is no home for strangers.
    return None if found == "p2pcdn" and module != "p2pcdn" else found


def floor(module: str) -> float:
    return FLOORS[room(module) or module]


def find_circle(graph: dict[str, set[str]]) -> list[str] | None:
    done: set[str] = set()
    for start in sorted(graph):
        if (circle := _walk(start, graph, [], done)) is not None:
            return circle
    return None


def _walk(module: str, graph: dict[str, set[str]], path: list[str], done: set[str]) -> list[str] | None:
    if module in path:
        return [*path[path.index(module) :], module]
    if module in done:
        return None
    for target in sorted(graph.get(module, ())):
        if (circle := _walk(target, graph, [*path, module], done)) is not None:
            return circle
    done.add(module)
    return None


def _downhill(one: Import) -> bool:
    return room(one.importer) == room(one.imported) or floor(one.importer) > floor(one.imported)


def _own_ancestor(one: Import) -> bool:
    """`from p2pcdn.store import x` inside p2pcdn.store.y names the package that is being imported, not a circle."""
    return one.importer.startswith(one.imported + ".")


def _reached(start: str, loaded: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    ahead = [start]
    while ahead:
        for target in loaded.get(ahead.pop(), ()):
            if target not in reached:
                reached.add(target)
                ahead.append(target)
    return reached


def _targets(node: ast.AST, module: str, *, is_package: bool) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = _base(node, module, is_package=is_package)
        for alias in node.names:
            full = f"{base}.{alias.name}"
            # `from p2pcdn import names` names a module, `from p2pcdn.names import projects_of` something in one.
            yield full if full in _known_modules() else base


def _base(node: ast.ImportFrom, module: str, *, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    parts = parts[: len(parts) - node.level + (1 if is_package else 0)]
    return ".".join([*parts, *([node.module] if node.module else [])])


@cache
def _known_modules() -> frozenset[str]:
    return frozenset(module for module, _ in modules())


def _is_typing_guard(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and _dotted(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return ""


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _place(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
