"""A disk that is full: downloads pass through, nothing half is kept, and status says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.clients import Tool, Workplace
from tests.bench.upstream import FaultyUpstream
from tests.bench.volumes import small_file_system
from tests.end_to_end.conftest import StartNode
from tests.end_to_end.files import BASE, BIG

DISK_SIZE_MIB = 6


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MiB of its own; the wheel has 8."""
    with small_file_system(tmp_path / "disk", f"size={DISK_SIZE_MIB}m,mode=0700") as disk:
        yield disk


def test_a_file_larger_than_the_disk_passes_through(
    small_disk: Path, upstream: FaultyUpstream, start_node: StartNode, place: Workplace, pip_new: Tool
) -> None:
    node = start_node(upstream, arguments=["--store", str(small_disk / "store")])
    path = node.path_of("demo-big", BIG.filename)
    for _ in range(2):
        answer = node.get(path)
        assert (answer.status, answer.whole) == (200, True)
        assert answer.body == BIG.content
    status = node.status()
    assert status["store"]["blobs"] == 0
    done = place.pip(pip_new, node.index_url, "demo-big")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_disk_that_is_full_already_keeps_nothing_and_says_so(
    small_disk: Path, upstream: FaultyUpstream, start_node: StartNode
) -> None:
    node = start_node(upstream, arguments=["--store", str(small_disk / "store")])
    filler = small_disk / "filler"
    with filler.open("wb") as file:
        try:
            while True:
                file.write(b"\0" * 65536)
                file.flush()
        except OSError:
            pass
    assert node.get(node.path_of("demo-base", BASE.filename)).body == BASE.content
    assert node.get(node.path_of("demo-big", BIG.filename)).body == BIG.content
    assert node.status()["health"] != "ok"
    assert node.run("status").stdout
    filler.unlink()
    node.restart()
    assert node.status()["health"] == "ok"
    assert node.get(node.path_of("demo-base", BASE.filename)).body == BASE.content
