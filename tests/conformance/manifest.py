"""The frozen manifest of pip's functional tests: which count for `zephyr pip`, and why others do not (`pip.toml`)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("pip.toml")
# In `Exclusion.tests`: all tests of the file.
EVERY = "*"


@dataclass(frozen=True)
class Exclusion:
    """Tests of a file that do not count. tests: names, without brackets for all parameters. count: with parameters."""

    reason: str
    tests: tuple[str, ...]
    count: int

    def covers(self, name: str) -> bool:
        """name: what stands behind `test_file.py::`."""
        return EVERY in self.tests or name in self.tests or name.partition("[")[0] in self.tests


@dataclass(frozen=True)
class File:
    name: str
    collected: int
    counted: int
    exclusions: tuple[Exclusion, ...]

    def why_out(self, name: str) -> str | None:
        """The reason why a test does not count; None where it does."""
        return next((one.reason for one in self.exclusions if one.covers(name)), None)


@dataclass(frozen=True)
class Manifest:
    """commit: of the suite. collected, counted: tests with their parameters."""

    repository: str
    commit: str
    collected: int
    counted: int
    files: tuple[File, ...]

    def file(self, name: str) -> File | None:
        return next((one for one in self.files if one.name == name), None)


def read_manifest(path: Path = FILE) -> Manifest:
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    suite = table["suite"]
    files = tuple(
        File(
            one["name"],
            one["collected"],
            one["in"],
            tuple(Exclusion(row["reason"], tuple(row["tests"]), row["count"]) for row in one.get("exclusion", ())),
        )
        for one in table["file"]
    )
    return Manifest(suite["repository"], suite["commit"], suite["collected"], suite["in"], files)
