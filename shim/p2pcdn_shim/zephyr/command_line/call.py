"""One call of one command: what was typed, where, and what it may ask for (settings, project, node), each on demand."""

from __future__ import annotations

import sys
from functools import cached_property
from pathlib import Path

from p2pcdn_shim.zephyr.errors import UsageError
from p2pcdn_shim.zephyr.terminal.voice import Voice
from p2pcdn_shim.zephyr.values import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import Namespace
    from contextlib import AbstractContextManager

    from p2pcdn_shim.client import Client
    from p2pcdn_shim.zephyr.configuration.config import Config


class Call:
    """options: the command's own flags by name, and the common ones of `common_flags.py`. Used by one thread.

    settled: the files, absent ones too, of which it came that there was nothing to do (`settled.py`); none: say nothing
    of the next call.
    """

    def __init__(self, options: Namespace, voice: Voice) -> None:
        self.options = options
        self.voice = voice
        self.settled: list[str] = []

    @cached_property
    def directory(self) -> Path:
        """Where the command works: the current directory, unless --directory said otherwise. Raises UsageError."""
        try:
            directory = Path(self.options.directory or ".").absolute()
        except FileNotFoundError as error:
            raise UsageError("The current directory is gone; go elsewhere.") from error
        if not directory.is_dir():
            raise UsageError(f"There is no directory {directory}.")
        return directory

    @cached_property
    def config(self) -> Config:
        """The settings in force: flags, variables, the project's, the user's. Raises UsageError."""
        from p2pcdn_shim.zephyr.configuration.config import resolve

        config = resolve(vars(self.options), self.directory, config_file=self.options.config_file)
        for name in config.unknown_variables:
            self.voice.warn(f"{name} is set but is no setting of zephyr.")
        return config

    @property
    def command(self) -> str:
        """What was typed, for the audit log, as a shell would take it again; without the passwords in it."""
        from shlex import join

        typed = sys.argv[1:]
        if any("@" in word for word in typed):
            from p2pcdn_shim.zephyr.configuration.urls import without_secrets

            # Before they are quoted: a quote inside of a password would hide its end.
            typed = [without_secrets(word) for word in typed]
        return join(["zephyr", *typed])

    def node(self) -> AbstractContextManager[Client]:
        """The node: the user's, started if none runs, or with --no-node one that ends with the block.

        Each question says itself whether an index is to be asked (`asking.sources_named`). Raises ZephyrError.
        """
        from p2pcdn_shim.zephyr.node.reaching import reach

        return reach(self.config, self.voice, keeps_offline=True)
