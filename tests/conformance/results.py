"""What a campaign saw: a row a project, kept as it goes, so that it can go on; and the table of failures at its end."""

from __future__ import annotations

import datetime
import json
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from p2pcdn import __version__

# A reason is read in a table; a compiler's whole log is not.
REASON_CHARACTERS_MAX = 300


@dataclass(frozen=True)
class Row:
    """One project. failed: "" where all went well, else "install" or "import", and `reason` says why.

    pip: what the user's own pip did with a project that failed: "" where it was not asked, "the same" or "works".
    """

    project: str
    version: str = ""
    packages: int = 0
    modules: tuple[str, ...] = field(default=())
    install_s: float = 0.0
    failed: str = ""
    reason: str = ""
    pip: str = ""


class Journal:
    """The rows of one campaign in a file of JSON lines, each written when it is known."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def rows(self) -> dict[str, Row]:
        """By project; the last word on each. A line that a crash cut off is forgotten."""
        found: dict[str, Row] = {}
        for line in self._file.read_text().splitlines() if self._file.exists() else ():
            try:
                told = json.loads(line)
            except ValueError:
                continue
            found[told["project"]] = Row(**{**told, "modules": tuple(told["modules"])})
        return found

    def add(self, row: Row) -> None:
        with self._file.open("a") as file:
            file.write(json.dumps(asdict(row)) + "\n")

    def forget(self) -> None:
        self._file.unlink(missing_ok=True)


def share_failed(rows: Sequence[Row], known: Mapping[str, str]) -> float:
    """Of all projects, those whose installation failed though nobody knows a reason that is not ours."""
    return sum(row.failed == "install" and row.project not in known for row in rows) / max(len(rows), 1)


def summary(rows: Sequence[Row]) -> str:
    """One line for a person."""
    installed = [row for row in rows if row.failed != "install"]
    imported = sum(not row.failed for row in rows)
    middle_s = statistics.median(row.install_s for row in installed) if installed else 0.0
    return (
        f"{len(rows)} projects: {len(installed)} installed ({middle_s:.1f} s in the middle), "
        f"{imported} of them import as they are"
    )


def table(rows: Sequence[Row], known: Mapping[str, str], index: str) -> str:
    """The results as TOML: when, with what, the failures with their reasons, and every version that was tried."""
    lines = [
        "# Written by `python -m tests.conformance.campaign --write`.",
        "",
        f"date = {datetime.date.today().isoformat()}",
        f"p2pcdn = {_text(__version__)}",
        f"python = {_text(platform.python_version())}",
        f"platform = {_text(f'{platform.system()} {platform.machine()}')}",
        f"index = {_text(index)}",
        f"projects = {len(rows)}",
        f"installed = {sum(row.failed != 'install' for row in rows)}",
        f"imported = {sum(not row.failed for row in rows)}",
    ]
    for row in rows:
        if row.failed:
            lines += ["", "[[failure]]", f"project = {_text(row.project)}", f"version = {_text(row.version)}"]
            lines += [f"step = {_text(row.failed)}", f"reason = {_text(row.reason)}", f"pip = {_text(row.pip)}"]
            lines += [f"known = {_text(known[row.project])}"] if row.project in known else []
    lines += ["", "[versions]", *(f"{row.project} = {_text(row.version)}" for row in rows if row.version)]
    return "\n".join(lines) + "\n"


def short(reason: str) -> str:
    """A reason for the table: one line, at most REASON_CHARACTERS_MAX."""
    line = " ".join(reason.split())
    return line if len(line) <= REASON_CHARACTERS_MAX else f"{line[: REASON_CHARACTERS_MAX - 1]}…"


def _text(value: str) -> str:
    # A JSON string without surrogates is a TOML basic string, but for U+007F.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
