"""What a version says comes back as it was said, and nothing that it says passes for something else."""

from __future__ import annotations

import pytest

from p2pcdn.resolve import Metadata, Source, metadata_of, octets_of
from p2pcdn.resolve.said import is_broken

SOURCE = Source("a", "1.0")


@pytest.mark.parametrize(
    "said",
    [
        Metadata(SOURCE),
        Metadata(SOURCE, "1.0", ("b<2", 'c; extra == "x"'), ("x", "y"), ">=3"),
        Metadata(SOURCE, broken="its zip has no end"),
    ],
)
def test_it_comes_back_whole(said: Metadata) -> None:
    assert metadata_of(SOURCE, octets_of(said)) == said
    assert is_broken(octets_of(said)) == bool(said.broken)


def test_a_line_too_many_becomes_no_requirement() -> None:
    said = Metadata(SOURCE, "1.0", ("b\nc",), broken="no\nzip")
    assert metadata_of(SOURCE, octets_of(said)) == Metadata(SOURCE, "1.0", ("b c",), broken="no zip")


def test_what_has_no_encoding_is_replaced() -> None:
    assert metadata_of(SOURCE, octets_of(Metadata(SOURCE, broken="\udcff"))).broken == "?"
