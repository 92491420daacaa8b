"""The proof that there is no solution, in sentences."""

from __future__ import annotations

from p2pcdn.resolve.incompatibility import Derived, Incompatibility
from p2pcdn.resolve.model import NoSolution, Wanted
from p2pcdn.resolve.python import View


def no_solution(proof: Incompatibility, view: View, wanted: Wanted) -> NoSolution:
    """The error to raise."""
    facts = list(_facts(proof))
    return NoSolution(tuple(str(fact.cause) for fact in facts))


def _facts(proof: Incompatibility) -> list[Incompatibility]:
    found: dict[Incompatibility, None] = {}
    ahead = [proof]
    seen = set()
    while ahead:
        one = ahead.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one.cause, Derived):
            ahead += [one.cause.left, one.cause.right]
        else:
            found[one] = None
    return list(found)
