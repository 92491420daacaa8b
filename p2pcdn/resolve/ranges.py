"""The versions of one project in order, and the terms that specifiers mean among them (PEP 440)."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache

from packaging.specifiers import InvalidSpecifier, Specifier
from packaging.version import InvalidVersion, Version

from p2pcdn.resolve import term
from p2pcdn.resolve.term import ANYTHING, NOTHING, PRESENT

_SPECIFIER = re.compile(r"\s*(~=|===|==|!=|<=|>=|<|>)\s*([^\s,;)]+)\s*")
# A final version without an epoch.
_PLAIN = re.compile(r"\d+(?:\.\d+)*", re.ASCII)
# What ends a rank: the versions of one release, in their order.
_BEFORE_FINAL, _FINAL, _AFTER_FINAL = "!", ".", "/"
# Behind everything that begins so.
_END = "\U0010ffff"
# Requirements name the same versions over and over.
_READ_MAX = 50_000


class Versions:
    """Sorted versions; a specifier is looked up by bisection, once.

    Where a specifier's version stands among the versions, order alone decides about all but those of the same release
    (pre-releases, post-releases, local versions), and there `packaging` decides.
    """

    def __init__(self, ordered: Sequence[Version], ranks: Sequence[str] | None = None) -> None:
        """ranks: `rank` of each, where they were kept, so that hardly a version need be parsed."""
        self.ordered = ordered
        self._ranks = ranks if ranks is not None else [*map(rank, ordered)]
        self.all = term.versions(0, len(ordered))
        self._terms: dict[str, int] = {"": PRESENT}
        self._clauses: dict[str, int] = {}

    def matching(self, specifiers: str) -> int:
        """The versions that all of these comma-separated specifiers allow, pre-releases included: a positive term.

        Raises InvalidSpecifier.
        """
        known = self._terms.get(specifiers)
        if known is None:
            known = self.all
            for text in specifiers.split(","):
                # What bounds a version from above bounds many of its neighbours, too.
                one = self._clauses.get(text)
                if one is None:
                    one = self._clauses[text] = self._one(text) if text.strip() else ANYTHING
                known &= one
            self._terms[specifiers] = known
        return known

    def equal(self, version: Version) -> int:
        """Those that are this very version, local part and all."""
        start, stop = self._same_release(_release_rank(version))
        return term.of_versions(index for index in range(start, stop) if self.ordered[index] == version)

    def is_alone(self, index: int) -> bool:
        """Whether no other one can be equal to it, in another spelling."""
        ranks = self._ranks
        return all(ranks[other] != ranks[index] for other in (index - 1, index + 1) if 0 <= other < len(ranks))

    def _one(self, text: str) -> int:
        operator, number, release, is_plain = _parts(text)
        if operator == "===":
            return self._allowed_by(text, 0, len(self.ordered))
        if number.endswith(".*"):
            return self._series_only(operator, _version(number[:-2], text), text)
        start, stop = self._same_release(release)
        if start == stop:
            found = NOTHING
        elif is_plain and stop - start == 1 and self._ranks[start].endswith(_FINAL):
            found = term.version(start) if operator in _ITSELF_TOO else NOTHING
        else:
            found = self._allowed_by(text, start, stop)
        if operator in _LOWER_TOO:
            found |= term.versions(0, start)
        if operator in _HIGHER_TOO:
            found |= term.versions(stop, len(self._ranks))
        if operator == "~=":
            version = _version(number, text)
            found &= self._series(version.epoch, version.release[:-1])
        return found

    def _series_only(self, operator: str, version: Version, text: str) -> int:
        same = self._series(version.epoch, version.release)
        if operator not in ("==", "!=") or version.is_prerelease or version.is_postrelease or version.local:
            raise InvalidSpecifier(f"not a specifier: {text.strip()!r}")
        return same if operator == "==" else self.all & ~same

    def _series(self, epoch: int, release: tuple[int, ...]) -> int:
        """Those whose release begins so, a short one filled with zeros."""
        first, all_of_them = _digits((epoch, *_without_zeros(release))), _digits((epoch, *release))
        return term.versions(bisect_left(self._ranks, first), bisect_left(self._ranks, all_of_them + _END))

    def _same_release(self, release: str) -> tuple[int, int]:
        """(start, stop) of the versions that differ from it at most in pre, post, dev or local parts."""
        start = bisect_left(self._ranks, release + _BEFORE_FINAL)
        return start, bisect_right(self._ranks, release + _AFTER_FINAL, start)

    def _allowed_by(self, text: str, start: int, stop: int) -> int:
        specifier = Specifier(text.strip())
        found = NOTHING
        for index in range(start, stop):
            if specifier.contains(self.ordered[index], prereleases=True):
                found |= term.version(index)
        return found


_LOWER_TOO = frozenset({"<", "<=", "!="})
_HIGHER_TOO = frozenset({">", ">=", "!=", "~="})
_ITSELF_TOO = frozenset({"==", "<=", ">=", "~="})


def rank(version: Version) -> str:
    """A text that stands among texts as the version does among versions; it may be kept.

    It tells releases apart (1.0 and 1.0.0 are one), and of one release what comes before the final version, that
    version, and what comes after it.
    """
    if version.post is None and version.is_prerelease:
        return _release_rank(version) + _BEFORE_FINAL
    return _release_rank(version) + (_FINAL if version.post is None and version.local is None else _AFTER_FINAL)


def _release_rank(version: Version) -> str:
    return _digits((version.epoch, *_without_zeros(version.release)))


def _digits(numbers: Iterable[int]) -> str:
    """Each number as its digits, behind a letter that says how many: 9 is "a9", and 10, which is higher, "b10"."""
    return "".join([chr(96 + len(digits)) + digits for digits in map(str, numbers)])


def _without_zeros(release: tuple[int, ...]) -> tuple[int, ...]:
    length = len(release)
    while length > 1 and not release[length - 1]:
        length -= 1
    return release[:length]


@lru_cache(maxsize=_READ_MAX)
def _parts(text: str) -> tuple[str, str, str, bool]:
    """Operator, number, the rank of its release ("" where that is not asked for), and whether the number is plain."""
    match = _SPECIFIER.fullmatch(text)
    if match is None:
        raise InvalidSpecifier(f"not a specifier: {text.strip()!r}")
    operator, number = match.groups()
    if operator == "===" or number.endswith(".*"):
        return operator, number, "", False
    # Nearly all numbers are plain, and a Version costs more than all the rest here.
    if _PLAIN.fullmatch(number):
        release = tuple(map(int, number.split(".")))
        return operator, number, _digits((0, *_without_zeros(release))), True
    return operator, number, _release_rank(_version(number, text)), False


def _version(number: str, text: str) -> Version:
    try:
        return Version(number)
    except InvalidVersion as error:
        raise InvalidSpecifier(f"not a specifier: {text.strip()!r}") from error
