"""How fast a wire was: measured by what was waited for, and forgotten after a while."""

from __future__ import annotations

import pytest

from p2pcdn.fetch.wires import REMEMBERED_S, Meter, Wires

MIB = 1024 * 1024


def reading(mib: int, rate: float, *, first_byte_s: float = 0.0, sink_s: float = 0.0) -> Meter:
    """So many MiB at so many bytes a second; first_byte_s: until the first; sink_s: what is done with each."""
    meter, now = Meter(), first_byte_s
    for _ in range(mib + 1):
        meter.came(MIB, now)
        now += sink_s
        meter.waits(now)
        now += MIB / rate
    return meter


def test_a_wire_is_as_fast_as_what_it_was_waited_for_says() -> None:
    wires = Wires()
    wires.note("index", reading(8, 5e6, first_byte_s=30.0, sink_s=1.0))
    assert wires.of("index", 40.0) == pytest.approx(5e6)
    assert wires.of("another", 40.0) is None


def test_a_short_reading_says_nothing() -> None:
    wires = Wires()
    meter = Meter()
    for now in range(3):
        meter.came(1000, float(now))
        meter.waits(float(now))
    wires.note("index", meter)
    assert wires.of("index", 3.0) is None


def test_the_newest_counts_most_and_an_old_one_is_forgotten() -> None:
    wires = Wires()
    wires.note("index", reading(8, 8e6))
    wires.note("index", reading(8, 4e6))
    assert wires.of("index", 10.0) == pytest.approx(6e6)
    assert wires.of("index", REMEMBERED_S + 60.0) is None
