"""Which settings a lock was made with, where others are in force: its hash names them all, so likely ones are tried."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice, product

from p2pcdn.lock.question import DEFAULTS, complete, digest
from p2pcdn_shim.zephyr.configuration.urls import without_secrets
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

# What is set by a flag for one command stands nowhere afterwards; these values of it can be guessed, and the default.
LIKELY: Mapping[str, list[Any]] = {
    "prefer": ["highest", "lowest"],
    "prereleases": ["if-necessary", "allow"],
    "only_binary": [[":all:"]],
    "no_binary": [[":all:"]],
    "constraints": [],
    "overrides": [],
    "exclude_newer": [],
    "environments": [],
    "sources": [],
    "editable": [],
}
# With all settings there are 1,024 guesses; one is hashed in less than 0.1 ms, of a project of usual size.
GUESSES_MAX = 1024


def differing(question: Mapping[str, Any], inputs: str) -> list[str]:
    """The settings that alone make the difference, as in "prefer = lowest, where highest is in force"; none where it is
    something else, or a value that nobody can guess.

    question: of the project as it is (`asking.question_of`). inputs: the hash of the one that the lock answers.
    """
    now = complete(question)
    choices = [
        [now[key], *(one for one in (DEFAULTS[key], *likely) if one != now[key])] for key, likely in LIKELY.items()
    ]
    for guess in islice(product(*choices), GUESSES_MAX):
        then = dict(zip(LIKELY, guess, strict=True))
        if digest({**now, **then}) == inputs:
            return [
                f"{_named(key)} = {_shown(value)}, where {_shown(now[key])} is in force"
                for key, value in then.items()
                if value != now[key]
            ]
    return []


def _named(key: str) -> str:
    return "prerelease" if key == "prereleases" else key.replace("_", "-")


def _shown(value: Any) -> str:
    """As it would be set; what allows pre-releases is a setting that is true."""
    if isinstance(value, str):
        return {"allow": "true", "if-necessary": "false"}.get(value, value)
    return ", ".join(map(without_secrets, value or ())) or "nothing"
