"""The key of a build: every input counts, their order does not."""

from __future__ import annotations

from dataclasses import replace

from p2pcdn.build.key import Inputs, Options, build_key
from p2pcdn.digest import Sha256

INPUTS = Inputs(
    Sha256.of(b"sdist"), ("a==1", "b==2"), "cpython 3.12.1", "linux-x86_64", Options(), "build_wheel", sandboxed=True
)


def test_every_input_counts() -> None:
    others = [
        replace(INPUTS, source=Sha256.of(b"other")),
        replace(INPUTS, pins=("a==1", "b==3")),
        replace(INPUTS, pins=()),
        replace(INPUTS, interpreter="cpython 3.12.2"),
        replace(INPUTS, platform="linux-aarch64"),
        replace(INPUTS, options=Options(settings={"a": "b"})),
        replace(INPUTS, options=Options(settings={"a": ["b"]})),
        replace(INPUTS, options=Options(environment={"CFLAGS": "-O3"})),
        replace(INPUTS, options=Options(source_date_epoch=1)),
        replace(INPUTS, options=Options(subdirectory="deep")),
        replace(INPUTS, hook="build_editable"),
        replace(INPUTS, sandboxed=False),
        replace(INPUTS, place="/home/user/tree"),
    ]
    assert len({build_key(one) for one in (INPUTS, *others)}) == len(others) + 1


def test_order_does_not_count() -> None:
    backward = replace(INPUTS, pins=("b==2", "a==1"), options=Options(environment={"X": "1", "Y": "2"}))
    forward = replace(INPUTS, options=Options(environment={"Y": "2", "X": "1"}))
    assert build_key(backward) == build_key(forward)


def test_a_key_stays_what_it_was() -> None:
    """Wheels are found by it years later: whoever changes how it is made raises RECIPE, and this figure."""
    assert build_key(INPUTS) == KEPT


KEPT = "7dba69cc37b5bbe7ae5f18fe21529ccb6b34a5d34bd1b243195dae1f2cf32e6a"
