"""A cell for which some package has no file is left out of the lock, and told of; unless it must be served."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from packaging.markers import Marker

from p2pcdn.envs.errors import NothingFits
from p2pcdn.envs.model import Target
from p2pcdn.envs.pylock import read_lock
from p2pcdn.envs.selection import select
from p2pcdn.lock.locker import Locked
from p2pcdn.lock.targets import PLATFORMS, Cell, matrix
from p2pcdn.lock.wishes import parse_question
from p2pcdn.resolve import NoSolution
from p2pcdn_shim.zephyr.lock.lock_file import left_out_of
from tests.bench.wheels import Distribution, make_wheel
from tests.lock.rooms import room
from tests.lock.test_room import node
from tests.swarm.rooms import room_in

LINUX, LINUX_ARM, MAC, _, WINDOWS, WINDOWS_ARM = PLATFORMS
APP = make_wheel("app", requires=["only; sys_platform != 'darwin'"])
REQUIRES_PYTHON = ">=3.12"
CELLS = matrix(REQUIRES_PYTHON)


def only_on(*tags: str, project: str = "only", version: str = "1.0", requires: tuple[str, ...] = ()) -> Distribution:
    made = make_wheel(project, version, requires=requires)
    return replace(made, filename=f"{project}-{version}-{'.'.join(tags)}.whl")


# Everywhere but on ARM64 Windows, and for no Python but 3.12 and 3.13 there.
FILES = [
    APP,
    only_on("cp312-cp312-manylinux_2_17_x86_64"),
    only_on("cp313-cp313-manylinux_2_17_x86_64"),
    only_on("cp314-cp314-manylinux_2_17_x86_64"),
    only_on("cp312-abi3-manylinux_2_17_aarch64"),
    only_on("cp312-cp312-win_amd64"),
    only_on("cp313-cp313-win_amd64"),
]
OUT = {("win32", "ARM64", 12), ("win32", "ARM64", 13), ("win32", "ARM64", 14), ("win32", "AMD64", 14)}


def served(locked: Locked) -> set[Cell]:
    markers = [Marker(text) for text in tomllib.loads(locked.text)["environments"]]
    return {cell for cell in CELLS if any(marker.evaluate({**cell.environment, "extra": ""}) for marker in markers)}


def question(environments: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"requirements": ["app"], "requires_python": REQUIRES_PYTHON, "environments": list(environments)}


async def test_cells_without_a_file_drop_out_and_are_named(tmp_path: Path) -> None:
    async with room(tmp_path, *FILES) as here:
        locked = await here.lock(**question())
        out = {
            cell for cell in CELLS if (cell.platform.sys_platform, cell.platform.platform_machine, cell.minor) in OUT
        }
        assert served(locked) == {*CELLS} - out
        (one,) = locked.left_out
        assert {*one.environments} == {cell.name for cell in out}
        assert one.sentence in locked.warnings
        assert one.sentence == (
            "Python 3.14 on Windows x86-64 and Windows ARM64; Python 3.13 and 3.12 on Windows ARM64 are left out: only "
            "has no wheel for this platform and no sdist; 1.0 has cp312-abi3-manylinux_2_17_aarch64, "
            "cp312-cp312-manylinux_2_17_x86_64, cp312-cp312-win_amd64 and 3 more."
        )
        assert left_out_of(locked.text) == [one.sentence]
        # Memory gives the same; and a lock that is made of it says the same again, byte for byte.
        again = await here.lock(**question())
        assert replace(again, again=False) == locked
        assert (await here.lock(**question(), former=locked.text)).text == locked.text


async def test_who_is_left_out_hears_why_when_he_installs(tmp_path: Path) -> None:
    async with room(tmp_path, *FILES) as here:
        locked = await here.lock(**question())
    cell = Cell(WINDOWS, 14)
    with pytest.raises(NothingFits, match=r"not made for cp314 win.*are left out: only has no wheel"):
        select(read_lock(locked.text.encode(), "pylock.toml"), Target(cell.environment, cell.target.tags or ()))


async def test_the_machine_that_asks_is_always_served(tmp_path: Path) -> None:
    async with room(tmp_path, *FILES) as here:
        asked = parse_question(question())
        locked = await here.locker.lock(asked, here=Cell(WINDOWS, 13).environment)
        assert Cell(WINDOWS, 13) in served(locked)
        for _ in range(2):  # also when the lock of somebody else is remembered
            with pytest.raises(NoSolution) as caught:
                await here.locker.lock(asked, here=Cell(WINDOWS, 14).environment)
            assert caught.value.sentences[0] == "For Python 3.14 on Windows x86-64:"
            assert caught.value.sentences[-1] == "  Choose Python 3.13 or older, or let only be of another version."
        elsewhere = {**Cell(WINDOWS, 14).environment, "sys_platform": "freebsd13"}
        assert (await here.locker.lock(asked, here=elsewhere)).again, "the matrix has no cell of that machine"


ANY_WINDOWS = "sys_platform == 'win32' and python_version < '3.14'"
DECLARED: dict[str, tuple[tuple[str, ...], str]] = {
    "a system, of which one machine is left": ((ANY_WINDOWS,), ""),
    "the machine itself": (
        (f"{ANY_WINDOWS} and platform_machine == 'ARM64'",),
        "Python 3.13 and 3.12 on Windows ARM64",
    ),
    "a system, of which none is left for one Python": (("sys_platform == 'win32'",), "Python 3.14 on Windows x86-64"),
    "a system that lacks nothing": (("sys_platform == 'linux'",), ""),
}


@pytest.mark.parametrize("which", DECLARED)
async def test_an_environment_that_was_declared_is_served_or_there_is_no_lock(tmp_path: Path, which: str) -> None:
    environments, failing = DECLARED[which]
    async with room(tmp_path, *FILES) as here:
        if not failing:
            locked = await here.lock(**question(environments))
            assert bool(locked.left_out) == ("win32" in environments[0])
            return
        with pytest.raises(NoSolution) as caught:
            await here.lock(**question(environments))
        assert failing in caught.value.sentences[0]


async def test_what_has_no_file_anywhere_is_no_lock_for_nobody(tmp_path: Path) -> None:
    async with room(tmp_path, only_on("cp38-cp38-win32")) as here:
        with pytest.raises(NoSolution, match="only has no wheel for this platform"):
            await here.lock("only", requires_python=REQUIRES_PYTHON)


async def test_a_contradiction_is_none_the_less_for_a_missing_file(tmp_path: Path) -> None:
    files = [
        only_on("cp312-abi3-win_amd64", requires=("lib<2",)),
        make_wheel("app", requires=["only", "lib>=2; sys_platform != 'linux'"]),
        make_wheel("lib", "1.0"),
        make_wheel("lib", "2.0"),
        only_on("cp312-abi3-manylinux_2_17_x86_64", requires=("lib<2",)),
    ]
    async with room(tmp_path, *files) as here:
        with pytest.raises(NoSolution) as caught:
            await here.lock("app", requires_python=REQUIRES_PYTHON)
        # macOS lacks a file, and would get no versions with one either; Linux on ARM64 lacks nothing else.
        told = " ".join(caught.value.sentences)
        assert "macOS" in told
        assert "Linux" not in told


async def test_a_neighbour_leaves_out_what_we_would_leave_out(tmp_path: Path) -> None:
    async with room_in(tmp_path) as wires, trio.open_nursery() as nursery:
        first, second = await node(wires, nursery, "first"), await node(wires, nursery, "second")
        for one in (first, second):
            one.index.files[:] = FILES
        asked = parse_question(question())
        found, taken = await first.locker.lock(asked), await second.locker.lock(asked)
        assert (found.from_room, taken.from_room) == (False, True)
        assert (taken.text, taken.left_out) == (found.text, found.left_out)
        assert not second.solved
        nursery.cancel_scope.cancel()


async def test_nobody_leaves_out_for_us_what_has_its_files_here(tmp_path: Path) -> None:
    async with room_in(tmp_path) as wires, trio.open_nursery() as nursery:
        first, second = await node(wires, nursery, "first"), await node(wires, nursery, "second")
        first.index.files[:] = FILES
        second.index.files[:] = [*FILES, only_on("cp312-abi3-win_arm64")]
        asked = parse_question(question())
        await first.locker.lock(asked)
        locked = await second.locker.lock(asked)
        assert not locked.from_room
        assert Cell(WINDOWS_ARM, 12) in served(locked)
        nursery.cancel_scope.cancel()
