"""The settings with which a lock was made, told by its hash alone."""

from __future__ import annotations

from typing import Any

import pytest

from p2pcdn.lock.question import DEFAULTS, digest
from p2pcdn_shim.zephyr.lock.differing import LIKELY, differing

QUESTION: dict[str, Any] = {"requirements": ["flask"], "constraints": ["werkzeug<3", "click<9"], "prefer": "highest"}


@pytest.mark.parametrize(
    ("then", "told"),
    [
        ({"prefer": "lowest"}, ["prefer = lowest, where highest is in force"]),
        ({"prereleases": "allow"}, ["prerelease = true, where false is in force"]),
        ({"constraints": []}, ["constraints = nothing, where click<9, werkzeug<3 is in force"]),
        (
            {"prefer": "lowest", "no_binary": [":all:"]},
            ["prefer = lowest, where highest is in force", "no-binary = :all:, where nothing is in force"],
        ),
        ({}, []),
        ({"requirements": ["django"]}, []),
        ({"requirements": ["django"], "prefer": "lowest"}, []),
        ({"exclude_newer": "2026-03-01T00:00:00Z"}, []),
    ],
)
def test_a_setting_that_makes_the_difference_is_named(then: dict[str, Any], told: list[str]) -> None:
    assert differing(QUESTION, digest(QUESTION | then)) == told


def test_every_setting_of_a_question_can_make_it() -> None:
    of_the_project = {"requires_python", "requirements", "extras", "groups", "prerelease_projects", "itself"}
    assert LIKELY.keys() == DEFAULTS.keys() - of_the_project
