"""What goes wrong in `zephyr pip`. The message is what pip's users read after `ERROR: `."""

from __future__ import annotations

# pip's own exit codes.
EXIT_ERROR = 1
EXIT_UNKNOWN = 2
EXIT_NO_VIRTUALENV = 3
EXIT_NOTHING_FOUND = 23


class PipError(Exception):
    """The command cannot do it; nothing was changed. hint: a further line or two, said without a mark."""

    def __init__(self, sentence: str, *, hint: str = "", code: int = EXIT_ERROR) -> None:
        super().__init__(sentence)
        self.hint = hint
        self.code = code


class DistributionNotFound(PipError):
    """Nothing that is there is what was asked for."""

    def __init__(self, asked: str, *, code: int = EXIT_ERROR) -> None:
        super().__init__(f"No matching distribution found for {asked}", code=code)


class BuildError(PipError):
    """A build failed; what it wrote was said already."""
