"""The history of an environment: an entry is a line for programs, and as wide as the terminal for people."""

from __future__ import annotations

from typing import Any

from p2pcdn_shim.zephyr.commands.history import lines_of_entry

ENTRY: dict[str, Any] = {
    "generation": 7,
    "at_s": 1_800_000_000.0,
    "command": "zephyr add rich",
    "added": [
        {
            "project": name,
            "version": "1.0",
            "file": f"{name}-1.0-py3-none-any.whl",
            "sha256": "ab" * 32,
            "from": "store",
        }
        for name in ("markdown-it-py", "mdurl", "pygments", "rich")
    ],
    "removed": [{"project": "colorama", "version": "0.4.6"}],
}


def test_an_entry_is_one_line_for_programs() -> None:
    [line] = lines_of_entry(ENTRY, {7}, None, verbose=False)
    assert line.startswith("*   7  ")
    assert line.endswith("zephyr add rich: +markdown-it-py 1.0, +mdurl 1.0, +pygments 1.0, +rich 1.0, -colorama 0.4.6")
    assert len(list(lines_of_entry(ENTRY, {7}, None, verbose=True))) == 5


def test_an_entry_is_no_wider_than_the_terminal() -> None:
    for verbose in (False, True):
        lines = list(lines_of_entry(ENTRY, set(), 80, verbose=verbose))
        assert lines[0].endswith("  zephyr add rich")
        assert lines[1:3] == [
            "       +markdown-it-py 1.0, +mdurl 1.0, +pygments 1.0, +rich 1.0,",
            "       -colorama 0.4.6",
        ]
        assert max(map(len, lines)) <= 80
    assert list(lines_of_entry({"generation": 1}, set(), 80, verbose=False))[1:] == ["       nothing new"]
