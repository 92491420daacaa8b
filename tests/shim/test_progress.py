"""Progress: a line that is drawn over on a terminal, and nothing anywhere else."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from p2pcdn_shim.zephyr.terminal import progress as under_test
from p2pcdn_shim.zephyr.terminal.progress import Progress, line_of
from p2pcdn_shim.zephyr.terminal.voice import Voice


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextmanager
def terminal() -> Iterator[Terminal]:
    """Only around the test's own lines: pytest has its own stderr before and after."""
    before, sys.stderr = sys.stderr, Terminal()
    try:
        yield sys.stderr
    finally:
        sys.stderr = before


def test_a_terminal_sees_one_line_that_is_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "REDRAW_S", 0.0)
    with terminal() as seen, Progress(Voice(), "Fetching") as progress:
        progress.show(1, 3, "numpy")
        progress.show(2, None, f"short-{'x' * 100}")
    said = seen.getvalue()
    assert said.split("\r\x1b[K") == ["", "Fetching: 1/3 numpy", "Fetching: 2 short", ""]
    assert "\n" not in said


def test_what_is_not_counted_is_seen_at_once_as_far_as_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "REDRAW_S", 3600.0)
    with terminal() as seen, Progress(Voice(), "Fetching") as progress:
        progress.show(1, 3, "numpy")
        progress.now("Building", ["scikit-learn", "numpy"])
        progress.now("Building", ["numpy"])
        progress.now("Building", ["x" * 60, "y" * 60])
        progress.now("Building", ["y" * 100])
    drawn = [
        "Fetching: 1/3 numpy",
        "Building scikit-learn, numpy",
        "Building numpy",
        f"Building {'x' * 60}",
        "Building",
    ]
    assert seen.getvalue().split("\r\x1b[K") == ["", *drawn, ""]


def test_what_a_package_or_a_url_is_called_draws_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "REDRAW_S", 0.0)
    with terminal() as seen, Progress(Voice(), "Looking at a\x1b]0;b\x07\nc", at_once=True) as progress:
        progress.show(1, 3, "d\x1b[2J")
        progress.now("Building", ["e\x1b[2J"])
    drawn = ["Looking at a\\x1b]0;b\\x07 c", "Looking at a\\x1b]0;b\\x07 c: 1/3 d\\x1b[2J", "Building e\\x1b[2J"]
    assert seen.getvalue().split("\r\x1b[K") == ["", *drawn, ""]


def test_it_is_not_drawn_more_often_than_anybody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "REDRAW_S", 3600.0)
    with terminal() as seen, Progress(Voice(), "Fetching") as progress:
        for done in range(1000):
            progress.show(done, 1000)
    assert seen.getvalue() == "\r\x1b[KFetching: 0/1000\r\x1b[K"


@pytest.mark.parametrize("voice", [Voice(quiet=True), Voice(as_json=True)])
def test_who_wants_no_words_sees_nothing(voice: Voice) -> None:
    with terminal() as seen, Progress(voice, "Fetching") as progress:
        progress.show(1, 3)
    assert seen.getvalue() == ""


def test_a_pipe_sees_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(Voice(), "Fetching") as progress:
        progress.show(1, 3)
    assert capsys.readouterr().err == ""


WHEEL = "some_extensions_of_somebody-4.15.0-cp311-cp311-manylinux_2_28_x86_64.manylinux_2_17_x86_64.whl"
# Every line that may be seen, the widest first: whole parts of it are missing, from the right.
LINES = [
    *(f"Fetching: 12/340 {'-'.join(WHEEL.split('-')[:parts])}" for parts in range(5, 0, -1)),
    "Fetching: 12/340",
    "Fetching",
    "",
]


@pytest.mark.parametrize("columns", [*range(1, 20), *range(40, 201)])
def test_a_line_loses_whole_parts_and_fits(columns: int) -> None:
    fitting = [line for line in LINES if len(line) < columns]
    assert line_of("Fetching", "12/340", WHEEL, columns) == fitting[0]
