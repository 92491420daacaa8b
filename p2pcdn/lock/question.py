"""What a lock is asked for, as it travels from `zephyr` to its node, and the hash by which a lock names its question.

Imports the standard library only: zephyr computes the same hash to see whether a lock is stale.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Counted up when the same question would get another lock, though the indexes say the same.
FORMAT = 1

# What a question consists of, and what stands for what it does not say. `requirements` are the project's own;
# `sources` the URLs of the indexes that projects are pinned to: what was asked with them, for the hash; `editable` the
# projects whose sources stay in use; `itself` the package that is locked, which is there for whoever requires it.
DEFAULTS: Mapping[str, Any] = {
    "requires_python": "",
    "requirements": [],
    "extras": {},
    "groups": {},
    "environments": [],
    "constraints": [],
    "overrides": [],
    "prefer": "highest",
    "prereleases": "if-necessary",
    "prerelease_projects": [],
    "exclude_newer": None,
    "only_binary": [],
    "no_binary": [],
    "sources": {},
    "editable": [],
    "itself": "",
}
# What came later stands in the hash only where it says something: older locks keep theirs.
LATER = frozenset({"sources", "editable", "itself"})


def complete(question: Mapping[str, Any]) -> dict[str, Any]:
    """The question with everything that it did not say, and nothing else; lists in a fixed order."""
    full = {key: question.get(key, default) for key, default in DEFAULTS.items()}
    return {key: _ordered(value) for key, value in full.items()}


def digest(question: Mapping[str, Any]) -> str:
    """The sha256 of a question, 64 hexadecimal digits: the same however its lists are ordered."""
    from hashlib import sha256

    said = {key: value for key, value in complete(question).items() if value or key not in LATER}
    inputs = {"format": FORMAT, **said}
    text = json.dumps(inputs, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _ordered(value[key]) for key in sorted(value)}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return sorted({str(one) for one in value})
    return value
