"""The targets of `fuzz/` under hypothesis, always; under atheris for a moment, where it is installed."""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.__main__ import TARGETS as NAMES
from fuzz.targets import TARGETS, seeds

ROOT = Path(__file__).parents[2]
EXAMPLES = 150
EDGES = [b"\r\n", b"\r\n\r\n", b"\0", b"\xff", b"%00", b"?", b"&", b",", b"/", b"-", b"9" * 20, b"a" * 200, b"=", b":"]


def mangled(name: str) -> st.SearchStrategy[bytes]:
    """What is right, cut, doubled, joined, with bytes changed and pieces put in; and bytes that are nothing."""
    start = st.lists(st.sampled_from(seeds(name)), min_size=1, max_size=3).map(b"".join)
    change = st.tuples(st.floats(0, 1), st.sampled_from(EDGES) | st.binary(max_size=4), st.integers(0, 8))
    return st.tuples(start, st.lists(change, max_size=4)).map(_changed) | st.binary(max_size=200)


def _changed(how: tuple[bytes, list[tuple[float, bytes, int]]]) -> bytes:
    content, changes = how
    for place, put, dropped in changes:
        at = int(place * len(content))
        content = content[:at] + put + content[at + dropped :]
    return content


def test_the_command_names_every_target() -> None:
    assert tuple(TARGETS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_what_is_right_is_taken(name: str) -> None:
    for content in seeds(name):
        TARGETS[name](content)


@pytest.mark.parametrize("name", NAMES)
def test_any_bytes_are_the_documented_errors_and_nothing_else(name: str) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(mangled(name))
    def check(content: bytes) -> None:
        TARGETS[name](content)

    check()


@pytest.mark.parametrize("name", NAMES)
def test_noise_in_every_place_of_what_is_right(name: str) -> None:
    dice = random.Random(name)
    for content in seeds(name):
        for _ in range(20):
            at = dice.randrange(len(content))
            TARGETS[name](content[:at] + bytes([dice.randrange(256)]) + content[at + dice.randrange(3) :])


def test_atheris_finds_nothing_in_a_moment() -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed; `python -m fuzz` needs it")
    run = subprocess.run(
        [sys.executable, "-m", "fuzz", "body", "--seconds", "2"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "daemon")])},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    assert "body: ok" in run.stdout
