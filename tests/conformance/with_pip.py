"""What pip installs of a scenario on this machine, beside what we do: for those in which pip and uv differ."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence

from packaging.markers import default_environment
from packaging.tags import sys_tags

from p2pcdn.names import normalize_project
from p2pcdn.resolve import NoSolution, Target, Wanted
from tests.bench.clients import tool
from tests.bench.upstream import FaultyUpstream
from tests.bench.wheels import Distribution, make_wheel
from tests.conformance.scenario import Scenario, requires_of
from tests.resolve.test_packse import world_of
from tests.resolve.universe import pins

# What pip cannot end in this time is not waited for.
PIP_TIME_S_MAX = 60.0


def compare_with_pip(scenarios: Sequence[Scenario]) -> None:
    """Prints for each scenario what pip has, and what we have where that is something else."""
    same = 0
    for one in scenarios:
        theirs, ours = _by_pip(one), _by_us(one)
        same += ours == theirs
        print(f"{one.file_name}: pip {theirs}{'' if ours == theirs else f', we {ours}'}", flush=True)
    print(f"{same} of {len(scenarios)} come out as pip has them")


def _by_us(one: Scenario) -> dict[str, str] | None:
    target = Target.of(default_environment(), tuple(map(str, sys_tags())))
    try:
        return pins(world_of(one.fields["packages"]).solve(Wanted(tuple(one.fields["root"]["requires"])), target))
    except NoSolution:
        return None


def _by_pip(one: Scenario) -> dict[str, str] | None:
    """None where it finds nothing."""
    with FaultyUpstream(_files(one)) as index:
        command = [tool("pip-new").command, "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-"]
        command += ["--isolated", "--index-url", index.url, *one.fields["root"]["requires"]]
        done = subprocess.run(
            [str(word) for word in command], capture_output=True, text=True, timeout=PIP_TIME_S_MAX, check=False
        )
    if done.returncode:
        return None
    rows = [row["metadata"] for row in json.loads(done.stdout)["install"]]
    return {normalize_project(row["name"]): row["version"] for row in rows}


def _files(one: Scenario) -> list[Distribution]:
    return [
        make_wheel(
            project,
            version,
            requires=[*requires_of(said)],
            requires_python=said.get("requires_python"),
            yanked="" if said.get("yanked") else None,
        )
        for project, version, said in one.versions()
        if said.get("wheel", True)
    ]
