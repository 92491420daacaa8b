"""The name of a build's outcome: everything that could change the wheel, hashed. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from p2pcdn.digest import Sha256

# Raise it when the sandbox or the hook program comes to build other bytes of the same inputs.
RECIPE = 1
# What a wheel's members are dated with where nobody says otherwise: the first moment that a zip can say.
SOURCE_DATE_EPOCH = 315_532_800

Settings = Mapping[str, str | list[str]]


@dataclass(frozen=True, slots=True)
class Options:
    """How a build is asked for.

    settings: PEP 517's config_settings. environment: variables that the build sees beside ours (CFLAGS, …).
    source_date_epoch: seconds since 1970. subdirectory: where in the tree the project lies, "" for its top.
    """

    settings: Settings = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    source_date_epoch: int = SOURCE_DATE_EPOCH
    subdirectory: str = ""


PLAIN = Options()


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a wheel is made of.

    source: the sha256 of the sdist. pins: the build's resolved requirements, `name==version` with the hash of the
    wheel where it is known. interpreter, platform: as `interpreter.py` describes them. hook: what made it.
    place: of a wheel that was built in place, the tree: an editable one names it.
    sandboxed: whether it ran in a sandbox. One that did not has another key: nobody else is ever given its wheel.
    """

    source: Sha256
    pins: tuple[str, ...]
    interpreter: str
    platform: str
    options: Options
    hook: str
    sandboxed: bool
    place: str = ""


def build_key(inputs: Inputs) -> Sha256:
    """The same inputs have the same key, in whatever order they are named."""
    told = {**asdict(inputs), "pins": sorted(inputs.pins), "recipe": RECIPE}
    return Sha256.of(json.dumps(told, sort_keys=True, ensure_ascii=True).encode())
