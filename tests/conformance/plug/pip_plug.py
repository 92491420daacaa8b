"""A plugin for the pytest of pip's own suite: its tests run another command line in place of `python -m pip`.

Loaded by name into the interpreter of the suite (`pytest -p pip_plug`); it knows nothing of this repository but what
the variable SUITE_PLUG says, a JSON object:

    command: the words before pip's own; `--python` and the interpreter of the test's environment follow
    tests: the ids that run; all others are deselected
    results: the file to which each outcome is added, a line of JSON
    test_time_s: a test that takes longer has failed

A test that passes without having reached the command has not tested it, and counts as failed.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_TOLD: dict[str, Any] = json.loads(os.environ.get("SUITE_PLUG", "{}"))
# How much of a failure is kept; the last lines say most.
_WHY_SIZE_MAX = 6_000
_reached = False


def pytest_configure() -> None:
    from tests.lib import PipTestEnvironment

    os.environ.pop("PYTHONPATH", None)  # it led to this file; the tests' own processes have no use for it

    def pip(self: Any, *words: Any, use_module: bool = True, **more: Any) -> Any:
        global _reached
        _reached = True
        if self.pip_expect_warning:
            more["allow_stderr_warning"] = True
        python = self.bin_path / "python"
        return self.run(*_TOLD["command"], "--python", str(python), *(os.fspath(word) for word in words), **more)

    PipTestEnvironment.pip = pip


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = set(_TOLD["tests"])
    config.hook.pytest_deselected(items=[one for one in items if one.nodeid not in wanted])
    items[:] = [one for one in items if one.nodeid in wanted]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    global _reached
    _reached = False

    def late(*_: object) -> None:
        raise TimeoutError(f"{item.nodeid} took longer than {_TOLD['test_time_s']} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(int(_TOLD["test_time_s"]))
    try:
        yield
    finally:
        signal.alarm(0)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome: Any = yield
    report = outcome.get_result()
    if report.when == "call" and report.passed and not _reached:
        report.outcome, report.longrepr = "failed", "It passed without having reached the command."
    # Of a teardown only that it failed: because of what is left over, for example.
    if report.when == "call" or report.failed or (report.when == "setup" and report.skipped):
        _write(item.nodeid, report)


def _write(name: str, report: Any) -> None:
    said = "\n".join(text for name, text in report.sections if "stdout" in name)
    why = "" if report.passed else said[-_WHY_SIZE_MAX:] + str(report.longrepr)[-_WHY_SIZE_MAX:]
    # Tests that pip itself fails: to fail them, too, is as good; to pass them is better.
    expected = hasattr(report, "wasxfail") or str(report.longrepr).startswith("[XPASS(strict)]")
    row = {
        "test": name,
        "outcome": "passed" if expected else report.outcome,
        "s": round(report.duration, 2),
        "why": why,
    }
    with Path(_TOLD["results"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
