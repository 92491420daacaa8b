"""How a command of zephyr ends when it cannot do its work: a sentence, and an exit code."""

from __future__ import annotations

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127
EXIT_INTERRUPTED = 130


class ZephyrError(Exception):
    """It cannot be done. The message says what, why, and what to do; what was there is as it was.

    kind: the word by which a program tells it from others (`--json`).
    """

    exit_code = EXIT_FAILED
    kind = "failed"


class UsageError(ZephyrError):
    """What was typed or configured cannot be meant."""

    exit_code = EXIT_USAGE
    kind = "usage"


class NotExecutable(ZephyrError):
    """The command of `zephyr run` is there and cannot be run."""

    exit_code = EXIT_NOT_EXECUTABLE
    kind = "not-executable"


class NoCommand(ZephyrError):
    """The command of `zephyr run` is not there."""

    exit_code = EXIT_NOT_FOUND
    kind = "not-found"


class ChangedMeanwhile(ZephyrError):
    """Another command changed the environment for which something was chosen; it must be chosen anew."""
