"""Which pieces of a file: the classes of a crowd, and the half of a class that a second worker asks for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pcdn.swarm.wire import bitfield


@given(st.integers(1, 600))
def test_the_classes_of_a_file_are_all_of_it_and_none_twice(pieces: int) -> None:
    classes = [bitfield.each_third(klass, pieces) for klass in range(3)]
    assert sum(classes) == classes[0] | classes[1] | classes[2] == bitfield.all_of(pieces)


@given(st.integers(1, 600), st.integers(0, 2))
def test_a_second_worker_has_every_other_piece_of_a_class_wherever_one_looks(pieces: int, klass: int) -> None:
    of_class = list(bitfield.ones(bitfield.each_third(klass, pieces)))
    assert list(bitfield.ones(bitfield.every_sixth(klass, pieces))) == of_class[1::2]
