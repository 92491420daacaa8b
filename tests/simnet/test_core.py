"""Whole nodes in virtual time: runs that repeat, leave nothing behind and let nothing out; and the power switch."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import math
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
import trio._core._run as trio_run

from p2pcdn.http1.lobby import Lobby
from simnet.__main__ import main
from simnet.client import Failed
from simnet.disks.disk import SimDisk
from simnet.net.link import GIGABIT
from simnet.net.topologies import TOPOLOGIES
from simnet.node import Options, SimNode
from simnet.patches import Leak
from simnet.scenarios.flash_crowd import Wanted, run
from simnet.simulation import Hang, Simulation
from simnet.turns.kernel import BEGIN_S, Kernel
from simnet.upstream import Faults, content_of

ROOT = Path(__file__).parent.parent.parent
SMALL = Wanted(nodes=5, pieces=8, seed=3)


@pytest.fixture(autouse=True)
def no_logs() -> Iterator[None]:
    logger = logging.getLogger("p2pcdn")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


def crowd(wanted: Wanted = SMALL) -> dict[str, object]:
    result, failures = run(wanted)
    assert not failures, failures
    result.pop("cpu_seconds")
    return result


@contextmanager
def logged(name: str, said: list[str]) -> Iterator[None]:
    """What this logger says within it, warnings and worse, as a log shows it."""
    handler, logger = logging.Handler(logging.WARNING), logging.getLogger(name)
    handler.emit = lambda record: said.append(logging.Formatter().format(record))  # type: ignore[method-assign]
    before = logger.level
    logger.setLevel(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


# --- the same seed, the same story


def test_a_seed_repeats_itself_in_one_process_and_another_seed_does_not() -> None:
    first = crowd()
    assert crowd() == first
    assert crowd(Wanted(nodes=5, pieces=8, seed=4))["trace_digest"] != first["trace_digest"]


def test_a_seed_repeats_itself_in_other_processes_with_other_hash_seeds() -> None:
    here = crowd()
    words = ["flash-crowd", "--nodes", "5", "--pieces", "8", "--seed", "3", "--json"]
    for hash_seed in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-m", "simnet", *words],
            cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        there = json.loads(done.stdout.splitlines()[-1])
        there.pop("cpu_seconds")
        assert there == here


def test_every_user_has_the_file_and_the_upstream_gave_it_about_once() -> None:
    result = crowd()
    assert result["nodes_done"] == 5
    assert result["wrong_bytes"] == 0
    assert result["upstream_bytes_per_file"] < 1.5  # type: ignore[operator]
    assert result["virtual_seconds"] >= result["bound_seconds"] * 0.99  # type: ignore[operator]


@pytest.mark.parametrize("topology", sorted(TOPOLOGIES))
def test_a_crowd_comes_to_its_end_on_every_topology(topology: str) -> None:
    assert crowd(Wanted(nodes=6, pieces=8, topology=topology, upstream_rate=GIGABIT / 4))["nodes_done"] == 6


def test_a_room_on_one_access_point_reads_once_and_takes_little_more_than_its_air_allows() -> None:
    result = crowd(Wanted(nodes=12, pieces=24, topology="wifi"))
    assert result["duplicates"] < 0.001  # type: ignore[operator]
    assert result["upstream_bytes_per_file"] < 1 + 2 / 24  # type: ignore[operator]
    assert 0.99 < result["ratio_to_bound"] < 1.05  # type: ignore[operator]


def test_two_sites_read_once_each() -> None:
    result = crowd(Wanted(nodes=10, pieces=24, topology="two-sites"))
    assert result["duplicates"] == 0
    assert 2 <= result["upstream_bytes_per_file"] < 2 + 2 / 24  # type: ignore[operator]


def test_liars_cost_time_and_no_wrong_byte() -> None:
    result = crowd(Wanted(nodes=10, pieces=8, liars=20))
    assert (result["liars"], result["wrong_bytes"], result["nodes_done"]) == (2, 0, 10)


def test_who_gives_wrong_bytes_comes_last_and_the_others_need_little_more_than_without_it() -> None:
    alone, beside = crowd(Wanted(nodes=20, pieces=48)), crowd(Wanted(nodes=20, pieces=48, liars=10))
    assert (beside["nodes_done"], beside["wrong_bytes"]) == (20, 0)
    assert beside["virtual_seconds"] < 1.1 * alone["virtual_seconds"]  # type: ignore[operator]
    assert beside["virtual_seconds"] < beside["liars_seconds"]  # type: ignore[operator]
    assert beside["liars_seconds"] < 4 * alone["virtual_seconds"], "its own user has the file soon after"  # type: ignore[operator]
    assert beside["upstream_bytes_per_file"] <= 1 + 2 / 48  # type: ignore[operator]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_where_liars_leave_too_few_hands_only_lies_come_twice(seed: int) -> None:
    """Each who has no parent asks twice at once, and must not ask for the same: a lie costs a piece at the most."""
    result = crowd(Wanted(nodes=20, pieces=48, liars=20, seed=seed))
    assert result["wrong_bytes"] == 0
    twice = float(result["duplicates"]) * 20 * 48  # type: ignore[arg-type]
    assert 0 <= twice < int(result["refused_pieces"])  # type: ignore[call-overload]


def test_a_run_that_fails_says_how_it_is_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["flash-crowd", "--nodes", "1", "--pieces", "1", "--upstream-rate", "17", "--seed", "9"]
    assert main(words) == 1
    again = capsys.readouterr().err.splitlines()[-1]
    assert again.endswith("python -m simnet flash-crowd --nodes 1 --pieces 1 --seed 9 --upstream-rate 17")


def test_the_trace_is_a_line_for_each_thing_that_happened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flash-crowd", "--nodes", "2", "--pieces", "2", "--json", "--trace", str(tmp_path / "trace")]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    trace = (tmp_path / "trace").read_bytes()
    assert hashlib.blake2b(trace, digest_size=16).hexdigest() == result["trace_digest"]
    assert trace.count(b" done node-") == 2


# --- nothing is left behind, nothing gets out


def test_a_run_leaves_nothing_changed() -> None:
    def everything() -> list[object]:
        return [
            time.time, time.monotonic, time.perf_counter, time.sleep, time.time_ns, os.urandom, random._urandom,  # type: ignore[attr-defined]
            socket.socket, threading.Thread.start, subprocess.Popen, trio.to_thread.run_sync, Lobby.possible,
            trio_run.Deadlines.add, trio_run._ALLOW_DETERMINISTIC_SCHEDULING, random.getstate(), trio_run._r.getstate(),
            len(list(Path("/proc/self/fd").iterdir())),
        ]  # fmt: skip

    crowd()
    before = everything()
    crowd()
    with pytest.raises(RuntimeError, match="on purpose"):
        _tell(_fails)
    assert everything() == before


def test_the_directory_of_a_run_goes_with_it() -> None:
    seen: list[Path] = []

    async def story(simulation: Simulation) -> None:
        await simulation.start_nodes()
        seen.append(simulation.directory)
        assert simulation.directory.is_dir()

    _tell(story)
    assert not seen[0].exists()


async def _fails(simulation: Simulation) -> None:
    await simulation.start_nodes()
    raise RuntimeError("on purpose")


@pytest.mark.parametrize(
    "reach",
    [lambda: time.sleep(1), lambda: socket.socket(), lambda: threading.Thread(target=print).start(),
     lambda: subprocess.run(["true"], check=True)],
    ids=["sleep", "socket", "thread", "process"],
)  # fmt: skip
def test_nothing_reaches_the_real_world(reach: Callable[[], object]) -> None:
    async def story(simulation: Simulation) -> None:
        with pytest.raises(Leak):
            reach()

    _tell(story)


def test_a_socket_outside_of_every_host_is_refused() -> None:
    async def story(simulation: Simulation) -> None:
        with pytest.raises(RuntimeError, match="outside of every simulated host"):
            trio.socket.socket()

    _tell(story)


def test_a_story_without_an_end_is_a_hang() -> None:
    async def waits(simulation: Simulation) -> None:
        await trio.sleep_forever()

    with pytest.raises(Hang, match="no end"):
        _tell(waits, time_max_s=100.0)
    with pytest.raises(Hang, match="everything waits"):
        Simulation(1, time_max_s=math.inf).run(trio.sleep_forever)


# --- time


def test_events_come_at_their_times_and_in_their_order_and_can_be_called_off() -> None:
    seen: list[object] = []

    async def story(simulation: Simulation) -> None:
        kernel: Kernel = simulation.kernel
        for name, at in (("c", 2.0), ("a", 1.0), ("b", 1.0), ("never", 1.5)):
            event = kernel.after(at, seen.append, name)
            if name == "never":
                kernel.call_off(event)
        await trio.sleep(1.2)
        seen.append("task")
        await kernel.sleep(2.0)
        seen.append(round(trio.current_time() - BEGIN_S, 6))
        assert time.monotonic() == trio.current_time()
        with trio.move_on_after(0.5) as scope:
            await kernel.sleep(2.0)
        assert scope.cancelled_caught

    _tell(story)
    assert seen == ["a", "b", "task", "c", 3.2]


def test_a_clock_that_jumps_is_that_nodes_alone() -> None:
    async def story(simulation: Simulation) -> None:
        one, other, *_ = await simulation.start_nodes()
        before = other.clock.now()
        one.clock.ahead_s += 3600
        assert one.clock.now() - other.clock.now() == 3600
        assert other.clock.now() == before

    _tell(story)


# --- nodes and their power


def test_a_node_that_lost_its_power_goes_on_with_what_its_disk_has() -> None:
    content = content_of(1, 3_000_000)

    async def story(simulation: Simulation) -> None:
        published = simulation.upstream.publish("thing", content)
        one = simulation.add_node(simulation.topology.nodes[0], Options(disk=_fragile))
        one.start()
        await one.ready()
        assert (await one.install("thing")).sha256 == published.sha256
        await trio.sleep(20)
        simulation.upstream.file_faults.status = 503
        one.power_off()
        assert not one.host.alive
        with pytest.raises((Failed, OSError)):
            await one.install("thing")
        await trio.sleep(5)
        await one.restart()
        assert one.lives == 2
        assert (await one.install("thing")).sha256 == published.sha256
        assert len(simulation.upstream.requests) == 1

    _tell(story)


def test_power_goes_at_any_moment_and_users_get_the_file_after_it() -> None:
    content = content_of(1, 3_000_000)

    async def story(simulation: Simulation) -> None:
        published = simulation.upstream.publish("thing", content)
        nodes = [simulation.add_node(host, Options(disk=_fragile)) for host in simulation.topology.nodes]
        for node in nodes:
            node.start()
        for node in nodes:
            await node.ready()
        await trio.sleep(4)
        async with trio.open_nursery() as nursery:
            for node in nodes:
                nursery.start_soon(_try, node)
            for node in nodes:
                await trio.sleep(simulation.dice.uniform(0.001, 0.03))
                simulation.dice.choice([node.power_off, node.kill])()
                nursery.start_soon(node.restart)
        for node in nodes:
            assert (await node.install("thing")).sha256 == published.sha256
        assert not simulation.failures

    for seed in range(5):
        _tell(story, seed=seed)


def test_what_the_disk_cannot_read_any_more_is_fetched_anew_by_who_asks_again() -> None:
    content = content_of(1, 3_000_000)
    said: list[str] = []

    async def story(simulation: Simulation) -> None:
        published = simulation.upstream.publish("thing", content)
        one = simulation.add_node(simulation.topology.nodes[0])
        one.start()
        await one.ready()
        assert (await one.install("thing")).sha256 == published.sha256
        await trio.sleep(5)
        (bad,) = [str(path) for path in one.disk.paths() if "/blobs/" in str(path)]
        reads = 0

        def bad_sector(call: str, path: str) -> int | None:
            nonlocal reads
            reads += (call, path) == ("pread", bad)
            return errno.EIO if reads > 1 else None

        one.disk.faults.script = bad_sector
        with pytest.raises((Failed, OSError)):
            await one.install("thing")
        assert reads > 1
        one.disk.faults.script = None  # where it is written anew there are other sectors
        assert (await one.install("thing")).sha256 == published.sha256
        assert len(simulation.upstream.requests) == 2
        await trio.sleep(5)  # until it is kept

    with logged("p2pcdn", said):
        _tell(story)
    assert any("cannot be read in the store" in words for words in said)
    assert not any("Traceback" in words for words in said)


def test_a_node_stops_when_it_is_told_to() -> None:
    async def story(simulation: Simulation) -> None:
        one, *_ = await simulation.start_nodes()
        await one.stop()
        assert not one.alive
        await one.restart()
        assert one.alive

    _tell(story)


def test_a_node_that_dies_by_itself_is_a_failure_of_the_run() -> None:
    async def story(simulation: Simulation) -> None:
        one, *_ = await simulation.start_nodes()
        assert one.node is not None
        one.node._upkeep = _raises  # type: ignore[method-assign]
        await one.stop()
        one.options.more["nonsense"] = 1
        one.start()
        with pytest.raises(RuntimeError, match="did not come up"):
            await one.ready()
        assert "nonsense" in simulation.failures[0]

    _tell(story)


async def _raises() -> None:
    raise AssertionError


@pytest.mark.parametrize(
    "faults",
    [Faults(latency_s=2.0), Faults(status=503, times=1), Faults(cut_after=1_000_000, times=1),
     Faults(hang_after=1_000_000, times=1), Faults(cut_after=0, times=2)],
    ids=["late", "503", "cut", "hang", "cut at once"],
)  # fmt: skip
def test_an_upstream_with_a_fault_costs_time_and_no_bytes(faults: Faults) -> None:
    async def story(simulation: Simulation) -> None:
        published = simulation.upstream.publish("thing", content_of(1, 3_000_000))
        one, *_ = await simulation.start_nodes()
        simulation.upstream.file_faults = faults
        assert (await one.install("thing")).sha256 == published.sha256

    _tell(story)


def test_a_lying_upstream_reaches_no_user() -> None:
    async def story(simulation: Simulation) -> None:
        simulation.upstream.publish("thing", content_of(1, 3_000_000))
        one, *_ = await simulation.start_nodes()
        simulation.upstream.file_faults = Faults(lies=True)
        with pytest.raises(Failed):
            await one.install("thing")

    _tell(story)


def _fragile(node: SimNode) -> SimDisk:
    layout = node.layout
    dice = random.Random(f"disk {node.host.name}")
    return SimDisk(dice, rooms=(layout.directory, layout.blobs, layout.partials))


async def _try(node: SimNode) -> None:
    try:
        await node.install("thing")
    except (Failed, OSError):
        return


def _tell(story: Callable[[Simulation], Awaitable[None]], *, seed: int = 1, time_max_s: float = 600.0) -> None:
    simulation = Simulation(seed, time_max_s=time_max_s)
    simulation.build(3)

    async def told() -> None:
        await story(simulation)

    simulation.run(told)
