"""Which files of a project may be taken: --no-binary, --only-binary, --all-releases, --only-final; one rule for
both.
"""

from __future__ import annotations

from p2pcdn_shim.zephyr.pip.errors import PipError
from p2pcdn_shim.zephyr.project.pyproject import normalize as normalize

ALL, NONE = ":all:", ":none:"


class Control:
    """Two lists of projects, of which a name is in one at most. Filled while options are read, in their order."""

    def __init__(self) -> None:
        self.first: set[str] = set()
        self.second: set[str] = set()
        self.order: list[tuple[str, str]] = []

    def put(self, value: str, mine: str) -> None:
        """mine: "first" or "second". `:all:` empties the other list, `:none:` this one. Raises PipError."""
        target, other = (self.first, self.second) if mine == "first" else (self.second, self.first)
        if value.startswith("-"):
            raise PipError("--no-binary / --only-binary option requires 1 argument.")
        words = value.split(",")
        while ALL in words:
            other.clear()
            target.clear()
            target.add(ALL)
            del words[: words.index(ALL) + 1]
            if NONE not in words:
                self.order.append((mine, value))
                return  # what follows is in it already
        for word in words:
            if word == NONE:
                target.clear()
            elif word:
                other.discard(normalize(word))
                target.add(normalize(word))
        self.order.append((mine, value))

    def in_first(self, project: str) -> bool:
        return self._decides(project, self.first, self.second)

    def in_second(self, project: str) -> bool:
        return self._decides(project, self.second, self.first)

    @staticmethod
    def _decides(project: str, mine: set[str], other: set[str]) -> bool:
        """A name of its own is stronger than `:all:`."""
        return project in mine or (ALL in mine and project not in other)

    def copied(self) -> Control:
        copy = Control()
        copy.first, copy.second, copy.order = set(self.first), set(self.second), list(self.order)
        return copy
