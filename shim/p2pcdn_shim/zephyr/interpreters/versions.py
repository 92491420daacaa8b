"""Versions of interpreters against what somebody asks for: `3.12`, `>=3.9,<3.13`; packaging for the unusual."""

from __future__ import annotations

import re

_PART = r"\s*(==|!=|~=|>=|<=|>|<)\s*(\d+(?:\.\d+){0,2})(\.\*)?\s*"
_RELEASE = r"\d+\.\d+\.\d+"


def satisfies(version: str, specifier: str) -> bool:
    """Whether a version of Python ("3.12.1") is within a specifier of PEP 440 ("~=3.10"); pre-releases count.

    Raises ValueError for what is no specifier.
    """
    if not specifier.strip():
        return True
    parts = [re.fullmatch(_PART, part) for part in specifier.split(",") if part.strip()]
    if not re.fullmatch(_RELEASE, version) or not all(parts):
        return _by_packaging(version, specifier)
    release = _numbers(version)
    # All are looked at, since any of them may be none that there is.
    said = [_one(release, part[1], part[2], bool(part[3])) for part in parts if part]
    return all(said)


def is_specifier(text: str) -> bool:
    """Whether this asks for a range: it begins with an operator."""
    return text.lstrip()[:1] in ("<", ">", "=", "!", "~")


def _one(release: tuple[int, ...], operator: str, text: str, starred: bool) -> bool:
    wanted = tuple(map(int, text.split(".")))
    if starred:
        if operator not in ("==", "!="):
            raise ValueError(f"{operator}{text}.* is no specifier.")
        return (release[: len(wanted)] == wanted) == (operator == "==")
    if operator == "~=":
        if len(wanted) < 2:
            raise ValueError(f"~={text} is no specifier.")
        return release >= _padded(wanted) and release[: len(wanted) - 1] == wanted[:-1]
    padded = _padded(wanted)
    return {
        "==": release == padded, "!=": release != padded, ">=": release >= padded, "<=": release <= padded,
        ">": release > padded, "<": release < padded,
    }[operator]  # fmt: skip


def _numbers(version: str) -> tuple[int, ...]:
    return _padded(tuple(map(int, version.split("."))))


def _padded(release: tuple[int, ...]) -> tuple[int, ...]:
    return (*release, 0, 0)[:3]


def _by_packaging(version: str, specifier: str) -> bool:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return SpecifierSet(specifier).contains(version, prereleases=True)
    except InvalidSpecifier as error:
        raise ValueError(f"{specifier[:60]!r} is no range of versions.") from error
