"""What one dead, lying or thin-wired node costs a crowd, in small sizes; the large ones are in docs/performance.md."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from p2pcdn.swarm.advising.crowd import AGAIN_MS
from p2pcdn.swarm.advising.leases import LEASE_S
from p2pcdn.swarm.filling.race import WINDOW_S
from simnet.__main__ import main
from simnet.scenarios.flash_crowd import Wanted
from simnet.scenarios.hardship import FIRST_BYTE_S, THIN_RATE, run

PIECES = 64
SMALL = Wanted(nodes=6, pieces=PIECES, upstream_rate=125_000_000.0 / 4)
# A member asks its tracker so often, and is told then.
ASKED_EVERY_S = AGAIN_MS[-1] / 1000 * 1.1


@pytest.fixture(autouse=True)
def no_logs() -> Iterator[None]:
    logger = logging.getLogger("p2pcdn")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


def figures(kind: str, wanted: Wanted = SMALL) -> dict[str, Any]:
    result, failures = run(wanted, kind)
    assert not failures, failures
    assert result["wrong_bytes"] == 0
    return result


def test_a_reader_that_dies_costs_one_lease_and_little_is_read_again() -> None:
    result = figures("reader-dies")
    assert result["nodes_done"] == SMALL.nodes - 1
    assert result["virtual_seconds"] <= result["plain_seconds"] + LEASE_S + ASKED_EVERY_S
    assert result["upstream_bytes_per_file"] <= 1 + 3 / PIECES


def test_behind_a_reader_that_died_nobody_waits_for_longer_than_the_lease() -> None:
    result = figures("reader-dies", Wanted(nodes=6, pieces=PIECES, upstream_rate=125_000_000.0))
    assert result["virtual_seconds"] <= result["plain_seconds"] + LEASE_S
    assert result["upstream_bytes_per_file"] <= round(1 + 3 / PIECES, 4), "three pieces, in the digits of the figure"


def test_a_reader_that_dies_and_was_the_tracker_costs_little_more_of_the_upstream() -> None:
    """Who asked the next in rank was sent back to the dead one, and went on to a third: two read what was left."""
    result = figures("reader-dies", Wanted(nodes=8, pieces=PIECES, upstream_rate=125_000_000.0, seed=3))
    assert result["nodes_done"] == 7
    assert result["upstream_bytes_per_file"] <= 1 + 4 / PIECES


def test_a_reader_that_lies_costs_the_time_once_more_and_one_lease() -> None:
    result = figures("reader-lies")
    assert result["nodes_done"] == SMALL.nodes - 1
    assert result["virtual_seconds"] <= 2 * result["plain_seconds"] + LEASE_S


def test_in_the_place_of_a_liar_one_reads_and_not_two() -> None:
    """Nobody takes what he reads, so that he looked like one who keeps it, behind a thin wire: a second read beside."""
    result = figures("reader-lies", Wanted(nodes=8, pieces=33, upstream_rate=6_250_000.0))
    assert result["virtual_seconds"] / 2 > LEASE_S, "else he has not read for long enough"
    assert result["upstream_bytes_per_file"] <= 2
    assert result["upstream_requests"] == 2


@pytest.mark.parametrize("kind", ["thin-reader", "thin-holder"])
def test_a_room_behind_a_thin_wire_is_no_slower_than_the_upstream_alone(kind: str) -> None:
    result = figures(kind)
    assert result["virtual_seconds"] <= result["alone_seconds"]
    assert result["virtual_seconds"] <= result["plain_seconds"] + WINDOW_S + 2 * ASKED_EVERY_S
    assert result["virtual_seconds"] < PIECES * 1024 * 1024 / THIN_RATE / 2, "the thin wire alone"
    assert result["upstream_bytes_per_file"] <= 1.2


def test_one_node_with_a_neighbour_behind_a_thin_wire_loses_the_time_of_a_look() -> None:
    result = figures("thin-holder", Wanted(nodes=2, pieces=256, upstream_rate=125_000_000.0 / 4))
    assert result["virtual_seconds"] <= result["alone_seconds"] + WINDOW_S + ASKED_EVERY_S


def test_an_upstream_that_is_slow_to_begin_is_read_once() -> None:
    result = figures("slow-upstream")
    assert result["upstream_bytes_per_file"] <= 1 + 1 / PIECES
    assert result["virtual_seconds"] <= result["plain_seconds"] + FIRST_BYTE_S + 2 * ASKED_EVERY_S


# The port of an office's upstream: the file takes five seconds, in which machines are busy several times.
BUSY = Wanted(nodes=8, pieces=32, upstream_rate=6_250_000.0)
SEEDS = range(1, 9)


@pytest.mark.parametrize("seed", [1, 7, 10, 11])
def test_a_tracker_that_is_busy_for_a_second_now_and_then_makes_nobody_read_twice(seed: int) -> None:
    """Its crowd went on at the next in rank, which let another one read: 1.89, 1.49, 1.65 and 1.06 readings."""
    result = figures("busy-tracker", replace(BUSY, seed=seed))
    assert result["upstream_bytes_per_file"] <= 1 + 1 / BUSY.pieces


def readings(kind: str) -> float:
    """How often the file is read of the upstream, in the mean of the first eight seeds."""
    return sum(figures(kind, replace(BUSY, seed=seed))["upstream_bytes_per_file"] for seed in SEEDS) / len(SEEDS)


def test_in_a_room_of_busy_machines_one_reads() -> None:
    """1.19 readings before. A tracker that lets itself read, and is stopped before anybody has heard of it, cannot be
    told from a dead one: what is read twice then is all that may be."""
    assert readings("busy-room") <= 1.1


def test_in_a_room_of_busy_machines_one_reads_in_the_place_of_a_liar() -> None:
    """2.15 readings before, and up to 4.25."""
    assert readings("busy-liar") <= 2


def test_the_command_prints_its_figures_as_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hardship", "--kind", "reader-dies", "--nodes", "3", "--pieces", "8", "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"kind", "trace_digest", "virtual_seconds", "plain_seconds", "alone_seconds"} <= set(result)
