"""The probes find nothing in a whole sandbox, and name the wall that is missing in one that is not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from p2pcdn.errors import SandboxUnusable
from p2pcdn.sandbox.filter import DENIED, seccomp_filter
from p2pcdn.sandbox.probe import bait, check, program, questions, reached
from p2pcdn.sandbox.run import Outcome, drive, open_launcher, planned
from p2pcdn.sandbox.spec import Bind, Limits
from p2pcdn_daemon.doors.processes import RealProcesses
from tests.sandbox.programs import PYTHON, python, spec

if TYPE_CHECKING:
    from p2pcdn.sandbox.plan import Plan


async def test_no_probe_gets_out_of_a_whole_sandbox(processes: RealProcesses, tmp_path: Path) -> None:
    await check(processes, spec(), PYTHON, tmp_path)
    assert os.listdir(tmp_path) == []  # noqa: PTH208


async def test_outside_of_a_sandbox_every_probe_gets_out(processes: RealProcesses, tmp_path: Path) -> None:
    """So that a probe which can reach nothing, because it is broken, does not count as a wall."""
    async with bait(tmp_path) as laid:
        asked = questions(spec(Bind(tmp_path)), PYTHON, laid, scratch=str(tmp_path), linger=False)
        # Inside, 2 GiB; outside, a file of that length would be written.
        asked["file_bytes"] = 1000
        async with processes.open([PYTHON, "-I", "-S", "-c", program()], {"STRANGE": "1"}) as process:
            outcome = await drive(process, Limits(wall_s=20), json.dumps(asked).encode())
    missed = set(_names()) - set(reached(outcome))
    # The door closes descriptors itself; and hard links are forbidden between the file systems of some machines.
    assert missed <= {"inherits a file", "links a file it may only read", "makes a device"}


Weakening = Callable[["Plan", Path], object]


def _without_filter(told: Plan, _: Path) -> None:
    told["filter"] = seccomp_filter(os.uname().machine, DENIED[:1])


def _with_the_secret_shown(told: Plan, place: Path) -> None:
    place.chmod(0o755)
    told["binds"].append((str(place), str(place), False))


def _with_a_place_to_write(told: Plan, place: Path) -> None:
    place.chmod(0o755)
    told["binds"].append((str(place), str(place), True))


def _without_limits(told: Plan, _: Path) -> None:
    told["limits"] = []


def _with_a_wide_scratch(told: Plan, _: Path) -> None:
    told["scratch_bytes"] *= 2


def _with_more_environment(told: Plan, _: Path) -> None:
    told["environment"]["SECRET"] = "1"


WEAK: list[tuple[Weakening, set[str]]] = [
    (_without_filter, {"makes a system call that is denied", "opens a socket that leads outside"}),
    (
        _with_the_secret_shown,
        {"reads a file outside", "lists a directory outside", "connects to a unix socket outside"},
    ),
    (_with_a_place_to_write, {"writes outside"}),
    (_without_limits, {"takes more memory than it may", "fills more of the disk than it may"}),
    (_with_a_wide_scratch, {"fills more of the disk than it may"}),
    (_with_more_environment, {"sees the node's environment"}),
]


@pytest.mark.parametrize(("weaken", "expected"), WEAK, ids=[weaken.__name__.strip("_") for weaken, _ in WEAK])
async def test_a_missing_wall_is_named(
    processes: RealProcesses, tmp_path: Path, weaken: Weakening, expected: set[str]
) -> None:
    wanted = spec(address_space_bytes=1 << 30)
    argv = python(program())
    told = planned(wanted, argv)
    weaken(told, tmp_path)
    async with bait(tmp_path) as laid, open_launcher(processes, told) as (process, _):
        asked = json.dumps(questions(wanted, PYTHON, laid, linger=False)).encode()
        found = reached(await drive(process, wanted.limits, asked))
    assert expected <= set(found)


async def test_a_hole_is_refused_with_its_name(processes: RealProcesses, tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)  # noqa: PTH101
    holed = replace(spec(), binds=(*spec().binds, Bind(tmp_path)))
    with pytest.raises(
        SandboxUnusable, match=r"it lists a directory outside .* it reads a file outside .*Nothing was run"
    ):
        await check(processes, holed, PYTHON, tmp_path)


async def test_probes_that_cannot_run_are_no_proof(processes: RealProcesses, tmp_path: Path) -> None:
    with pytest.raises(
        SandboxUnusable, match="could not be tried: the program with the probes ended with exit code 127"
    ):
        await check(processes, spec(), "/usr/bin/no-such-python", tmp_path)


@pytest.mark.parametrize("said", [b"", b"[]", b"{}", b'{"tried": 3}', b'"x"'])
def test_an_answer_that_is_none_is_no_proof(said: bytes) -> None:
    with pytest.raises(SandboxUnusable, match="could not be tried"):
        reached(Outcome(0, None, said, b"", None))


def test_a_process_that_outlives_the_sandbox_is_a_hole() -> None:
    assert reached(Outcome(0, "left_running", b'{"tried": 3, "reached": {}}', b"", None)) == {
        "outlives the sandbox": "a process that it started"
    }


def _names() -> list[str]:
    return [line.split('"')[1] for line in program().splitlines() if line.startswith("@probe(")]
