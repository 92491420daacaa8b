"""What goes wrong in a seed: which faults, where, from when until when.

The atlas: only what a good design survives is injected, and all of it has ended before liveness is asked for. Not in
it: a blob of one's own disk that rotted and was not scrubbed yet (`docs/store.md`, not promised); an upstream that lies
and never stops; more lost packets than TCP survives.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

# Kind -> how often it is drawn. Those of one node, of some nodes, of the upstream, of the disks.
KINDS: dict[str, int] = {
    "loss": 2,
    "partition": 3,
    "one way": 3,
    "clog": 2,
    "swizzle": 2,
    "power": 5,
    "kill": 3,
    "reader dies": 3,
    "clock": 2,
    "liar": 5,
    "mute": 2,
    "drip": 2,
    "upstream down": 2,
    "upstream hangs": 2,
    "upstream 5xx": 3,
    "upstream cuts": 4,
    "upstream lies": 3,
    "upstream slow": 2,
    "proxy lies": 6,
    "disk full": 2,
    "disk sync": 2,
    "disk write": 2,
    "disk slow": 1,
    "rot": 2,
}
# Those that came later are drawn by dice of their own, one in some seeds: what a kept seed once found, it tells again.
LATER_KINDS = ("jitter", "names down", "disk read")
LATER_IN = 1 / 4
OF_ONE_NODE = frozenset(
    {"power", "kill", "clock", "liar", "mute", "drip", "proxy lies"}
    | {"disk full", "disk sync", "disk write", "disk slow", "disk read", "rot"}
)
# No client has to notice these: neighbours, clocks and disks are not what an install depends on.
UNSEEN = frozenset({"clock", "jitter", "liar", "mute", "drip", "disk full", "disk sync", "disk write", "disk slow"})
# What comes together now and then: a disk fails while the upstream lies, a machine dies while it reads.
PAIRS = (
    ("disk full", "upstream lies"),
    ("disk sync", "upstream lies"),
    ("disk sync", "power"),
    ("power", "upstream slow"),
)
# "reader dies": whoever reads a file from the upstream next loses its power in the middle of it; by the word "all" only
# its process ends, and the disk keeps what it had begun.
DEATHS = frozenset({"power", "kill", "reader dies"})
BAD_PEERS = frozenset({"liar", "mute", "drip"})
OF_SOME_NODES = frozenset({"partition", "one way", "clog", "swizzle"})
FAULTS_MAX = 4
# What is shorter than the watchdogs shows little; what is much longer costs virtual time only.
FAULT_TIME_S = (0.05, 6.0)
# Seconds by which a wall clock may be wrong, forward or back: a suspended laptop, a dead battery.
CLOCK_JUMPS_S = (-31_536_000.0, -600.0, 600.0, 31_536_000.0)
LIES = ("flip", "truncate", "overlong", "endless", "cut", "another")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong. nodes: of whom, by number.

    number, word: of its kind: a rate, a jump; which lie, whether silence is the answer to "all" questions but hello.
    """

    kind: str
    at_s: float
    until_s: float
    nodes: tuple[int, ...] = ()
    number: float = 0.0
    word: str = ""


def plan(dice: random.Random, later_dice: random.Random, nodes: int, horizon_s: float) -> Sequence[Fault]:
    """The faults of a seed, in the order of their beginnings; one in eight seeds has none."""
    faults = _plan(dice, nodes, horizon_s)
    if faults and later_dice.random() < LATER_IN:
        faults.append(_draw(later_dice.choice(LATER_KINDS), later_dice, nodes, horizon_s))
    return sorted(faults, key=lambda fault: fault.at_s)


def _plan(dice: random.Random, nodes: int, horizon_s: float) -> list[Fault]:
    way = dice.random()
    if way < 1 / 8:
        return []
    if way < 2 / 8:
        kinds = list(dice.choice(PAIRS))
    elif way < 3 / 8:
        kinds = [dice.choice(["power", "kill", "reader dies"])]
        horizon_s /= 3  # while the first files are under way
    else:
        choice = {kind: often for kind, often in KINDS.items() if kind in UNSEEN or way >= 4.5 / 8}
        kinds = dice.choices(list(choice), list(choice.values()), k=dice.randint(1, FAULTS_MAX))
    faults: list[Fault] = []
    for kind in kinds:
        fault = _draw(kind, dice, nodes, horizon_s)
        if 1 / 8 <= way < 2 / 8 and faults:
            # Together: at about the same time, and on the same machine.
            at_s, first = faults[0].at_s + dice.uniform(-0.3, 0.3), faults[0].nodes
            nodes_hit = first if fault.nodes else ()
            fault = replace(fault, at_s=max(0.0, at_s), until_s=max(0.0, at_s) + 3.0, nodes=nodes_hit)
        if _is_survivable([*faults, fault], nodes):
            faults.append(fault)
    return faults


def _draw(kind: str, dice: random.Random, nodes: int, horizon_s: float) -> Fault:
    at_s = dice.uniform(0.0, horizon_s)
    until_s = at_s + dice.uniform(*FAULT_TIME_S)
    chosen: tuple[int, ...] = ()
    if kind in OF_ONE_NODE:
        chosen = (dice.randrange(nodes),)
    elif kind in OF_SOME_NODES:
        chosen = tuple(sorted(dice.sample(range(nodes), dice.randint(1, nodes - 1))))
    number = 0.0
    if kind == "loss":
        number = dice.uniform(0.01, 0.15)
    elif kind == "jitter":
        number = dice.uniform(0.001, 0.05)
    elif kind == "clock":
        number = dice.choice(CLOCK_JUMPS_S)
    elif kind.startswith("disk"):
        number = dice.randrange(1, 8)
    if kind in BAD_PEERS or kind in ("proxy lies", "reader dies"):
        at_s = 0.0  # a peer does not begin to lie: it is one
    word = dice.choice(LIES) if kind == "liar" else dice.choice(("", "all"))
    return Fault(kind, at_s, until_s, chosen, number, word)


def _is_survivable(faults: Sequence[Fault], nodes: int) -> bool:
    bad = [fault.nodes for fault in faults if fault.kind in BAD_PEERS]
    lives = [fault for fault in faults if fault.kind in DEATHS]
    apart = all(
        one.nodes != other.nodes or one.until_s + 1.0 < other.at_s or other.until_s + 1.0 < one.at_s
        for number, one in enumerate(lives)
        for other in lives[:number]
    )
    return len(bad) == len(set(bad)) <= nodes // 2 and apart
