"""Which piece to want next, and of whom. Pure: it looks at what is known and at the dice, and changes nothing."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Offer:
    """What one peer can give now. holds: the pieces it has, None for all of them. free: requests it may still get."""

    holds: frozenset[int] | None
    free: int


@dataclass(frozen=True, slots=True)
class Want(Generic[P]):
    """Ask this peer for this piece."""

    index: int
    peer: P


def next_want(
    missing: Iterable[int], in_flight: Collection[int], offers: Mapping[P, Offer], dice: random.Random
) -> Want[P] | None:
    """The next request, or None: nothing that is still missing can be had of anybody now.

    missing: pieces that are not here yet, in their order. in_flight: of these, the ones under way; they are not asked
    for twice. Rarest first: what fewest peers hold, chance among equals, so that neighbours who do the same fetch
    different pieces. Where every peer holds all, nothing is rare: then the first one, for the hash of the whole file
    follows its prefix.
    """
    able = {peer: offer for peer, offer in offers.items() if offer.free > 0}
    if not able:
        return None
    if all(offer.holds is None for offer in offers.values()):
        first = next((index for index in missing if index not in in_flight), None)
        return None if first is None else Want(first, _freest(able, dice))
    open_ = [index for index in missing if index not in in_flight]
    held = [index for index in open_ if any(_holds(offer, index) for offer in able.values())]
    if not held:
        return None
    copies = {index: sum(_holds(offer, index) for offer in offers.values()) for index in held}
    fewest = min(copies.values())
    index = dice.choice(sorted(index for index in held if copies[index] == fewest))
    return Want(index, _freest({peer: offer for peer, offer in able.items() if _holds(offer, index)}, dice))


def _holds(offer: Offer, index: int) -> bool:
    return offer.holds is None or index in offer.holds


def _freest(able: Mapping[P, Offer], dice: random.Random) -> P:
    most = max(offer.free for offer in able.values())
    return dice.choice([peer for peer, offer in able.items() if offer.free == most])
