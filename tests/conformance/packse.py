"""Runs the scenarios of packse.toml: python -m tests.conformance.packse

A universal scenario is locked for the whole matrix by a real locker (its store, its solver's process) from an index
that has the scenario's packages; what the lock installs in each environment is compared with what uv's lock installs
there. A scenario for one environment is resolved for that one, and compared with what it says of itself.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import trio
from packaging.markers import Marker
from packaging.tags import Tag
from packaging.utils import parse_wheel_filename

from p2pcdn.lock.facts import Makers
from p2pcdn.lock.targets import Cell, matrix, names_of
from p2pcdn.lock.wishes import parse_question
from p2pcdn.resolve import BadRequirement, NoSolution
from tests.conformance.fetch import kept, manifest
from tests.conformance.scenario import Scenario, ScenarioIndex, filenames
from tests.conformance.uv_lock import installed, locks_of
from tests.conformance.with_pip import compare_with_pip
from tests.lock.rooms import room
from tests.resolve.test_packse import is_as_expected

GOAL = 0.95


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--only", default="", help="only the scenarios whose name contains this")
    options.add_argument("--pip", action="store_true", help="only asks pip about those that are to come out as pip's")
    chosen = options.parse_args()
    rules = manifest()
    scenarios = read_all(kept() / rules["source"]["scenarios"])
    if len(scenarios) != rules["source"]["count"]:
        sys.exit(f"{kept()} has {len(scenarios)} scenarios: python -m tests.conformance.fetch")
    if chosen.pip:
        compare_with_pip(
            [one for one in scenarios if one.file_name in rules["as-pip"] and chosen.only in one.file_name]
        )
        return
    locks = locks_of((kept() / rules["source"]["locks"]).read_text())
    counts = {"passed": 0, "failed": 0, "out": 0}
    for one in scenarios:
        if chosen.only not in one.file_name:
            continue
        if one.file_name in rules["out"]:
            counts["out"] += 1
            continue
        fault = trio.run(_fault, one, locks, one.file_name in rules["as-pip"])
        counts["failed" if fault else "passed"] += 1
        if fault:
            print(f"{one.file_name}: {fault}", flush=True)
    share = counts["passed"] / max(1, counts["passed"] + counts["failed"])
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['out']} out: {share:.1%} of what is in")
    sys.exit(0 if share >= GOAL else 1)


def read_all(directory: Path) -> list[Scenario]:
    return [Scenario.read(file) for file in sorted(directory.rglob("*.toml"))]


async def _fault(one: Scenario, locks: Mapping[str, dict[str, Any] | None], as_pip: bool) -> str:
    """What is not as it should be; "" where nothing is."""
    if one.is_universal:
        with tempfile.TemporaryDirectory() as scratch:
            fault = await universal_fault(one, locks.get(one.file_name), Path(scratch))
    else:
        fault = "" if is_as_expected(one.fields) else "it comes out in another way"
    if as_pip and not fault:
        return "it comes out as uv has it, and should not"
    return "" if as_pip else fault


async def universal_fault(one: Scenario, uv: dict[str, Any] | None, directory: Path) -> str:
    """What our lock has otherwise than uv's, or than the scenario says of its own environment."""
    index = ScenarioIndex(one)
    async with room(directory) as here:
        here.upstream.script = index.answer
        try:
            lock = (await here.locker.lock(parse_question(one.question), Makers(of_sdist=index.of_sdist))).text
        except (NoSolution, BadRequirement) as error:
            return f"no lock: {error}" if one.is_satisfiable else ""
    if not one.is_satisfiable:
        return "there is a lock, and should be none"
    every = matrix(one.question["requires_python"], one.question["environments"])
    cells = [cell for cell in every if is_served(lock, cell)]
    if uv is not None:
        spoilt = [
            cell for cell in every if cell not in cells and not lacks_file(one, installed(uv, cell.environment), cell)
        ]
        return f"{names_of(spoilt)} left out" if spoilt else _difference(lock, cells, partial(installed, uv))
    if one.expected:
        here_cells = [cell for cell in cells if f"3.{cell.minor}" == one.fields["environment"]["python"]]
        return _difference(lock, here_cells, lambda environment: one.expected)
    return ""


def _difference(lock: str, cells: Sequence[Cell], expected: Any) -> str:
    for cell in cells:
        ours, theirs = chosen_by(lock, cell), expected(cell.environment)
        if ours != theirs:
            return f"{cell.name}: {_told(ours)}, not {_told(theirs)}"
    return ""


def is_served(lock: str, cell: Cell) -> bool:
    environments = tomllib.loads(lock).get("environments", ())
    return any(Marker(text).evaluate({**cell.environment, "extra": ""}) for text in environments)


def lacks_file(one: Scenario, versions: Mapping[str, str], cell: Cell) -> bool:
    """Whether of these versions one cannot be installed in the cell: no wheel fits, and there is no sdist."""
    files = {(name, version): filenames(name, version, said) for name, version, said in one.versions()}
    return not all(
        any(file.endswith(".tar.gz") or not parse_wheel_filename(file)[3].isdisjoint(_tags(cell)) for file in several)
        for several in (files[chosen] for chosen in versions.items())
    )


def _tags(cell: Cell) -> set[Tag]:
    return {Tag(*text.split("-")) for text in cell.target.tags or ()}


def chosen_by(lock: str, cell: Cell) -> dict[str, str]:
    """The versions that our lock installs there, by project, as packaging decides its markers."""
    environment: dict[str, Any] = {**cell.environment, "extras": set(), "dependency_groups": set()}
    packages = tomllib.loads(lock)["packages"]
    return {
        one["name"]: one["version"]
        for one in packages
        if "marker" not in one or Marker(one["marker"]).evaluate(environment, context="lock_file")
    }


def _told(versions: Mapping[str, str]) -> str:
    return " ".join(f"{name} {version}" for name, version in sorted(versions.items())) or "nothing"


if __name__ == "__main__":
    main()
