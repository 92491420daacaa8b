"""Alternating runs and their medians: A B A B, never all of A and then all of B, on a machine that others use too."""

from __future__ import annotations

import resource
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

# Seconds, a rate, a count: one figure of one run.
Run = Callable[[], float]


@dataclass(frozen=True)
class Figures:
    """All rounds of one contestant."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def spread(self) -> str:
        return f"{min(self.rounds):.4g}..{max(self.rounds):.4g}"


def alternate(contestants: Mapping[str, Run], rounds: int, *, warm_up: bool = True) -> dict[str, Figures]:
    """Runs each contestant once a round, in turned order every second round; the warm-up round is not counted."""
    if warm_up:
        for run in contestants.values():
            run()
    figures: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        names = list(contestants)
        for name in reversed(names) if number % 2 else names:
            figures[name].append(contestants[name]())
    return {name: Figures(tuple(values)) for name, values in figures.items()}


def report(title: str, unit: str, figures: Mapping[str, Figures], anchor: str, goal: str = "") -> float:
    """Prints one row a contestant, with its ratio to the anchor's median. Returns the first other one's ratio."""
    print(f"\n{title}" + (f"   (goal: {goal})" if goal else ""))
    base = figures[anchor].median
    for name, own in figures.items():
        print(f"  {name:<22} {own.median:>12.4g} {unit:<10} x{own.median / base:<8.3f} rounds {own.spread}", flush=True)
    return next(own.median / base for name, own in figures.items() if name != anchor)


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and of its children that run now."""
    total = _own_cpu_s(pid)
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return total + sum(cpu_s(int(child)) for child in children)


def tree_cpu_s(pid: int) -> float:
    """The same, with the children of all its threads, not of its first one only."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return _own_cpu_s(pid) + sum(tree_cpu_s(int(child)) for one in lists for child in one.read_text().split())


def with_cpu(run: Run, seconds: list[float], kept: int) -> Run:
    """The same run, whose CPU time goes on the list: of the kept process, and of those that it starts."""

    def measured() -> float:
        before = cpu_s(kept) + children_cpu_s()
        figure = run()
        seconds.append(cpu_s(kept) + children_cpu_s() - before)
        return figure

    return measured


def children_cpu_s() -> float:
    """CPU seconds of all processes that this one started and that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and of its children; pages they share are counted for each."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    own = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(resident_bytes(int(child)) for child in children)


def _own_cpu_s(pid: int) -> float:
    """Its own, and those of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    # utime, stime, cutime and cstime, the 14th to 17th field of proc_pid_stat(5), in ticks of 10 ms.
    return sum(map(int, fields[11:15])) / 100
