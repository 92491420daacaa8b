"""What a node says on a terminal when it is ready: what it does, and the two lines that point an installer at it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from p2pcdn.sizes import format_size
from p2pcdn_daemon.configuration.config import Config


def welcome(config: Config, index_url: str, upstream_urls: Sequence[str]) -> str:
    """Some lines for a person."""
    command = _as_typed(sys.argv[0])
    near = "and asks nobody outside" if config.offline else f"and takes what is missing from {', '.join(upstream_urls)}"
    return f"""
  This node keeps what is installed through it in {config.store}
  (up to {format_size(config.store_size)}), shares it with its neighbours, {near}.

    pip install --index-url {index_url} PACKAGE
    uv pip install --default-index {index_url} PACKAGE

  `{command} setup pip` makes that permanent (uv, poetry, pdm too);
  `{command} status` says how it goes. Ctrl-C stops it.
"""


def _as_typed(program: str) -> str:
    """What to type for this command: its name where the shell finds that, else the path by which it was called."""
    found = shutil.which("p2pcdn")
    return "p2pcdn" if found and Path(found).absolute() == Path(program).absolute() else program
