"""The log of the five nodes: only the sentences that belong to the faults of a seed may stand in it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from simnet.net.host import HERE, PROCESS
from simnet.node import SimNode
from simnet.scenarios.faults.world import World

LOGGERS = ("p2pcdn", "p2pcdn_daemon", "trio")


@contextmanager
def listening(world: World) -> Iterator[None]:
    """Within it what a living node logs becomes a failure of its world, where no fault explains it."""
    listener = _Listener(world)
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        logger.addHandler(listener)
    try:
        yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(listener)
            logger.setLevel(level)
            logger.propagate = propagate


class _Listener(logging.Handler):
    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        node = PROCESS.get()
        if isinstance(node, SimNode) and not node.alive:
            return
        if (record.exc_info is None and record.levelno < logging.ERROR) or self._is_explained(record):
            return
        words = record.getMessage()
        if record.exc_info is not None and record.exc_info[1] is not None:
            words += f" ({record.exc_info[1]!r})"
        self._world.fail(f"{HERE.get(None)} logged: {words}")

    def _is_explained(self, record: logging.LogRecord) -> bool:
        world, host, words = self._world, HERE.get(None), record.getMessage()
        if words.startswith("wrong bytes:") and world.origin_lies:
            return True
        if host is None:
            return False
        if host.name in world.liars and "broken off" in words:
            return True
        return record.exc_info is None and host.name in world.troubled
