"""Seeds of fault scenarios, as many as one likes: `python -m simnet campaign [--scenario S] [--seeds N | --for 10m]`.

Each failure is printed with one command that replays it. At the end: how many seeds ran clean, and which rare branches
none of them reached. A terminal sees progress; a pipe sees failures and the end only.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from simnet import marks
from simnet.outcome import Outcome

# Scenario -> its module, which has `run(seed) -> Outcome` and MARKS.
SCENARIOS = {"faults-store": "simnet.scenarios.faults_store"}
SEEDS = 200
PROGRESS_EVERY_S = 0.5
# A hundred times what a seed takes.
SEED_CPU_S_MAX = 30.0
_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass
class Tally:
    """What a campaign saw. unreached: promised marks that no seed came to."""

    scenario: str
    seeds: int = 0
    failed: list[int] = field(default_factory=list)
    cpu_s: float = 0.0
    unreached: Sequence[str] = ()


def scenario(name: str) -> tuple[Callable[[int], Outcome], Sequence[str]]:
    """How one seed of it is run, and the marks that it promises."""
    module = importlib.import_module(SCENARIOS[name])
    return module.run, module.MARKS


def replay_command(name: str, seed: int) -> str:
    """What to type to see one failure again."""
    return f"python -m simnet campaign --scenario {name} --from {seed} --seeds 1"


def run_seed(run: Callable[[int], Outcome], seed: int) -> Outcome:
    """An exception that leaves a scenario is a failure of its seed, and so is one that turns round for ever."""
    before = signal.signal(signal.SIGVTALRM, _out_of_time)
    signal.setitimer(signal.ITIMER_VIRTUAL, SEED_CPU_S_MAX)
    try:
        return run(seed)
    except OutOfTime:
        return Outcome([f"it did not end within {SEED_CPU_S_MAX:g} s of CPU time"], "")
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is not None:
            raise KeyboardInterrupt from None
        return Outcome([f"an exception left the scenario: {_sentence(group)}"], "")
    except Exception as error:
        return Outcome([f"an exception left the scenario: {_sentence(error)}"], "")
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


class OutOfTime(BaseException):
    """A seed used up its CPU time."""


def _out_of_time(*_: object) -> None:
    raise OutOfTime


def campaign(
    name: str,
    seeds: Iterator[int],
    on_failure: Callable[[int, Outcome], None] = lambda seed, outcome: None,
    on_progress: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Runs seeds until there are no more."""
    run, promised = scenario(name)
    tally = Tally(name)
    marks.forget()
    began = time.process_time()
    for seed in seeds:
        outcome = run_seed(run, seed)
        tally.seeds += 1
        tally.cpu_s = time.process_time() - began
        if outcome.failures:
            tally.failed.append(seed)
            on_failure(seed, outcome)
        on_progress(tally)
    reached = marks.seen()
    tally.unreached = [mark for mark in promised if mark not in reached]
    return tally


def main(arguments: Sequence[str]) -> int:
    """The command; 1 where a seed failed."""
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
            print(json.dumps({**tally.__dict__, "unreached": list(tally.unreached)}))
    return 1 if any(tally.failed for tally in tallies) else 0


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
    for mark in tally.unreached:
        print(f"  never reached: {mark}")
    sys.stdout.flush()


def _sentence(error: BaseException) -> str:
    """The innermost cause, with the place in our code: groups of one tell nothing else."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    place, traceback = "", error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if "p2pcdn" in code.co_filename or "simnet" in code.co_filename:
            place = f" ({'/'.join(code.co_filename.split('/')[-2:])}:{traceback.tb_lineno})"
        traceback = traceback.tb_next
    return f"{error!r}{place}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
