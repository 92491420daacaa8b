"""Which wheels an interpreter takes: what packaging says when it runs in that very interpreter."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import packaging
import pytest

from p2pcdn_shim.zephyr.interpreters.probes import Probe
from p2pcdn_shim.zephyr.interpreters.tags import platforms_of, tags_of

CODE = "import json\nfrom packaging.tags import sys_tags\nprint(json.dumps([str(tag) for tag in sys_tags()]))"


def said(platform: str, **more: object) -> dict[str, object]:
    usual = {"bits": 64, "glibc": "2.31", "macos": "", "version": [3, 12], "free_threaded": False, "debug": False,
             "soabi": None, "markers": {"implementation_name": "cpython", "platform_machine": "x86_64"}}  # fmt: skip
    return {**usual, "platform": platform, **more}


def policies(tags: Sequence[str]) -> list[str]:
    return [tag for tag in tags if "-linux_" not in tag]


def test_the_tags_are_those_that_packaging_gives_inside(interpreters: list[Probe], tmp_path: Path) -> None:
    (tmp_path / "packaging").symlink_to(Path(packaging.__file__).parent)
    compared = 0
    for one in interpreters:
        run = subprocess.run(
            [one.executable, "-c", CODE],
            env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if run.returncode == 0:  # packaging itself does not run on the oldest ones
            expected = json.loads(run.stdout)
            assert set(one.tags) == set(expected), one.full_version
            # packaging before 26.4 has wheels of no policy last.
            assert policies(one.tags) == policies(expected), one.full_version
            compared += 1
    assert compared


def test_an_older_machine_takes_fewer_wheels() -> None:
    found = list(platforms_of(said("linux-x86_64", glibc="2.17")))
    assert found[:4] == ["linux_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_16_x86_64"]
    assert found[-2:] == ["manylinux_2_5_x86_64", "manylinux1_x86_64"]
    assert list(platforms_of(said("linux-aarch64", glibc="2.18"))) == [
        "linux_aarch64", "manylinux_2_18_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64",
    ]  # fmt: skip


def test_a_small_interpreter_on_a_large_machine_takes_small_wheels() -> None:
    assert "manylinux_2_31_i686" in platforms_of(said("linux-x86_64", bits=32))
    assert not any("x86_64" in one for one in platforms_of(said("linux-x86_64", bits=32)))


@pytest.mark.parametrize(
    ("platform", "more", "first"),
    [
        ("win-amd64", {}, "cp312-cp312-win_amd64"),
        ("win32", {"bits": 32}, "cp312-cp312-win32"),
        ("win-arm64", {}, "cp312-cp312-win_arm64"),
        (
            "macosx-11.0-arm64",
            {"macos": "14.5", "markers": {"implementation_name": "cpython", "platform_machine": "arm64"}},
            "cp312-cp312-macosx_14_0_arm64",
        ),
        ("macosx-10.9-universal2", {"macos": "10.15.7"}, "cp312-cp312-macosx_10_15_x86_64"),
        ("linux-x86_64", {"free_threaded": True, "version": [3, 13]}, "cp313-cp313t-linux_x86_64"),
        ("linux-x86_64", {"debug": True}, "cp312-cp312d-linux_x86_64"),
        (
            "linux-x86_64",
            {
                "version": [3, 10], "soabi": "pypy310-pp73-x86_64-linux-gnu",
                "markers": {"implementation_name": "pypy", "platform_machine": "x86_64"},
            },
            "pp310-pypy310_pp73-linux_x86_64",
        ),
    ],
)  # fmt: skip
def test_the_best_wheel_of_other_machines(platform: str, more: dict[str, object], first: str) -> None:
    tags = tags_of(said(platform, **more))
    assert tags[0] == first
    assert "py3-none-any" in tags
    assert len(tags) == len(set(tags))
