"""Poetry's version constraints as specifiers of PEP 440: `^1.2` is `>=1.2,<2.0`. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version


def specifier_of(constraint: str) -> tuple[str, bool]:
    """The specifier, and whether it says the same: what lies between two ranges with a hole cannot be said.

    Then the specifier is the smallest range around them. Raises ValueError for what is no constraint.
    """
    alternatives = [_all_of(part) for part in re.split(r"\s*\|\|?\s*", constraint.strip())]
    if len(alternatives) == 1:
        return _checked(alternatives[0]), True
    return _around([_checked(one) for one in alternatives])


def _all_of(text: str) -> str:
    """Parts with a comma or a space between them must all hold."""
    text = re.sub(r"(\^|~=|~|===|==|!=|>=|<=|>|<|=)\s+", r"\1", text.strip())
    parts = [part for part in re.split(r"\s*,\s*|\s+", text) if part]
    return ",".join(filter(None, map(_one, parts)))


def _one(text: str) -> str:
    if text in ("*", "x", "X"):
        return ""
    if text.startswith("^"):
        return _from_to(text[1:], _caret)
    if text.startswith("~") and not text.startswith("~="):
        return _from_to(text[1:], _tilde)
    if re.match(r"==|!=|~=|>=|<=|>|<", text):
        return re.sub(r"\.[xX*]$", ".*", text)
    return "==" + re.sub(r"\.[xX*]$", ".*", text.lstrip("="))


def _from_to(text: str, which: Callable[[tuple[int, ...]], int]) -> str:
    try:
        version = Version(text)
    except InvalidVersion as error:
        raise ValueError(f"{text[:60]!r} is no version.") from error
    release = version.release
    at = which(release)
    above = (*release[:at], release[at] + 1, *(0 for _ in release[at + 1 :]))
    return f">={text},<{'.'.join(map(str, above))}"


def _caret(release: tuple[int, ...]) -> int:
    """Which number goes up: the first that is not zero, else the last."""
    return next((at for at, number in enumerate(release) if number), len(release) - 1)


def _tilde(release: tuple[int, ...]) -> int:
    """Which number goes up: the second, where there is one."""
    return min(1, len(release) - 1)


def _checked(specifier: str) -> str:
    try:
        SpecifierSet(specifier)
    except InvalidSpecifier as error:
        raise ValueError(f"{specifier[:60]!r} is no range of versions.") from error
    return specifier


def _around(specifiers: list[str]) -> tuple[str, bool]:
    """One range for several, and whether nothing lies between them."""
    spans = [_span(one) for one in specifiers]
    if any(span is None for span in spans):
        return "", False
    known = sorted((span for span in spans if span is not None), key=lambda span: (span[0] or _LEAST, span[1] or _MOST))
    (low, high), whole = known[0], True
    for begin, end in known[1:]:
        if high is not None:
            whole = whole and (begin is None or begin <= high)
            high = None if end is None else max(high, end)
    parts = [*([f">={low}"] if low is not None else []), *([f"<{high}"] if high is not None else [])]
    return ",".join(parts), whole


_LEAST, _MOST = Version("0.dev0"), Version("999999!0")


def _span(specifier: str) -> tuple[Version | None, Version | None] | None:
    """From (inclusive) to (exclusive); None for one that is no such span."""
    low: Version | None = None
    high: Version | None = None
    for one in SpecifierSet(specifier):
        if one.operator == ">=":
            low = max(low or _LEAST, Version(one.version))
        elif one.operator == "<":
            high = min(high or _MOST, Version(one.version))
        elif one.operator == "==" and one.version.endswith(".*"):
            release = Version(one.version[:-2]).release
            low = max(low or _LEAST, Version(one.version[:-2]))
            high = min(high or _MOST, Version(".".join(map(str, (*release[:-1], release[-1] + 1)))))
        else:
            return None
    return low, high
