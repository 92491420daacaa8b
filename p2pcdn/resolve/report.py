"""The proof that there is no solution, in sentences.

A short proof is told step by step, as uv and Dart's pub do. A long one (each of two thousand versions has its own
reason) is told by its facts, those about the same two projects as one.
"""

from __future__ import annotations

from collections.abc import Iterator

from p2pcdn.resolve.incompatibility import Asked, Depends, Derived, Incompatibility
from p2pcdn.resolve.term import NOTHING
from p2pcdn.resolve.wording import Wording, enumerated

# A proof of more facts than this is told by its facts alone; and of those, so many.
FACTS_TOLD_STEP_BY_STEP_MAX = 10
FACTS_MAX = 12
REASONS_A_SENTENCE = 2
# How clauses begin that do not begin with the name of a project.
PROSE = ("you ", "your ", "its ", "there ", "nobody ")


def sentences(proof: Incompatibility, wording: Wording) -> tuple[str, ...]:
    """The proof, the conclusion last."""
    leaves = facts(proof)
    if len(leaves) <= FACTS_TOLD_STEP_BY_STEP_MAX:
        return tuple(_Steps(wording).tell(proof))
    return tuple(_by_facts(leaves, wording))


def facts(proof: Incompatibility) -> list[Incompatibility]:
    """What the proof stands on, each once, in the order in which it is used."""
    found: dict[Incompatibility, None] = {}
    seen: set[Incompatibility] = set()
    ahead = [proof]
    while ahead:
        one = ahead.pop()
        if one in seen:
            continue
        seen.add(one)
        if isinstance(one.cause, Derived):
            ahead += [one.cause.left, one.cause.right]
        else:
            found[one] = None
    return list(found)


class _Steps:
    """Tells derived incompatibilities one after another; one that is used again further down gets a number."""

    def __init__(self, wording: Wording) -> None:
        self._wording = wording
        # (what is concluded, its sentence without the full stop), and the numbers of those that are spoken of again.
        self._told: list[tuple[Incompatibility, str]] = []
        self._numbers: dict[Incompatibility, int] = {}

    def tell(self, proof: Incompatibility) -> list[str]:
        self._tell(proof)
        numbers = {one: f" ({number})" for one, number in self._numbers.items()}
        return [f"{sentence}{numbers.get(one, '')}." for one, sentence in self._told]

    def _tell(self, one: Incompatibility) -> None:
        """After this, the last sentence concludes `one`."""
        reasons, parts = self._reasons(one)
        before = len(self._told)
        for part in parts[:-1]:
            self._tell_unless_told(part)
            reasons.insert(0, self._again(part))
        follows = False
        for part in parts[-1:]:
            follows = self._tell_unless_told(part)
            if not follows:
                reasons.insert(0, self._again(part))
        start = "And because" if follows and before < len(self._told) else "Because"
        said = enumerated(dict.fromkeys(reasons)) if reasons else "of that"
        self._told.append((one, f"{start} {said}, {self._wording.conclusion(one)}"))

    def _reasons(self, one: Incompatibility) -> tuple[list[str], list[Incompatibility]]:
        """(facts to name in its sentence, derived incompatibilities to tell before it)."""
        found: list[str] = []
        while not self._is_told(one) and len(found) < REASONS_A_SENTENCE:
            if not isinstance(one.cause, Derived):
                return self._fact(one) + found, []
            causes = one.cause.left, one.cause.right
            derived = [part for part in causes if isinstance(part.cause, Derived) and not self._is_one_fact(part)]
            for part in causes:
                if part not in derived:
                    found[:0] = [said for leaf in facts(part) for said in self._fact(leaf)]
            if len(derived) != 1:
                return found, derived
            (one,) = derived
        return found, [one]

    def _is_one_fact(self, one: Incompatibility) -> bool:
        """Whether it is not worth a sentence of its own."""
        return sum(bool(self._fact(leaf)) for leaf in facts(one)) <= 1

    def _fact(self, one: Incompatibility) -> list[str]:
        said = self._wording.fact(one)
        return [said] if said else []

    def _is_told(self, one: Incompatibility) -> bool:
        return any(one is other for other, _ in self._told)

    def _tell_unless_told(self, one: Incompatibility) -> bool:
        """Whether the last sentence concludes it now."""
        if not self._is_told(one):
            self._tell(one)
        return self._told[-1][0] is one

    def _again(self, one: Incompatibility) -> str:
        number = self._numbers.setdefault(one, len(self._numbers) + 1)
        return f"{self._wording.conclusion(one)} ({number})"


def _by_facts(leaves: list[Incompatibility], wording: Wording) -> Iterator[str]:
    told: dict[str, None] = {}
    for one in _merged(leaves):
        if said := wording.fact(one):
            told.setdefault(said)
    for said in [*told][:FACTS_MAX]:
        yield f"{said[0].upper() if said.startswith(PROSE) else said[0]}{said[1:]}."
    if len(told) > FACTS_MAX:
        yield f"And {len(told) - FACTS_MAX} more facts of this kind."
    yield f"So {wording.nothing_fits}."


def _merged(leaves: list[Incompatibility]) -> Iterator[Incompatibility]:
    """What the user asks first; then the dependencies of one project on another as one, and the like."""
    asked = [one for one in leaves if isinstance(one.cause, Asked)]
    yield from asked
    groups: dict[object, list[Incompatibility]] = {}
    for one in leaves:
        if isinstance(one.cause, Depends):
            groups.setdefault((one.cause.parent, one.cause.child), []).append(one)
        elif one not in asked:
            groups.setdefault((type(one.cause), *one.terms), []).append(one)
    for group in groups.values():
        yield group[0] if len(group) == 1 else _union(group)


def _union(group: list[Incompatibility]) -> Incompatibility:
    """One that says roughly what all of these say: some version of the one needs some of what is said of the other."""
    first = group[0]
    terms = dict(first.terms)
    cause = first.cause
    for other in group[1:]:
        for package in terms:
            terms[package] |= other.terms.get(package, NOTHING)
    if isinstance(cause, Depends):
        needed = NOTHING
        for other in group:
            assert isinstance(other.cause, Depends)
            needed |= other.cause.needed
        texts = {other.cause.requirement for other in group if isinstance(other.cause, Depends)}
        cause = Depends(cause.parent, cause.child, needed, cause.requirement if len(texts) == 1 else "")
    return Incompatibility(terms, cause)
