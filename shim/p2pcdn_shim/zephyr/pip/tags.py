"""The wheel tags for which is chosen: the target's own, or those of --platform, --python-version, --implementation,
--abi.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from p2pcdn_shim.zephyr.pip.target import Target
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

# The older policies, each with those that it includes (PEP 513, 571, 599).
_MANYLINUX = {"manylinux2014": ("manylinux2010", "manylinux1"), "manylinux2010": ("manylinux1",)}
_HAVE_OLDER = ("x86_64", "i686")


def tags_for(options: Any, target: Target) -> tuple[str, ...]:
    """The best first."""
    named = [getattr(options, name, None) for name in ("platforms", "python_version", "implementation", "abis")]
    if not any(named):
        return target.probe.tags
    from packaging import tags

    platforms, version, implementation, abis = named
    python = tuple(version) if version else tuple(int(part) for part in target.version.split(".")[:2])
    python = python[:2]
    interpreter = f"{implementation or 'cp'}{''.join(map(str, python))}"
    wide = list(_expanded(platforms)) if platforms else _own_platforms(target)
    if (implementation or "cp") == "cp":
        own = tags.cpython_tags(python, abis or None if platforms or abis else _own_abis(target, python), wide)
    else:
        own = tags.generic_tags(interpreter, abis, wide)
    return tuple(dict.fromkeys(map(str, (*own, *tags.compatible_tags(python, interpreter, wide)))))


def _own_abis(target: Target, python: tuple[int, ...]) -> list[str] | None:
    own = tuple(int(part) for part in target.version.split(".")[:2])
    return None if python != own else [f"cp{python[0]}{python[1]}"] if len(python) > 1 else None


def _own_platforms(target: Target) -> list[str]:
    found = dict.fromkeys(tag.split("-")[2] for tag in target.probe.tags)
    return [one for one in found if one != "any"]


def _expanded(platforms: list[str]) -> Iterator[str]:
    seen: set[str] = set()
    for platform in platforms:
        for one in _of_one(platform):
            if one not in seen:
                seen.add(one)
                yield one


def _of_one(platform: str) -> Iterator[str]:
    kind, _, machine = platform.partition("_")
    if match := re.fullmatch(r"(?:macosx|ios)_(\d+)_(\d+)_(.+)", platform):
        from packaging import tags

        yield from tags.mac_platforms((int(match[1]), int(match[2])), match[3])
        return
    yield platform
    if kind in _MANYLINUX and machine in _HAVE_OLDER:
        yield from (f"{older}_{machine}" for older in _MANYLINUX[kind])
