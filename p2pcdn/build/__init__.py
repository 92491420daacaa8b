"""Sdists to wheels in the sandbox (PEP 517, 518, 660). `builder.py` is the door; what it asks of others: `seams.py`."""

from __future__ import annotations

from p2pcdn.build.builder import BUILDS_AT_ONCE_MAX, Builder
from p2pcdn.build.key import SOURCE_DATE_EPOCH, Options
from p2pcdn.build.seams import Built, Environment, MakeEnvironment, Shelf
from p2pcdn.build.source import Egg, Sdist, Source, Tree
from p2pcdn.build.work import BUILD_LIMITS

__all__ = [
    "BUILDS_AT_ONCE_MAX",
    "BUILD_LIMITS",
    "SOURCE_DATE_EPOCH",
    "Builder",
    "Built",
    "Egg",
    "Environment",
    "MakeEnvironment",
    "Options",
    "Sdist",
    "Shelf",
    "Source",
    "Tree",
]
