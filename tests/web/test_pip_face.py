"""What a command may ask of the node for `zephyr pip`, and what it must not break with."""

from __future__ import annotations

from typing import Any

import pytest

from p2pcdn.errors import RemoteProtocolError
from p2pcdn.web.pip_face import _job, _project

GOOD: dict[str, Any] = {
    "goal": "wheel",
    "source": "/source",
    "sha256": "0" * 64,
    "python": "/python",
    "environment": {
        "directory": "/env",
        "python": "/env/bin/python",
        "pins": ["a==1"],
        "also": ["/b"],
        "satisfies": ["a"],
    },
}


def test_a_job_is_what_was_asked_for() -> None:
    job = _job(GOOD)
    assert (job.environment.pins, job.satisfies) == (("a==1",), frozenset({"a"}))
    assert job.sha256 == "0" * 64
    assert _job({**GOOD, "sha256": None}).sha256 is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"sha256": "../../x"},
        {"sha256": 1},
        {"goal": "everything"},
        {"source": "here"},
        {"settings": 1},
        *({"environment": {**GOOD["environment"], name: value}} for name, value in
          (("pins", "a==1"), ("pins", 1), ("pins", [1]), ("also", {"a": 1}), ("satisfies", "setuptools"))),
    ],
)  # fmt: skip
def test_a_job_that_makes_no_sense_is_told(wrong: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError):
        _job({**GOOD, **wrong})


@pytest.mark.parametrize("asked", [{}, {"project": None}, {"project": ["a"]}, {"project": "../a"}, {"project": ""}])
def test_a_project_without_a_name_is_told(asked: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError):
        _project(asked)
