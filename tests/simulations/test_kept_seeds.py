"""Seeds that once found a bug of the product, and some more of each scenario: a campaign small enough for every run.

The whole of it: `python -m simnet campaign`. A seed tells the same story only as long as its scenario asks its dice in
the same order; what each kept seed once found is therefore also a mutant, where it could be made one.
"""

from __future__ import annotations

import pytest

from simnet.campaigns.campaign import replay_command, scenario
from simnet.campaigns.seeds import run_seed

# (scenario, seed, what it found)
KEPT = [
    ("faults-store", 7, "a full disk: a download waited for its own interrupted half, and ended with an exception"),
    ("faults-store", 16, "the same, and two downloads that each waited for the other's"),
    ("faults", 4, "a neighbour asked for a file that was gone again, and got half a piece of a closed file"),
    ("faults", 95, "two workers asked one neighbour for its manifest, and the second ended the download"),
    ("faults", 1350, "a client was shown a member's wrong bytes, and completed in the right ones that came later"),
    ("faults", 1133, "the drip filled a file piece by piece, and the download did not see that it was whole"),
    ("faults", 2173, "the same"),
    ("faults-silence", 3, "pieces that only a gone member's manifest proved were waited for: 9 s instead of 3"),
    ("faults-silence", 31, "the same"),
    ("faults-silence", 4, "a gone holder's manifest came back by a neighbour, and kept the reader from reading: 7 s"),
    ("faults-silence", 107, "who had read all that nobody had asked the tracker what was missing a second later"),
    ("faults", 141, "who had the lease and nothing to read turned round at full speed"),
    ("faults", 100355, "a bad read among interrupted downloads kept a node from starting"),
    ("reader-dies", 63, "workers asked a dead parent again just before they had new ones, and hung a second at it"),
    ("rumours", 0, "neighbours that the DNS named were not greeted behind a crowd of forged announcements"),
]
SMALL = {
    "faults": range(40),
    "faults-silence": range(20),
    "faults-store": range(40),
    "reader-dies": range(4),
    "rumours": range(8),
}


@pytest.mark.parametrize(("name", "seed"), [(name, seed) for name, seed, _ in KEPT])
def test_a_seed_that_found_a_bug_finds_none(name: str, seed: int) -> None:
    _check(name, seed)


@pytest.mark.parametrize("name", sorted(SMALL))
@pytest.mark.slow
def test_some_seeds_of_each_scenario_are_clean(name: str) -> None:
    for seed in SMALL[name]:
        _check(name, seed)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_seed_tells_the_same_story_twice(name: str) -> None:
    run, _ = scenario(name)
    told = run(1)
    assert told == run(1)
    assert told.digest != run(2).digest


def _check(name: str, seed: int) -> None:
    run, _ = scenario(name)
    outcome = run_seed(run, seed)
    assert not outcome.failures, f"{list(outcome.failures)}\n  {replay_command(name, seed)}"
