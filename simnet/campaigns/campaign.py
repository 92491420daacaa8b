"""Seeds of fault scenarios, as many as one likes: `python -m simnet campaign [--scenario S] [--seeds N | --for 10m]`.

Each failure is printed with one command that replays it. At the end: how many seeds ran clean, and which rare branches
none of them reached; of a thousand seeds that is a failure, too. A terminal sees progress; a pipe sees failures and
the end only.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial

from simnet.campaigns.outcome import Outcome
from simnet.campaigns.seeds import run_seeds

# Scenario -> its module, which has `run(seed) -> Outcome` and MARKS.
SCENARIOS = {
    "faults": "simnet.scenarios.faults",
    "faults-silence": "simnet.scenarios.faults_silence",
    "faults-store": "simnet.scenarios.faults_store",
    "reader-dies": "simnet.scenarios.reader_dies",
    "rumours": "simnet.scenarios.rumours",
}
SEEDS = 200
PROGRESS_EVERY_S = 0.5
# A handful of seeds does not reach what is rare, and who replays one knows.
UNREACHED_FROM_SEEDS = 100
# What so many did not reach is reached no more: the scenario proves less than it promises.
LOST_FROM_SEEDS = 1000
_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass
class Tally:
    """What a campaign saw. unreached: promised marks that no seed came to."""

    scenario: str
    seeds: int = 0
    failed: list[int] = field(default_factory=list)
    cpu_s: float = 0.0
    reached: dict[str, int] = field(default_factory=dict)
    unreached: Sequence[str] = ()


def scenario(name: str) -> tuple[Callable[[int], Outcome], Sequence[str]]:
    """How one seed of it is run, and the marks that it promises."""
    module = importlib.import_module(SCENARIOS[name])
    return module.run, module.MARKS


def replay_command(name: str, seed: int) -> str:
    """What to type to see one failure again."""
    return f"python -m simnet campaign --scenario {name} --from {seed} --seeds 1"


def campaign(
    name: str,
    seeds: Iterator[int],
    on_failure: Callable[[int, Outcome], None] = lambda seed, outcome: None,
    on_progress: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Runs seeds until there are no more."""
    run, promised = scenario(name)
    tally = Tally(name)
    for told in run_seeds(run, seeds):
        tally.seeds += 1
        tally.cpu_s += told.cpu_s
        for mark, times in told.marks.items():
            tally.reached[mark] = tally.reached.get(mark, 0) + times
        if told.outcome.failures:
            tally.failed.append(told.seed)
            on_failure(told.seed, told.outcome)
        on_progress(tally)
    tally.unreached = [mark for mark in promised if mark not in tally.reached]
    return tally


def main(arguments: Sequence[str]) -> int:
    """The command; 1 where a seed failed, or a thousand did not come to what they should."""
    parser = argparse.ArgumentParser(prog="python -m simnet campaign", description=__doc__)
    parser.add_argument("--scenario", action="append", choices=sorted(SCENARIOS), help="default: all, in turn")
    parser.add_argument("--seeds", type=int, help=f"how many of each (default {SEEDS})")
    parser.add_argument("--for", dest="for_s", type=duration_s, help="how long instead, all in all: 90s, 10m, 2h")
    parser.add_argument("--from", dest="first", type=int, default=0, metavar="SEED")
    parser.add_argument("--json", action="store_true", help="one object a scenario, on the last lines")
    wanted = parser.parse_args(arguments)
    names = wanted.scenario or sorted(SCENARIOS)
    tallies = []
    for name in names:
        seeds = _seeds(wanted.first, wanted.seeds, None if wanted.for_s is None else wanted.for_s / len(names))
        tallies.append(campaign(name, seeds, partial(_say, name), _Progress()))
        _say_end(tallies[-1])
    if wanted.json:
        for tally in tallies:
            print(json.dumps(asdict(tally)))
    return 1 if any(tally.failed or (tally.unreached and tally.seeds >= LOST_FROM_SEEDS) for tally in tallies) else 0


def duration_s(text: str) -> float:
    """Seconds of "90", "90s", "10m" or "2h"."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text} is no time such as 90s, 10m or 2h")
    return float(match[1]) * _UNITS_S[match[2]]


def _seeds(first: int, number: int | None, for_s: float | None) -> Iterator[int]:
    until = None if for_s is None else time.monotonic() + for_s
    limit = number if number is not None or for_s is not None else SEEDS
    seed = first
    while (limit is None or seed < first + limit) and (until is None or time.monotonic() < until):
        yield seed
        seed += 1


class _Progress:
    def __init__(self) -> None:
        self._shown_at = 0.0

    def __call__(self, tally: Tally) -> None:
        if sys.stderr.isatty() and time.monotonic() - self._shown_at > PROGRESS_EVERY_S:
            self._shown_at = time.monotonic()
            rate = 3600 * tally.seeds / max(tally.cpu_s, 1e-9)
            words = f"{tally.scenario}: {tally.seeds} seeds, {len(tally.failed)} failed, {rate:,.0f} a core-hour"
            print(f"\r\x1b[K{words}", end="", file=sys.stderr, flush=True)


def _clear_progress() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _say(name: str, seed: int, outcome: Outcome) -> None:
    _clear_progress()
    for sentence in outcome.failures:
        print(f"{name}, seed {seed}: {sentence}")
    print(f"  {replay_command(name, seed)}", flush=True)


def _say_end(tally: Tally) -> None:
    _clear_progress()
    clean = tally.seeds - len(tally.failed)
    rate = 3600 * tally.seeds / max(tally.cpu_s, 1e-9)
    print(f"{tally.scenario}: {clean} of {tally.seeds} seeds clean; {rate:,.0f} seeds a core-hour")
    if tally.seeds >= UNREACHED_FROM_SEEDS:
        for mark in tally.unreached:
            print(f"  never reached: {mark}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
