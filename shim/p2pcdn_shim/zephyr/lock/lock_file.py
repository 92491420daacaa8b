"""The project's pylock.toml, as far as zephyr reads it itself: whose lock it is, what is in it, what changed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from p2pcdn_shim.zephyr.configuration.config_files import parse_toml, read_text
from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.project.pyproject import normalize
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

NAME = "pylock.toml"
# A lock of 1,000 packages with 100 wheels each has some 30 MB.
LOCK_SIZE_BYTES_MAX = 64 * 1024 * 1024


def place_of(project_file: Path) -> Path:
    """Beside the project's pyproject.toml."""
    return project_file.with_name(NAME)


def read(file: Path) -> str | None:
    """The text of a lock; None where there is none. Raises UsageError for one that cannot be read.

    Its lines end as zephyr ends them: git may have made others of that (`core.autocrlf`), and what is looked for here
    is looked for in lines.
    """
    text = read_text(file, LOCK_SIZE_BYTES_MAX)
    return text.replace("\r\n", "\n") if text is not None else None


def inputs_of(text: str) -> str:
    """The hash of the question that a lock of zephyr's answers; "" in a lock that another program wrote.

    Looked for in the text: reading the TOML of a large lock would take longer than all else that `sync` does.
    """
    match = re.search(r'^\[tool\.zephyr\]\n(?:[^\[\n].*\n|\n)*?inputs = "([0-9a-f]{64})"$', text, re.MULTILINE)
    return match[1] if match else ""


def is_ours(text: str) -> bool:
    """Whether zephyr wrote this lock, of whichever pyproject.toml."""
    return re.compile(r'^created-by = "zephyr"$', re.MULTILINE).search(text, 0, _end_of_head(text)) is not None


def left_out_of(text: str) -> list[str]:
    """What a lock of zephyr's says of environments that it does not serve, a sentence each."""
    import tomllib

    _, head, tail = text.rpartition("\n[tool.zephyr]\n")  # the packages stand before it, and need not be read
    try:
        said = tomllib.loads(head + tail)["tool"]["zephyr"].get("left-out", []) if head else []
    except (tomllib.TOMLDecodeError, LookupError, AttributeError):
        return []  # edited by hand: then it is what it says of packages that counts
    return [str(one) for one in said] if isinstance(said, list) else []


def named_in(text: str, kind: str) -> list[str]:
    """The extras, dependency-groups or default-groups of a lock, normalized; none of one that cannot be read."""
    head = text[: _end_of_head(text)]
    if kind not in head:
        return []
    import tomllib

    try:
        names = tomllib.loads(head).get(kind, [])
    except tomllib.TOMLDecodeError:
        return []  # the node says what is wrong with it
    return [normalize(name) for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _end_of_head(text: str) -> int:
    """Where what a lock says of itself ends: it stands before the packages, which need not be read."""
    found = text.find("\n[[packages]]")
    return found if found >= 0 else len(text)


def packages_of(text: str, file: Path) -> list[Mapping[str, Any]]:
    """The packages as they stand in the file. Raises UsageError."""
    return list(parse_toml(text, file).get("packages", ()))


def known_names(file: Path, names: Iterable[str]) -> list[str]:
    """These, normalized. Raises UsageError for what is not in the lock."""
    if not (normal := [normalize(name) for name in names]):
        return []
    there = {one["name"] for one in packages_of(read(file) or "", file)}
    if missing := sorted(set(normal) - there):
        raise UsageError(f"{file} has no {', '.join(missing)}.")
    return normal


def changes(before: str | None, after: str, file: Path) -> list[str]:
    """What a new lock changes, a sentence each."""
    old, new = _versions(before, file), _versions(after, file)
    return [sentence for name in sorted(old.keys() | new.keys()) for sentence in _change(name, old, new)]


def _change(name: str, old: Mapping[str, list[str]], new: Mapping[str, list[str]]) -> Iterator[str]:
    was, now = ", ".join(old.get(name, ())), ", ".join(new.get(name, ()))
    if was == now:
        return
    if not was:
        yield f"Added {name} {now} to the lock."
    elif not now:
        yield f"Removed {name} {was} from the lock."
    else:
        yield f"Changed {name} from {was} to {now} in the lock."


def _versions(text: str | None, file: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for package in packages_of(text, file) if text else ():
        found.setdefault(str(package.get("name")), []).append(_version(package))
    return found


def _version(package: Mapping[str, Any]) -> str:
    """Of a source tree, which has none in a lock: its commit, or where it lies."""
    commit = package.get("vcs", {}).get("commit-id", "")
    return str(package.get("version") or commit[:12] or package.get("directory", {}).get("path", "?"))
