"""Seeds in a child process: outcomes come back, and neither a crash nor an endless seed ends the campaign."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from simnet.campaigns import campaign, seeds
from simnet.campaigns.outcome import Outcome
from simnet.campaigns.seeds import Told, run_seeds
from simnet.marks import sometimes

ROOT = Path(__file__).parents[2]


def test_outcomes_and_marks_come_back_in_order() -> None:
    def run(seed: int) -> Outcome:
        sometimes("an even seed", seed % 2 == 0)
        return Outcome(["odd"] if seed % 2 else [], f"digest {seed}")

    told = list(run_seeds(run, range(4)))
    assert [one.seed for one in told] == [0, 1, 2, 3]
    assert [list(one.outcome.failures) for one in told] == [[], ["odd"], [], ["odd"]]
    assert [one.marks for one in told] == [{"an even seed": 1}, {}, {"an even seed": 1}, {}]
    assert told[2].outcome.digest == "digest 2"


def test_an_exception_is_a_failure_with_its_place() -> None:
    def run(seed: int) -> Outcome:
        raise ExceptionGroup("outer", [ZeroDivisionError("inner")])

    (told,) = run_seeds(run, [7])
    assert "ZeroDivisionError('inner')" in told.outcome.failures[0]


def test_a_seed_that_ends_the_process_is_a_failure_and_the_next_ones_run() -> None:
    def run(seed: int) -> Outcome:
        if seed == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return Outcome([], str(os.getpid()))

    before, crashed, after = run_seeds(run, range(3))
    assert crashed.outcome.failures == ["it ended the process (signal SIGKILL)"]
    assert before.outcome.digest != after.outcome.digest, "another process"


def test_a_seed_without_an_end_is_a_failure_that_says_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeds, "SEED_CPU_S_MAX", 0.2)

    def turn_round() -> None:
        while True:
            pass

    def run(seed: int) -> Outcome:
        if seed == 0:
            turn_round()
        return Outcome([], "")

    endless, after = run_seeds(run, range(2))
    assert re.search(r"did not end within 0.2 s of CPU time; .*test_seeds.py:\d+", endless.outcome.failures[0])
    assert after == Told(1, Outcome([], ""), {}, after.cpu_s)


def test_a_failure_is_told_with_one_command_and_unreached_branches_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(seed: int) -> Outcome:
        sometimes("seen", seed == 3)
        return Outcome(["it broke"] if seed == 4 else [], "")

    monkeypatch.setattr(campaign, "UNREACHED_FROM_SEEDS", 2)
    monkeypatch.setattr(campaign, "scenario", lambda name: (run, ("seen", "never seen")))
    assert campaign.main(["--scenario", "faults", "--from", "3", "--seeds", "2"]) == 1
    told = capsys.readouterr().out
    assert "faults, seed 4: it broke\n  python -m simnet campaign --scenario faults --from 4 --seeds 1\n" in told
    assert "1 of 2 seeds clean" in told
    assert told.endswith("  never reached: never seen\n")


def test_a_branch_that_a_thousand_seeds_do_not_reach_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "LOST_FROM_SEEDS", 3)
    monkeypatch.setattr(campaign, "scenario", lambda name: (lambda seed: Outcome([], ""), ("never seen",)))
    assert campaign.main(["--scenario", "faults", "--seeds", "2"]) == 0
    assert campaign.main(["--scenario", "faults", "--seeds", "3"]) == 1


def test_a_campaign_says_as_json_what_it_saw(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(seed: int) -> Outcome:
        sometimes("seen")
        return Outcome(["it broke"] if seed == 1 else [], "")

    monkeypatch.setattr(campaign, "scenario", lambda name: (run, ("seen", "never seen")))
    campaign.main(["--scenario", "faults", "--seeds", "3", "--json"])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told.pop("cpu_s") > 0
    assert told == {
        "scenario": "faults", "seeds": 3, "failed": [1], "reached": {"seen": 3}, "unreached": ["never seen"]
    }  # fmt: skip


def test_a_process_that_has_run_many_seeds_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeds, "SEEDS_PER_CHILD", 2)
    told = list(run_seeds(lambda seed: Outcome([], str(os.getpid())), range(5)))
    first, *_ = processes = [one.outcome.digest for one in told]
    assert [one == first for one in processes] == [True, True, False, False, False]
    assert len(set(processes)) == 3


def test_times_are_read_as_people_write_them() -> None:
    assert [campaign.duration_s(text) for text in ("90", "90s", "10m", "1.5h")] == [90, 90, 600, 5400]


def test_what_the_nodes_of_a_campaign_log_is_no_word_of_it() -> None:
    """In seed 0 a neighbour that falls silent breaks answers off, of which a node in service warns."""
    words = [sys.executable, "-m", "simnet", "campaign", "--scenario", "faults-silence", "--seeds", "1"]
    told = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=120, check=True)
    assert told.stderr == ""
    assert len(told.stdout.splitlines()) == 1
