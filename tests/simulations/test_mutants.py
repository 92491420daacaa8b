"""Seeded bugs of the product that the fault scenarios must notice: the quick ones; all: `python -m simnet mutants`."""

from __future__ import annotations

import pytest

from simnet.campaigns.mutants import MUTANTS, Mutant, hunt

SEEDS_MAX = 8
QUICK = (
    "a blob's file is not synced before it gets its name",
    "a blob's new name is not synced",
    "the row is written before the file has its name",
    "the sha256 at the end is not looked at",
    "no tail is held back from readers",
    "a withdrawal is forgotten",
    "a whole node does not sync a blob's file",
    "what the room does not give is not asked of the upstream",
    "pieces of peers are not checked",
    "a silent neighbour is waited for",
    "a lease never moves",
)


@pytest.mark.parametrize("mutant", [one for one in MUTANTS if one.name in QUICK], ids=lambda one: one.name)
def test_a_seeded_bug_is_noticed(mutant: Mutant) -> None:
    catch = hunt(mutant, SEEDS_MAX)
    assert catch.fits, f"the product has changed, and the mutant has to follow: {catch.sentence}"
    assert catch.seed is not None


def test_every_quick_mutant_is_there() -> None:
    assert set(QUICK) <= {mutant.name for mutant in MUTANTS}


def test_a_mutant_leaves_nothing_behind() -> None:
    before = [(target, name, getattr(target, name)) for mutant in MUTANTS for target, name, _ in mutant.patches]
    for mutant in MUTANTS:
        with mutant.planted():
            pass
    assert all(getattr(target, name) is value for target, name, value in before)
