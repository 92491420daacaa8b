"""Pieces in the lines of a terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pcdn_shim.zephyr.terminal.width import lines_of


def test_pieces_stand_in_as_few_lines_as_they_fit_into() -> None:
    pieces = ["+numpy 2.4.6", "+pandas 3.1.1", "+six 1.17.0"]
    assert list(lines_of(pieces, ", ", "  ", 80)) == ["  +numpy 2.4.6, +pandas 3.1.1, +six 1.17.0"]
    assert list(lines_of(pieces, ", ", "  ", 30)) == ["  +numpy 2.4.6, +pandas 3.1.1,", "  +six 1.17.0"]
    assert list(lines_of(pieces, ", ", "  ", 1)) == ["  +numpy 2.4.6,", "  +pandas 3.1.1,", "  +six 1.17.0"]
    assert list(lines_of([], ", ", "  ", 80)) == []


@given(st.lists(st.text("ab ", min_size=1).map(lambda text: f"+{text}"), max_size=20), st.integers(10, 40))
def test_a_line_is_too_long_only_where_one_piece_is(pieces: list[str], columns: int) -> None:
    lines = list(lines_of(pieces, ", ", "  ", columns))
    assert ", ".join(line.strip(" ").rstrip(",") for line in lines).count("+") == len(pieces)
    for line in lines:
        assert len(line) <= columns or line.count("+") == 1
