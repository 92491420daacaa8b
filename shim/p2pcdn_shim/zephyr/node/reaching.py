"""The node for one command: the user's, started once if none runs, or a private one that ends with the command."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from p2pcdn_shim.client import Client, NoNode, find
from p2pcdn_shim.zephyr.configuration.config import Config
from p2pcdn_shim.zephyr.errors import ZephyrError
from p2pcdn_shim.zephyr.terminal.voice import Voice


@contextmanager
def reach(
    config: Config, voice: Voice, environ: Mapping[str, str] = os.environ, *, keeps_offline: bool = False
) -> Iterator[Client]:
    """The node that this command asks. Raises ZephyrError where none can be had, or it is not offline and should be.

    keeps_offline: each question says itself that no index is to be asked for it, so that any node will do.
    """
    client = None if config.no_node else _running(voice, environ)
    asks = client is not None and config.offline and not keeps_offline
    if asks and client is not None and not client.get("/v1/status").get("offline"):
        raise ZephyrError(
            "The node that runs asks its indexes, and `offline` forbids that: start it with `p2pcdn serve --offline`,"
            " or leave `offline` out. What is locked and in its store, `zephyr sync` installs all the same. Nothing was"
            " asked."
        )
    if client is not None:
        yield client
        return
    # Most commands find their node, and have no use for what starts processes.
    from p2pcdn_shim.zephyr.node.starting import private_node, start

    if config.offline:  # one that stays would be offline for others, too
        with private_node(voice, {**environ, "P2PCDN_OFFLINE": "true"}) as private:
            yield private
    elif config.no_node:
        with private_node(voice, environ) as private:
            yield private
    else:
        yield start(voice, environ)


def _running(voice: Voice, environ: Mapping[str, str]) -> Client | None:
    try:
        client = find(environ)
    except NoNode as error:
        voice.detail(str(error))
        return None

    def renew() -> str:
        from p2pcdn_shim.zephyr.node.starting import start_again

        return start_again(client.path, voice, environ).path

    client.renew = renew
    return client
