"""Markers whose extras and groups are decided, and what is left of them."""

from __future__ import annotations

from typing import Any

import pytest
from packaging.markers import Marker

from p2pcdn_shim.zephyr.project.marker_text import left_of

EXTRAS = {"extras": {"a"}, "dependency_groups": {"dev"}}
LEFT: dict[str, str | bool] = {
    "'a' in extras": True,
    "'b' in extras": False,
    "'b' not in extras and os_name == 'nt'": 'os_name == "nt"',
    "'b' in extras or 'dev' in dependency_groups": True,
    "python_version<'3.9' and ('b' in extras or os_name=='nt' or 'c' in extras)": (
        'python_version < "3.9" and os_name == "nt"'
    ),
    "(os_name == 'nt' or sys_platform == 'darwin') and 'a' in extras": 'os_name == "nt" or sys_platform == "darwin"',
    "(os_name == 'nt' or 'x' in platform_machine) and python_version >= '3.10'": (
        '(os_name == "nt" or "x" in platform_machine) and python_version >= "3.10"'
    ),
    "(os_name == 'nt' and 'a' in extras) or (os_name == 'posix')": 'os_name == "nt" or os_name == "posix"',
    "os_name == '\"'": "os_name == '\"'",
}


@pytest.mark.parametrize("text", LEFT)
def test_of_a_marker_is_left_what_extras_do_not_decide(text: str) -> None:
    def decide(left: str, operator: str, right: str) -> bool | None:
        return None if right not in EXTRAS else (left.strip("'") in EXTRAS[right]) == (operator == "in")

    left = left_of(text, decide)
    assert left == LEFT[text]
    for system in ("nt", "posix"):  # and it means the same as before
        environment: dict[str, Any] = {"os_name": system, "python_version": "3.8", "platform_machine": "x", **EXTRAS}
        holds = left if isinstance(left, bool) else Marker(left).evaluate(environment)
        assert holds == Marker(text).evaluate(environment, context="lock_file")


@pytest.mark.parametrize(
    "text", ["", "a", "a ==", "(a == 'b'", "a == 'b' or", "a == 'b')", "a not 'b'", "é == 'b'", "(" * 999]
)
def test_what_is_no_marker_is_not_read(text: str) -> None:
    with pytest.raises(ValueError, match="marker"):
        left_of(text, lambda left, operator, right: None)
