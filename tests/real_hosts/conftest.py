"""A LAN of eight hosts, or the reason why there is none; an upstream outside of it; a room to fill with nodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real_hosts.lan import Lan, why_no_lan
from tests.real_hosts.room import Room
from tests.real_hosts.space import space
from tests.real_hosts.upstream import Holds, Made, RemoteUpstream

HOSTS = 8
MIB = 1024 * 1024
BIG = Made("demo-torch", "2.0", 256 * MIB)
SMALL = Made("demo-small", "1.0", 12 * MIB)
# The store of each node, what pip holds and what it copies that to.
SPACE_BYTES = 3 * HOSTS * BIG.size_bytes


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    if why := why_no_lan():
        pytest.skip(why)
    with Lan(HOSTS) as lan:
        yield lan


@pytest.fixture(scope="module")
def upstream(lan: Lan, request: pytest.FixtureRequest) -> Iterator[RemoteUpstream]:
    """It holds what the module's HOLDS says; else a small wheel."""
    with RemoteUpstream(lan.outside, getattr(request.module, "HOLDS", Holds([SMALL]))) as upstream:
        yield upstream


@pytest.fixture
def room(lan: Lan, upstream: RemoteUpstream) -> Iterator[Room]:
    upstream.forget()
    try:
        directory = space(SPACE_BYTES)
        with directory as path, Room(lan, upstream, Path(path)) as room:
            yield room
    except OSError as why:
        pytest.skip(str(why))
