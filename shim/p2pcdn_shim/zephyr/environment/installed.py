"""What an environment holds, whoever put it there, out of the names of its .dist-info directories."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from p2pcdn_shim.zephyr.environment import venv
from p2pcdn_shim.zephyr.interpreters import probes


def installed(place: Path) -> Iterator[tuple[str, str]]:
    """Name and version of each distribution."""
    paths = probes.probe(venv.open_environment(place).python).paths
    for folder in dict.fromkeys((paths["purelib"], paths["platlib"])):
        for info in Path(folder).glob("*.dist-info"):
            if match := re.fullmatch(r"(.+)-([^-]+)\.dist-info", info.name):
                yield match[1].replace("_", "-"), match[2]
