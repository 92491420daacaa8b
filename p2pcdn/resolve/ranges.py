"""The versions of one project in order, and the terms that specifiers mean among them (PEP 440)."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from packaging.specifiers import InvalidSpecifier, Specifier
from packaging.version import InvalidVersion, Version

from p2pcdn.resolve import term
from p2pcdn.resolve.term import NOTHING, PRESENT

# Epoch and release.
_Release = tuple[int, tuple[int, ...]]

_SPECIFIER = re.compile(r"\s*(~=|===|==|!=|<=|>=|<|>)\s*([^\s,;)]+)\s*")
# A final version without an epoch.
_PLAIN = re.compile(r"\d+(?:\.\d+)*", re.ASCII)


class Versions:
    """Sorted versions; a specifier is looked up by bisection, once.

    Where a specifier's version stands among the versions, order alone decides about all but those of the same release
    (pre-releases, post-releases, local versions), and there `packaging` decides.
    """

    def __init__(self, ordered: Sequence[Version], texts: Sequence[str] = ()) -> None:
        """texts: the same as their index spells them, so that most of them need not be parsed."""
        self.ordered = ordered
        self._texts = texts
        self.all = term.versions(0, len(ordered))
        self._terms: dict[str, int] = {"": PRESENT}
        self._releases: list[_Release | None] = [None] * len(ordered)

    def matching(self, specifiers: str) -> int:
        """The versions that all of these comma-separated specifiers allow, pre-releases included: a positive term.

        Raises InvalidSpecifier.
        """
        known = self._terms.get(specifiers)
        if known is None:
            known = self.all
            for text in specifiers.split(","):
                if text.strip():
                    known &= self._one(text)
            self._terms[specifiers] = known
        return known

    def equal(self, version: Version) -> int:
        """Those that are this very version, local part and all."""
        start, stop = self._same_release(_release(version))
        return sum(term.version(index) for index in range(start, stop) if self.ordered[index] == version)

    def _one(self, text: str) -> int:
        match = _SPECIFIER.fullmatch(text)
        if match is None:
            raise InvalidSpecifier(f"not a specifier: {text.strip()!r}")
        operator, number = match.groups()
        if operator == "===":
            return self._allowed_by(text, 0, len(self.ordered))
        if number.endswith(".*"):
            return self._series_only(operator, _version(number[:-2], text), text)
        # Nearly all numbers are plain, and a Version costs more than all the rest here.
        wanted = _plain_release(number) if _PLAIN.fullmatch(number) else _release(_version(number, text))
        start, stop = self._same_release(wanted)
        found = self._around(operator, number, text, start, stop)
        if operator in _LOWER_TOO:
            found |= term.versions(0, start)
        if operator in _HIGHER_TOO:
            found |= term.versions(stop, len(self.ordered))
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
        length = len(release)
        wanted = (epoch, release)

        def beginning(version: Version) -> tuple[int, tuple[int, ...]]:
            own = version.release[:length]
            return version.epoch, own + (0,) * (length - len(own))

        return term.versions(
            bisect_left(self.ordered, wanted, key=beginning), bisect_right(self.ordered, wanted, key=beginning)
        )

    def _same_release(self, wanted: _Release) -> tuple[int, int]:
        """(start, stop) of the versions that differ from it at most in pre, post, dev or local parts."""
        start = stop = bisect_left(range(len(self.ordered)), wanted, key=self._release_of)
        while stop < len(self.ordered) and self._release_of(stop) == wanted:
            stop += 1
        return start, stop

    def _release_of(self, index: int) -> _Release:
        known = self._releases[index]
        if known is None:
            plain = self._plain(index)
            known = _plain_release(plain) if plain else _release(self.ordered[index])
            self._releases[index] = known
        return known

    def _plain(self, index: int) -> str:
        """The version as text if it is a final one without an epoch, else ""."""
        text = self._texts[index] if self._texts else str(self.ordered[index])
        return text if _PLAIN.fullmatch(text) else ""

    def _around(self, operator: str, number: str, text: str, start: int, stop: int) -> int:
        if start == stop:
            return NOTHING
        if stop - start == 1 and _PLAIN.fullmatch(number) and self._plain(start):
            return term.version(start) if operator in _ITSELF_TOO else NOTHING
        return self._allowed_by(text, start, stop)

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


def _release(version: Version) -> _Release:
    """Epoch and release without the zeros at its end: 1.0 and 1.0.0 are one release."""
    return version.epoch, _without_zeros(version.release)


def _plain_release(number: str) -> _Release:
    return 0, _without_zeros(tuple(map(int, number.split("."))))


def _without_zeros(release: tuple[int, ...]) -> tuple[int, ...]:
    length = len(release)
    while length > 1 and not release[length - 1]:
        length -= 1
    return release[:length]


def _version(number: str, text: str) -> Version:
    try:
        return Version(number)
    except InvalidVersion as error:
        raise InvalidSpecifier(f"not a specifier: {text.strip()!r}") from error
