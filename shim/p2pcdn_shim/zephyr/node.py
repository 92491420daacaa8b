"""The node for one command: the user's, started once if none runs, or a private one that ends with the command."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from p2pcdn_shim.client import Client, NoNode, find
from p2pcdn_shim.zephyr.config import Config
from p2pcdn_shim.zephyr.voice import Voice


@contextmanager
def reach(config: Config, voice: Voice, environ: Mapping[str, str] = os.environ) -> Iterator[Client]:
    """The node that this command asks. Raises ZephyrError where none can be had."""
    if config.no_node:
        from p2pcdn_shim.zephyr.starting import private_node

        with private_node(voice, environ) as client:
            yield client
        return
    try:
        client = find(environ)
    except NoNode as error:
        voice.detail(str(error))
        # Most commands find their node, and have no use for what starts processes.
        from p2pcdn_shim.zephyr.starting import start

        client = start(voice, environ)
    yield client
